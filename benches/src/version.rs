//! Versions of what is measured: those that the lock file of this build names.

/// The lock file.
const LOCKED: &str = include_str!("../../Cargo.lock");

/// The version of a package; `std` for what is none, because it is built of the standard library alone.
pub fn locked(package: &str) -> String {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCKED.lines();
    let version = lines.find(|line| *line == name).and_then(|_| lines.next()?.strip_prefix("version = "));
    version.map_or("std", |version| version.trim_matches('"')).to_owned()
}
