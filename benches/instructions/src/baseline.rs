//! The counts that the repository says are right, and why.
//!
//! The file is written by `accept` alone, and only where a count changed by so much that it would show: a path keeps its
//! reason until then.

use std::{collections::BTreeMap, fmt, fs, io, path::PathBuf, process::Command};

use serde::{Deserialize, Serialize};

use crate::{Failure, callgrind::Counts, comparison::change_percent};

/// A count that changed by less keeps its reason, in percent.
const REASON_KEPT_PERCENT: f64 = 0.1;

/// What is in the file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Baseline {
    /// With what and on what it was counted.
    #[serde(flatten)]
    pub setting: Setting,
    /// By the path's name.
    pub paths: BTreeMap<String, Entry>,
}

/// What makes counts comparable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// What `rustc -V` says.
    pub rustc: String,
    /// Architecture and system.
    pub machine: String,
}

/// One path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Instructions each time.
    pub instructions: f64,
    /// Why it is as many as that.
    pub reason: String,
}

impl Setting {
    /// The present one.
    ///
    /// # Errors
    /// When there is no `rustc` to ask.
    pub fn here() -> Result<Setting, Failure> {
        let rustc = Command::new("rustc").arg("-V").output().map_err(|error| format!("rustc -V: {error}"))?;
        let rustc = String::from_utf8_lossy(&rustc.stdout).trim().to_owned();
        Ok(Setting { rustc, machine: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS) })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.rustc, self.machine)
    }
}

impl Baseline {
    fn file() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baseline.json")
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it isn't there or isn't one.
    pub fn read() -> Result<Baseline, Failure> {
        let file = Baseline::file();
        let text = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?)
    }

    /// Reads the file, or begins one.
    ///
    /// # Errors
    /// When it isn't one.
    pub fn read_if_there() -> Result<Baseline, Failure> {
        if Baseline::file().try_exists()? { Baseline::read() } else { Ok(Baseline::default()) }
    }

    /// The same with other counts; the reason is for those that changed.
    #[must_use]
    pub fn accepting(&self, counts: &Counts, setting: Setting, reason: &str) -> Baseline {
        let entry = |(path, instructions): (&str, f64)| {
            let kept = self.paths.get(path).filter(|before| {
                self.setting == setting && change_percent(before.instructions, instructions).abs() < REASON_KEPT_PERCENT
            });
            let entry = kept.cloned().unwrap_or_else(|| Entry { instructions, reason: reason.to_owned() });
            (path.to_owned(), entry)
        };
        Baseline { paths: counts.iter().map(entry).collect(), setting: setting.clone() }
    }

    /// The counts without reasons.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::new(self.paths.iter().map(|(path, entry)| (path.clone(), entry.instructions)))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn write(&self) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(self).map_err(io::Error::from)?;
        text.push('\n');
        Ok(fs::write(Baseline::file(), text)?)
    }
}
