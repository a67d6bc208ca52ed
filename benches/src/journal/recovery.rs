//! How long it takes until a node is back that was killed, with nothing but its journal to go by: from the call that
//! starts it until it answers. Beside it a bare reading of such bytes with a checksum over them, and databases whose rows are gone through.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    databases::{Redb, Sqlite},
    feed::{Pace, Running, Stream, UNDER_WAY},
    load::Load,
    store::{self, files_bytes},
    system::System,
};
use crate::{
    pace::counted,
    plan::{Failure, Figures, Recording},
};
use qnfsm::Limits;

/// How many messages are in a batch: as many as spread what a record costs.
const IN_A_BATCH: u32 = 256;
/// How many messages are put in before it is looked how long the journal is.
const IN_A_STREAM: u32 = 1 << 17;
/// A database has as many messages as fit into a part of the journal, or making it would take minutes.
const PART_OF_DATABASES: u32 = 16;

/// Seconds for each GiB of what is there to read, and nanoseconds for each message in it.
///
/// # Errors
/// When the system doesn't do what it should, or lacks messages.
pub fn recovery<L: Load>(system: System, mib: u32, bytes: u32) -> Result<Figures, Failure> {
    let file_bytes = u64::from(mib) << 20;
    match system {
        System::Ours => of_ours::<L>(file_bytes, bytes),
        System::Read => of_file::<L>(file_bytes, bytes),
        System::SqliteNormal => of_database::<L>(system, Sqlite::read_back, file_bytes, bytes),
        System::Redb => of_database::<L>(system, Redb::read_back, file_bytes, bytes),
        _ => Err("only what can be read again is measured".into()),
    }
}

fn stream(bytes: u32) -> Stream {
    Stream { messages: IN_A_STREAM, in_a_batch: IN_A_BATCH, bytes, pace: Pace::UnderWay(UNDER_WAY) }
}

fn of_ours<L: Load>(journal_bytes: u64, bytes: u32) -> Result<Figures, Failure> {
    // No snapshot behind which something could be passed over.
    let limits = Limits { snapshot_every_bytes: u64::MAX, ..Limits::default() };
    let node = Running::<L>::start(Recording::Buffered, limits)?;
    let mut messages = 0;
    while node.journal_bytes() < journal_bytes {
        node.put_in(stream(bytes))?;
        messages += u64::from(IN_A_STREAM);
    }
    let dir = node.kill()?.ok_or("what is buffered has a directory")?;
    let there = files_bytes(&dir.path().join("journal"))?;
    let begun = Instant::now();
    let back = Running::<L>::bring_back(dir.path(), limits, messages)?;
    let took = begun.elapsed();
    // What a clean end would write is of no use here.
    back.kill()?;
    Ok(figures(took, messages, there))
}

/// Bytes like those of ours for such batches, read from front to back.
fn of_file<L: Load>(file_bytes: u64, bytes: u32) -> Result<Figures, Failure> {
    let mut file = store::empty::<L>(System::Read, stream(bytes).into())?;
    let (mut messages, mut there) = (0, 0);
    let dir = loop {
        store::put_in::<L>(&mut *file, stream(bytes))?;
        messages += u64::from(IN_A_STREAM);
        there += 1;
        if there * u64::from(IN_A_STREAM) * u64::from(bytes) >= file_bytes {
            break file.close()?;
        }
    };
    let begun = Instant::now();
    let there = read_and_check(dir.path())?;
    Ok(figures(begun.elapsed(), messages, there))
}

fn of_database<L: Load>(
    system: System,
    read_back: fn(&Path) -> Result<u64, Failure>,
    journal_bytes: u64,
    bytes: u32,
) -> Result<Figures, Failure> {
    let of_a_stream = u64::from(IN_A_STREAM) * u64::from(bytes);
    let streams = (journal_bytes / u64::from(PART_OF_DATABASES) / of_a_stream).max(1);
    // Large transactions, as whoever cares for the time of many rows would have them.
    let stream = Stream { in_a_batch: IN_A_STREAM, ..stream(bytes) };
    let mut database = store::empty::<L>(system, stream.into())?;
    for _ in 0..streams {
        store::put_in::<L>(&mut *database, stream)?;
    }
    let dir = database.close()?;
    let there = files_bytes(dir.path())?;
    let begun = Instant::now();
    let rows = read_back(dir.path())?;
    let took = begun.elapsed();
    let messages = streams * u64::from(IN_A_STREAM);
    if rows != messages {
        return Err(format!("{messages} rows were written, and {rows} are there").into());
    }
    Ok(figures(took, messages, there))
}

fn figures(took: Duration, messages: u64, bytes: u64) -> Figures {
    let gib = counted(bytes >> 10) / f64::from(1 << 20);
    let each = took.as_secs_f64() * 1e9 / counted(messages);
    Figures { value: took.as_secs_f64() / gib, also: vec![each], limit: None }
}

/// Reads all files of a directory from front to back with a checksum over them; says how many bytes that were.
fn read_and_check(dir: &Path) -> Result<u64, Failure> {
    let (mut all, mut buffer) = (0, vec![0; 1 << 20]);
    for entry in fs::read_dir(dir)? {
        let mut file = File::open(entry?.path())?;
        let mut checksum = crc32fast::Hasher::new();
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            checksum.update(&buffer[..read]);
            all += read as u64;
        }
        std::hint::black_box(checksum.finalize());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messaging::message::Small;

    #[test]
    fn whatever_is_read_again_is_there() {
        for system in [System::Ours, System::Read, System::SqliteNormal, System::Redb] {
            let Figures { value, also, .. } = recovery::<Small>(system, 1, 16).expect("all is there");
            assert!(value > 0.0 && also[0] > 0.0, "{system:?}: {value} {also:?}");
        }
    }

    #[test]
    fn a_message_that_is_missing_is_found() {
        let node = Running::<Small>::start(Recording::Buffered, Limits::default()).expect("it starts");
        node.put_in(Stream { messages: 10, ..stream(16) }).expect("all come");
        let dir = node.kill().expect("it fails").expect("it has a directory");
        let back = Running::<Small>::bring_back(dir.path(), Limits::default(), 11);
        assert!(back.is_err_and(|error| error.to_string().contains("has 10")));
    }
}
