//! Inputs that broke a property, in a file beside the test's source: whoever has the file tries them first. They are kept as they are,
//! and not as the seed that they were drawn from, so a strategy can be changed and they still are what they were.
//!
//! A line is a JSON object. One that was written for other forms of the messages, or by another version of this library, is passed
//! over, and that is said.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::input::Case;

const HEAD: &str = "\
# Inputs that broke a property test: each is tried first whenever the test runs. Commit this file with the tests.
# A line that nobody wants any more can be deleted.
";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The property.
    pub(super) property: String,
    /// The seed that they were drawn from.
    pub(super) seed: String,
    /// The digest of the forms of all types that are in the case.
    pub(super) types: String,
    /// What doesn't hold.
    broke: String,
    /// The inputs, for people.
    inputs: Vec<String>,
    case: String,
}

impl Kept {
    pub(super) fn new(property: &str, seed: u64, types: u64, case: &Case, broke: String, inputs: Vec<String>) -> Kept {
        let (seed, types) = (format!("{seed:016x}"), format!("{types:016x}"));
        Kept { property: property.to_owned(), seed, types, broke, inputs, case: case.to_text() }
    }

    /// The case and the seed, if it is of types of these forms.
    pub(super) fn case(&self, types: u64) -> Option<(Case, u64)> {
        let is_of_these = self.types == format!("{types:016x}");
        let seed = u64::from_str_radix(&self.seed, 16).ok().filter(|_| is_of_these)?;
        Some((Case::from_text(&self.case)?, seed))
    }
}

/// Tests of one file run side by side.
static FILES: Mutex<()> = Mutex::new(());

/// What is kept of a property; nothing where there is no such file.
pub(super) fn load(file: &Path, property: &str) -> Result<Vec<Kept>, String> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let mut kept = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let read: Kept = serde_json::from_str(line).map_err(|error| {
            format!("{}, line {number}, is no case that was kept: {error}; mend or delete it", file.display())
        })?;
        if read.property == property {
            kept.push(read);
        }
    }
    Ok(kept)
}

/// Keeps a case, unless it is kept already.
pub(super) fn keep(file: &Path, kept: &Kept) -> io::Result<()> {
    let _one_at_a_time = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let line = serde_json::to_string(kept).map_err(io::Error::other)?;
    let is_case =
        |other: &Kept| (&other.property, &other.case, &other.types) == (&kept.property, &kept.case, &kept.types);
    let others = load(file, &kept.property).map_err(io::Error::other)?;
    if others.iter().any(is_case) {
        return Ok(());
    }
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir)?;
    }
    let before = match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        before => Some(before?),
    };
    // Somebody may have left out the end of the last line.
    let head = before.map_or(HEAD, |before| if before.last().is_some_and(|last| *last != b'\n') { "\n" } else { "" });
    let mut file = fs::OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(format!("{head}{line}\n").as_bytes())
}

/// The file beside a test's source, whose path is as the compiler has it: from the workspace's directory, which is the package's or
/// one above it. None where the source isn't there any more, or is no file of Rust.
pub(super) fn beside(source: &str, package: &Path) -> Option<PathBuf> {
    let source = Path::new(source);
    if source.extension().is_none_or(|extension| extension != "rs") {
        return None;
    }
    let found = package.ancestors().map(|dir| dir.join(source)).find(|path| path.is_file())?;
    Some(found.with_extension("kept"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_lies_beside_the_source_wherever_the_compiler_was_called() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let here = file!();
        let expected = package.join("src/testing/property/kept.kept");
        assert_eq!(beside(here, package), Some(expected.clone()));
        assert_eq!(beside("src/testing/property/kept.rs", package), Some(expected));
        assert_eq!(beside("src/testing/property/none.rs", package), None);
        assert_eq!(beside("README.md", package), None, "an example in a document keeps nothing");
    }

    #[test]
    fn a_file_whose_last_line_has_no_end_is_gone_on_with_in_a_line_of_its_own() {
        let file = std::env::temp_dir().join(format!("qnfsm-{}.kept", std::process::id()));
        let _ = fs::remove_file(&file);
        let kept = |byte| {
            let case = Case { start: vec![byte], inputs: Vec::new() };
            Kept::new("some", 1, 2, &case, "it broke".to_owned(), Vec::new())
        };
        keep(&file, &kept(1)).expect("there is room");
        let text = fs::read_to_string(&file).expect("it is there");
        fs::write(&file, text.trim_end()).expect("there is room");
        keep(&file, &kept(2)).expect("there is room");
        assert_eq!(load(&file, "some"), Ok(vec![kept(1), kept(2)]));
        fs::remove_file(&file).expect("it is there");
    }

    #[test]
    fn a_case_comes_back_from_its_text() {
        let case = Case { start: vec![0, 255, 16], inputs: Vec::new() };
        assert_eq!(Case::from_text(&case.to_text()), Some(case));
        assert_eq!((Case::from_text("0"), Case::from_text("zz"), Case::from_text("é")), (None, None, None));
    }
}
