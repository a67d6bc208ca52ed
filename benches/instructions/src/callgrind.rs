//! Counting: this program itself under callgrind, once with so many times of a path and once with twice as many.
//!
//! What both have in common drops out. The processes get the same arguments but for one digit, and no environment, because
//! that lies on the stack and would move what is on it.

use std::{collections::BTreeMap, io, path::Path as File, process::Command};

use crate::{Failure, paths::Path};

/// Instructions by path.
pub struct Counts(BTreeMap<String, f64>);

impl Counts {
    /// Counts that are known.
    #[must_use]
    pub fn new(counts: impl IntoIterator<Item = (String, f64)>) -> Counts {
        Counts(counts.into_iter().collect())
    }

    /// Counts all paths.
    ///
    /// # Errors
    /// When valgrind isn't there or a path fails.
    pub fn take() -> Result<Counts, Failure> {
        let counts = Path::ALL.iter().map(|&path| Ok((path.to_string(), taken(path, 0)?)));
        counts.collect::<Result<_, Failure>>().map(Counts)
    }

    /// Counts one path, with so many hundredths more of it than it says.
    ///
    /// # Errors
    /// As [`take`](Counts::take).
    pub fn of_one(path: Path, planted_percent: u32) -> Result<Counts, Failure> {
        Ok(Counts([(path.to_string(), taken(path, planted_percent)?)].into()))
    }

    /// Paths and what they take each time, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(path, count)| (path.as_str(), *count))
    }
}

/// What a path takes each time, with so many hundredths more of it than it says.
fn taken(path: Path, planted_percent: u32) -> Result<f64, Failure> {
    if cfg!(debug_assertions) {
        return Err("only a release build has counts to compare: cargo run --release -p qnfsm-instructions".into());
    }
    let program = std::env::current_exe()?;
    let times = path.times();
    let planted = times / 100 * planted_percent;
    let (once, twice) = (collected(&program, path, times)?, collected(&program, path, 2 * times + planted)?);
    let taken = twice.checked_sub(once).ok_or_else(|| format!("{path}: more times took fewer instructions"))?;
    // Exact: these are far below 2^52.
    let each = taken as f64 / f64::from(times);
    Ok((each * 100.0).round() / 100.0)
}

/// The instructions of a whole process.
fn collected(program: &File, path: Path, times: u32) -> Result<u64, Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["run", &path.to_string(), &times.to_string()])
        .env_clear()
        // Where valgrind itself is found.
        .envs(std::env::var_os("PATH").map(|dirs| ("PATH", dirs)))
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "valgrind isn't installed; on Debian: apt-get install valgrind".to_owned(),
            _ => format!("valgrind: {error}"),
        })?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    match collected {
        Some(collected) if output.status.success() => Ok(collected),
        _ => Err(format!("{path} under callgrind ended with {}:\n{said}", output.status).into()),
    }
}
