//! What the documents show is compiled and run, and what they list is what there is.

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn no_code_of_the_documents_is_ignored() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this member lies in the workspace");
    let mut blocks = 0;
    for file in ["README.md", "docs/guide.md", "qnfsm/README.md"] {
        let text = fs::read_to_string(root.join(file)).expect("the document is there");
        for (number, line) in (1..).zip(text.lines()) {
            let Some(language) = line.trim_start().strip_prefix("```rust") else { continue };
            blocks += 1;
            // Programs that never end or replay a directory of the reader's are at least compiled.
            assert!(["", ",no_run", ",should_panic"].contains(&language), "{file}:{number} says `rust{language}`");
        }
    }
    assert!(blocks >= 10, "only {blocks} blocks were found");
}

/// The statuses in the rows of a table of them: `| 10, 11 | …`.
fn listed(text: &str) -> BTreeSet<u8> {
    let rows = text.lines().filter_map(|line| line.trim_start_matches("//! ").strip_prefix("| ")?.split(" |").next());
    let statuses = rows.filter_map(|cell| cell.split(", ").map(|it| it.parse().ok()).collect::<Option<Vec<u8>>>());
    statuses.flatten().collect()
}

#[test]
fn the_tables_of_exit_statuses_list_those_that_the_code_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this member lies in the workspace");
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("the file is there");
    let code = read("qnfsm-replay/src/status.rs");
    let values = code.lines().filter_map(|line| line.split_once(": u8 = ")?.1.trim_end_matches(';').parse().ok());
    let values: Vec<u8> = values.collect();
    assert!(values.is_sorted_by(|a, b| a < b) && values.len() > 10, "each status has one name: {values:?}");
    // That of a program whose node can't run is `ExitCode::FAILURE`, and has the number of a `find` that found nothing.
    let code = values.into_iter().collect();
    for table in ["docs/guide.md", "qnfsm-replay/src/lib.rs"] {
        assert_eq!(listed(&read(table)), code, "{table}");
    }
    // No command ends with a number of its own.
    let commands = fs::read_dir(root.join("qnfsm-replay/src/cli")).expect("it is there");
    for file in commands.map(|entry| entry.expect("it is there").path()) {
        let text = fs::read_to_string(&file).expect("it can be read");
        for (number, line) in (1..).zip(text.lines()) {
            let digit = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
            let literal = line.split("ExitCode::from(").skip(1).any(digit) || line.split(": u8 = ").skip(1).any(digit);
            assert!(!literal, "{}:{number}: give it a name in status.rs: {line}", file.display());
        }
    }
}
