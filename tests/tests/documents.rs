//! What the documents show is compiled and run: none of their Rust is passed over.

use std::{fs, path::Path};

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
