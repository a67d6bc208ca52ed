//! How much memory this process has in use. Where this is known, which is on Linux, it is exact to a page.

use std::fs;

use crate::plan::Failure;

/// Bytes of memory that are resident.
///
/// # Errors
/// Where the system doesn't tell.
pub fn bytes() -> Result<f64, Failure> {
    field("/proc/self/smaps_rollup", "Rss:")
}

/// The most memory that was resident since it was asked to watch.
pub struct Peak(());

impl Peak {
    /// Begins to watch.
    ///
    /// # Errors
    /// Where the system can't.
    pub fn watch() -> Result<Peak, Failure> {
        // 5 sets the peak to what is resident now; see proc_pid_clear_refs(5).
        fs::write("/proc/self/clear_refs", "5").map_err(|error| format!("/proc/self/clear_refs: {error}"))?;
        Ok(Peak(()))
    }

    /// The most bytes up to now.
    ///
    /// # Errors
    /// Where the system doesn't tell.
    pub fn bytes(self) -> Result<f64, Failure> {
        field("/proc/self/status", "VmHWM:")
    }
}

fn field(file: &str, name: &str) -> Result<f64, Failure> {
    let unknown = || format!("this system doesn't tell the resident memory (there is no {name} in {file})");
    let text = fs::read_to_string(file).map_err(|_| unknown())?;
    let kibibytes =
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix("kB")?.trim().parse::<u32>().ok());
    Ok(f64::from(kibibytes.ok_or_else(unknown)?) * 1024.0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_peak_stays_after_the_memory_is_gone() {
        const BYTES: usize = 64 << 20;
        let before = bytes().expect("known on Linux");
        let watch = Peak::watch().expect("known on Linux");
        drop(std::hint::black_box(vec![1_u8; BYTES]));
        let peak = watch.bytes().expect("known on Linux");
        assert!(peak - before > BYTES as f64 * 0.9, "{before} before, {peak} at the peak");
    }
}
