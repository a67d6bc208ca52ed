//! The versions of what is measured, from the lock file of this build.

const LOCKED: &str = include_str!("../../Cargo.lock");

/// The version of a package that this program is built with; `std` for what is built of the standard library alone, which
/// is no package in the lock file.
pub fn version(package: &str) -> String {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCKED.lines();
    let version = lines.find(|line| *line == name).and_then(|_| lines.next()?.strip_prefix("version = "));
    version.map_or("std", |version| version.trim_matches('"')).to_owned()
}
