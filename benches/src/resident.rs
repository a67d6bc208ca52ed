//! How much memory this process has in use.

use crate::plan::Failure;

/// Bytes of memory that are resident. Where this is known, which is on Linux, it is exact to a page.
///
/// # Errors
/// Where the system doesn't tell.
pub fn bytes() -> Result<f64, Failure> {
    let unknown = || "this system doesn't tell the resident memory (there is no /proc/self/smaps_rollup)";
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").map_err(|_| unknown())?;
    let kibibytes =
        text.lines().find_map(|line| line.strip_prefix("Rss:")?.strip_suffix("kB")?.trim().parse::<u32>().ok());
    Ok(f64::from(kibibytes.ok_or_else(unknown)?) * 1024.0)
}
