//! Imports point down the storeys of `docs/ARCHITECTURE.md`, never up and never round.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The storeys of `qnfsm/src`, from the ground up. A module may import modules of its own storey or of those below it;
/// within a storey the imports make no circle.
const STOREYS: [&[&str]; 7] = [
    &[
        "codec",
        "digest",
        "frame",
        "fsm",
        "id",
        "message",
        "name",
        "node_metrics",
        "node_request",
        "panic",
        "random",
        "schema",
        "secret",
        "spelt",
        "slots",
        "time",
    ],
    &["worker"],
    &["invariant"],
    &["journal"],
    &["playback"],
    &["node"],
    &["testing"],
];

fn storey(module: &str) -> Option<usize> {
    STOREYS.iter().position(|modules| modules.contains(&module))
}

/// The names that come right after `crate::` in a file's code, comments left out.
fn names_after_crate(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        // `$crate::` and `pub(crate)` name nothing of interest, and a longer word that ends so is another word.
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$') {
            continue;
        }
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut word) = (0_usize, String::new());
            for character in list.chars() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.extend(first_word(&std::mem::take(&mut word))),
                    _ if depth == 0 => word.push(character),
                    _ => {}
                }
            }
            names.extend(first_word(&word));
        } else {
            names.extend(first_word(rest));
        }
    }
    names
}

fn first_word(text: &str) -> Option<String> {
    let is_part = |character: &char| character.is_alphanumeric() || *character == '_';
    let word: String = text.trim_start().chars().take_while(is_part).collect();
    (!word.is_empty()).then_some(word)
}

/// Where the names come from that the crate's root offers again.
fn offered_again(lib: &str) -> BTreeMap<String, String> {
    let mut offered = BTreeMap::new();
    for statement in lib.split("pub use ").skip(1) {
        let statement = statement.split(';').next().unwrap_or_default();
        if let (Some(module), Some((_, names))) = (first_word(statement), statement.split_once("::")) {
            let names = names.split(|character: char| !(character.is_alphanumeric() || character == '_'));
            for name in names.filter(|name| name.starts_with(char::is_uppercase)) {
                offered.insert(name.to_owned(), module.clone());
            }
        }
    }
    offered
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in
        fs::read_dir(dir).expect("the sources can be read").map(|entry| entry.expect("the sources can be read"))
    {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Everything that is wrong with the imports among files, given by path under `src` with their text.
fn faults(files: &[(String, String)]) -> Vec<String> {
    let lib = files.iter().find(|(path, _)| path == "lib.rs").map_or("", |(_, text)| text.as_str());
    let offered = offered_again(lib);
    let mut faults = Vec::new();
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in files.iter().filter(|(path, _)| path != "lib.rs") {
        let module = first_word(path).expect("a path begins with a word");
        let Some(own) = storey(&module) else {
            faults.push(format!("{path}: module {module} has no storey; give it one in tests/storeys.rs"));
            continue;
        };
        for name in names_after_crate(text) {
            let Some(imported) = (if storey(&name).is_some() { Some(&name) } else { offered.get(&name) }) else {
                faults.push(format!("{path}: `crate::{name}` is of no known storey"));
                continue;
            };
            if storey(imported).unwrap_or(usize::MAX) > own {
                faults.push(format!("{path}: imports {imported}, which is a storey above {module}"));
            } else if *imported != module {
                imports.entry(module.clone()).or_default().insert(imported.clone());
            }
        }
    }
    for module in imports.keys() {
        let (mut reached, mut next) = (BTreeSet::new(), vec![module.clone()]);
        while let Some(from) = next.pop() {
            for to in imports.get(&from).into_iter().flatten() {
                if reached.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        if reached.contains(module) {
            faults.push(format!("module {module} imports itself by way of {:?}", imports[module]));
        }
    }
    faults
}

#[test]
fn imports_point_down_the_storeys() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../qnfsm/src");
    let mut paths = Vec::new();
    rust_files(&src, &mut paths);
    assert!(paths.len() > 20, "the library's files are looked for where they are");
    let files: Vec<_> = paths
        .iter()
        .map(|path| {
            let under = path.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
            (under, fs::read_to_string(path).unwrap())
        })
        .collect();
    let faults = faults(&files);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn file(path: &str, text: &str) -> (String, String) {
    (path.to_owned(), text.to_owned())
}

#[test]
fn an_import_up_the_storeys_is_found() {
    let planted = [file("worker/mod.rs", "use crate::{\n    id::WorkerId,\n    journal::{Record, Journal},\n};")];
    assert_eq!(faults(&planted), ["worker/mod.rs: imports journal, which is a storey above worker"]);
    let through_the_root = [
        file("lib.rs", "pub use node::{Host, edge::Inputs};"),
        file("journal/writer.rs", "fn f() { let _: crate::Inputs; }"),
    ];
    assert_eq!(faults(&through_the_root), ["journal/writer.rs: imports node, which is a storey above journal"]);
}

#[test]
fn a_circle_is_found() {
    let planted = [file("id.rs", "use crate::time::Time;"), file("time.rs", "use crate::{frame, id::Place};")];
    assert_eq!(faults(&planted).len(), 2, "{:?}", faults(&planted));
}

#[test]
fn a_module_without_a_storey_is_found() {
    assert_eq!(faults(&[file("utils.rs", "")]).len(), 1);
}
