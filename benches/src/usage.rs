//! What this process has used by now: CPU time, and bytes that it wrote; and the CPU time of the kernel's own threads, which write
//! its files back. All but the first are known on Linux only.

use std::{fs, io, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use crate::plan::Failure;

/// How long one tick of the kernel's accounts is; Linux shows no other.
const TICK: Duration = Duration::from_millis(10);
/// The flag of a thread that is the kernel's.
const IS_KERNEL_THREAD: u64 = 0x0020_0000;
/// Where `/proc/<pid>/stat` has these, counted from the field behind the name; see proc_pid_stat(5).
const FLAGS: usize = 6;
const SYSTEM_TICKS: usize = 12;

/// The CPU time of all threads of this process, the user's and the system's.
///
/// # Errors
/// Where the system doesn't tell.
pub fn cpu() -> Result<Duration, Failure> {
    Ok(clock_gettime(ClockId::ProcessCPUTime).try_into()?)
}

/// The CPU time of the kernel's own threads, whoever they work for: exact to [`TICK`] for each of them.
///
/// # Errors
/// Where the system doesn't tell.
pub fn kernel_threads_cpu() -> Result<Duration, Failure> {
    let mut ticks = 0;
    for process in fs::read_dir("/proc")? {
        let path = process?.path();
        if path.file_name().is_none_or(|name| !name.as_encoded_bytes().iter().all(u8::is_ascii_digit)) {
            continue;
        }
        match fs::read_to_string(path.join("stat")) {
            Ok(stat) => ticks += kernel_ticks(&stat).unwrap_or(0),
            // It has ended meanwhile.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(TICK * ticks)
}

/// What a line says of a thread that is the kernel's.
fn kernel_ticks(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<_> = fields.split(' ').collect();
    let flags: u64 = fields.get(FLAGS)?.parse().ok()?;
    if flags & IS_KERNEL_THREAD == 0 { None } else { fields.get(SYSTEM_TICKS)?.parse().ok() }
}

/// How many bytes this process has given to calls that write.
///
/// # Errors
/// Where the system doesn't tell.
pub fn written_bytes() -> Result<u64, Failure> {
    let unknown = || "this system doesn't tell what a process wrote (there is no wchar in /proc/self/io)";
    let text = fs::read_to_string("/proc/self/io").map_err(|_| unknown())?;
    let written = text.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok());
    Ok(written.ok_or_else(unknown)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_thread_of_the_kernels_counts_whatever_it_is_called() {
        let stat = |flags: u64| format!("7 (a) (b) S 2 0 0 0 -1 {flags} 0 0 0 0 5 42 0 0 20 0 1 0");
        assert_eq!(kernel_ticks(&stat(IS_KERNEL_THREAD | 0x40)), Some(42));
        assert_eq!(kernel_ticks(&stat(0x40)), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_was_written_is_counted() {
        use std::io::Write;
        let before = written_bytes().expect("known on Linux");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&[1; 12_345]).expect("there is room");
        assert!(written_bytes().expect("known on Linux") >= before + 12_345);
    }
}
