//! Segments that are made of zeros beforehand: where they end, what is left of them, and disks that fail meanwhile.

use std::{io::ErrorKind, sync::atomic::AtomicBool, thread};

use super::{
    faulty::{FaultyFiles, Operation},
    simulated::SimulatedDisk,
    *,
};

const SEGMENT_BYTES: u64 = 1000;
const DIR: &str = "/node";

/// A disk in memory, and a journal there whose segments are made beforehand.
struct Prepared {
    disk: SimulatedDisk,
    files: FaultyFiles,
    journal: Journal,
}

impl Prepared {
    fn new() -> Prepared {
        Prepared::with_segments(SEGMENT_BYTES)
    }

    fn with_segments(bytes: u64) -> Prepared {
        let disk = SimulatedDisk::default();
        let manifest = Manifest { epoch: Epoch(9), ..Manifest::new(IDENTITY, NodeId(5), "program", 77) };
        manifest.create(&disk, Path::new(DIR)).unwrap();
        Prepared::begin(disk, 1, None, bytes)
    }

    fn on(disk: SimulatedDisk, epoch: u32, after: Option<&Tail>) -> Prepared {
        Prepared::begin(disk, epoch, after, SEGMENT_BYTES)
    }

    fn begin(disk: SimulatedDisk, epoch: u32, after: Option<&Tail>, segment_bytes: u64) -> Prepared {
        let files = FaultyFiles::new(disk.storage());
        let options = JournalOptions::default().segment_bytes(segment_bytes).prepared(true);
        let journal = Journal::begin(Arc::new(files.clone()), Path::new(DIR), info(epoch), after, options).unwrap();
        Prepared { disk, files, journal }
    }

    fn write(&self, rounds: std::ops::RangeInclusive<u64>) {
        for number in rounds {
            self.journal.write(&round(number)).unwrap();
            self.journal.prepare().unwrap();
        }
    }
}

fn bytes(disk: &SimulatedDisk, segment: u64) -> Vec<u8> {
    disk.bytes(&segment::path(Path::new(DIR), segment)).unwrap()
}

fn names(disk: &SimulatedDisk, dir: &str) -> Vec<String> {
    disk.list(&Path::new(DIR).join(dir)).unwrap_or_default()
}

/// The number of rounds that a reader finds, and where it ends.
fn found(disk: &SimulatedDisk) -> (usize, Result<Tail, ReadError>) {
    let (entries, tail) = read(&mut Reader::open(disk.storage(), Path::new(DIR)).unwrap());
    (entries.iter().filter(|(_, text)| text.starts_with("Round")).count(), tail)
}

#[test]
fn a_segment_is_as_long_from_the_start_and_as_long_as_its_records_once_it_is_closed() {
    let Prepared { disk, journal, files } = Prepared::new();
    assert_eq!(bytes(&disk, 1).len() as u64, SEGMENT_BYTES);
    let end = journal.write(&round(1)).unwrap();
    assert_eq!(bytes(&disk, 1).len() as u64, SEGMENT_BYTES);
    let killed = disk.copy();
    journal.close();
    drop((journal, files));
    assert_eq!((bytes(&disk, 1).len() as u64, names(&disk, "journal").len()), (end.offset, 1));
    for disk in [&killed, &disk] {
        let (rounds, tail) = found(disk);
        let tail = tail.unwrap();
        assert_eq!((rounds, tail.last.unwrap().position(), tail.lost), (1, end, None));
    }
    // What was killed goes on just there, and gives back the room.
    let tail = found(&killed).1.unwrap();
    let next = Prepared::on(killed, 2, Some(&tail));
    assert_eq!((bytes(&next.disk, 1).len() as u64, names(&next.disk, "lost")), (end.offset, vec![]));
    next.write(2..=2);
    assert_eq!(found(&next.disk).0, 2);
}

#[test]
fn the_next_segment_is_made_beforehand_and_one_that_is_not_ready_is_begun_as_it_is() {
    let prepared = Prepared::new();
    prepared.write(1..=100);
    let names = names(&prepared.disk, "journal");
    let segments = names.iter().filter(|name| name.ends_with(".qjl")).count() as u64;
    assert!(segments > 4);
    assert_eq!(bytes(&prepared.disk, segments).len() as u64, SEGMENT_BYTES);
    // Nobody calls `prepare`.
    for number in 101..=200 {
        prepared.journal.write(&round(number)).unwrap();
    }
    prepared.journal.sync().unwrap();
    prepared.journal.flush().unwrap();
    let (rounds, tail) = found(&prepared.disk);
    assert_eq!((rounds, tail.unwrap().lost), (200, None));
    prepared.journal.close();
    assert_eq!(found(&prepared.disk).0, 200);
    assert!(self::names(&prepared.disk, "journal").iter().all(|name| name.ends_with(".qjl")));
}

#[test]
fn a_segment_that_got_its_name_and_no_header_loses_nothing() {
    for zeros in [0, 1, 5000] {
        let prepared = Prepared::new();
        prepared.write(1..=3);
        let disk = prepared.disk.copy();
        disk.put(&segment::path(Path::new(DIR), 2), vec![0; zeros]);
        let (rounds, tail) = found(&disk);
        let tail = tail.unwrap();
        assert_eq!((rounds, &tail.lost), (3, &None));
        let next = Prepared::on(disk, 2, Some(&tail));
        next.write(4..=4);
        assert_eq!((found(&next.disk).0, names(&next.disk, "lost")), (4, vec![]));
    }
}

#[test]
fn what_lies_among_the_zeros_is_lost_and_kept_or_corruption_where_more_was_on_disk() {
    let prepared = Prepared::new();
    prepared.write(1..=2);
    let end = prepared.journal.write(&round(3)).unwrap();
    let at = usize::try_from(end.offset).unwrap() + 50;
    let disk = prepared.disk.copy();
    let path = segment::path(Path::new(DIR), 1);
    let mut spoilt = bytes(&disk, 1);
    spoilt[at] = 1;
    disk.put(&path, spoilt);
    let (rounds, tail) = found(&disk);
    let tail = tail.unwrap();
    assert_eq!((rounds, tail.lost.as_ref().map(|lost| (lost.after, lost.bytes))), (3, Some((end, 51))));
    let next = Prepared::on(disk, 2, Some(&tail));
    assert_eq!(names(&next.disk, "lost").len(), 1);
    // Zeros where records were known to be on disk.
    prepared.journal.sync().unwrap();
    prepared.journal.write(&round(4)).unwrap();
    let mut spoilt = bytes(&prepared.disk, 1);
    let third = found(&prepared.disk).0;
    assert_eq!(third, 4);
    let last = usize::try_from(end.offset).unwrap() - 10;
    let all = spoilt.len();
    spoilt[last..all].fill(0);
    let manifest = Manifest::load(&prepared.disk, Path::new(DIR)).unwrap();
    Manifest { reached: end, ..manifest }.store(&prepared.disk, Path::new(DIR)).unwrap();
    prepared.disk.put(&path, spoilt);
    assert!(matches!(found(&prepared.disk).1, Err(ReadError::Corrupt(_))));
}

/// A journal that is about to make the next segment, and the number of its next round.
fn half_full() -> (Prepared, u64) {
    let prepared = Prepared::new();
    let mut number = 1;
    while prepared.journal.position().offset < SEGMENT_BYTES / 2 {
        prepared.journal.write(&round(number)).unwrap();
        number += 1;
    }
    (prepared, number)
}

#[test]
fn a_disk_that_fails_while_a_segment_is_made_stops_the_journal() {
    for operation in [Operation::Create, Operation::Write, Operation::Sync] {
        let (prepared, number) = half_full();
        prepared.files.fail(operation, 1, ErrorKind::Other);
        let error = prepared.journal.prepare().unwrap_err();
        assert!(error.to_string().contains("next.tmp"), "{error}");
        let again = prepared.journal.write(&round(number)).unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
        assert_eq!(found(&prepared.disk).0 as u64, number - 1);
    }
}

#[test]
fn where_there_is_no_room_for_a_segment_beforehand_records_get_what_there_is() {
    for operation in [Operation::Write, Operation::Sync] {
        let (prepared, number) = half_full();
        prepared.files.fail(operation, 1, ErrorKind::StorageFull);
        (0..3).for_each(|_| prepared.journal.prepare().unwrap());
        assert_eq!(names(&prepared.disk, "journal"), ["00000001.qjl"]);
        // The next segment grows; the one behind it is made beforehand again.
        prepared.write(number..=100);
        assert!(bytes(&prepared.disk, 2).len() as u64 >= SEGMENT_BYTES);
        assert_eq!(found(&prepared.disk).0, 100);
        let segments = names(&prepared.disk, "journal").iter().filter(|name| name.ends_with(".qjl")).count() as u64;
        assert_eq!(bytes(&prepared.disk, segments).len() as u64, SEGMENT_BYTES);
    }
}

#[test]
fn what_a_journal_that_failed_had_taken_is_given_back_before_the_next_begins() {
    let (prepared, _) = half_full();
    prepared.journal.prepare().unwrap();
    let disk = prepared.disk.copy();
    assert_eq!(names(&disk, "journal"), ["00000001.qjl", "next.tmp"]);
    give_back_room(&disk, Path::new(DIR)).unwrap();
    assert_eq!(names(&disk, "journal"), ["00000001.qjl"]);
    give_back_room(&disk, Path::new(DIR)).unwrap();
}

#[test]
fn a_closed_journal_makes_and_removes_nothing_more() {
    let (Prepared { disk, journal, .. }, _) = half_full();
    journal.prepare().unwrap();
    journal.close();
    assert_eq!(names(&disk, "journal"), ["00000001.qjl"]);
    // Another node's.
    disk.put(&Path::new(DIR).join("journal").join("next.tmp"), vec![0; 10]);
    journal.close();
    assert!(journal.prepare().is_err());
    assert_eq!(names(&disk, "journal"), ["00000001.qjl", "next.tmp"]);
}

#[test]
fn a_segment_without_a_header_does_not_hide_that_the_one_before_has_lost_what_was_on_disk() {
    let journal_dir = Path::new(DIR).join("journal");
    for later in [Some(vec![]), Some(vec![0; 5000]), Some(b"QNFSM".to_vec()), None] {
        let prepared = Prepared::new();
        let second = prepared.journal.write(&round(1)).unwrap();
        prepared.write(2..=3);
        prepared.journal.sync().unwrap();
        let reached = prepared.journal.synced();
        prepared.journal.close();
        let disk = prepared.disk.copy();
        let manifest = Manifest::load(&disk, Path::new(DIR)).unwrap();
        Manifest { reached, ..manifest }.store(&disk, Path::new(DIR)).unwrap();
        match &later {
            Some(bytes) => disk.put(&segment::path(Path::new(DIR), 2), bytes.clone()),
            // The second isn't there, and a third is.
            None => disk.put(&journal_dir.join("00000003.qjl"), b"QNFSM".to_vec()),
        }
        assert_eq!(found(&disk).0, 3);
        let mut cut = bytes(&disk, 1);
        cut.truncate(usize::try_from(second.offset).unwrap());
        disk.put(&segment::path(Path::new(DIR), 1), cut);
        let (rounds, end) = found(&disk);
        assert!(rounds == 1 && matches!(end, Err(ReadError::Corrupt(_))), "{later:?}: {rounds} rounds, {end:?}");
    }
}

#[test]
fn segments_are_made_beside_a_journal_that_is_written_all_the_time() {
    const ROUNDS: u64 = 3_000;
    // Shorter than two headers, so that the next one is wanted as soon as one is begun.
    let prepared = Prepared::with_segments(300);
    let writes = AtomicBool::new(true);
    thread::scope(|scope| {
        let preparing = scope.spawn(|| {
            while writes.load(Ordering::Relaxed) {
                prepared.journal.prepare().unwrap();
            }
        });
        for number in 1..=ROUNDS {
            let written = prepared.journal.write(&round(number));
            if written.is_err() || preparing.is_finished() {
                break;
            }
        }
        writes.store(false, Ordering::Relaxed);
        preparing.join().unwrap();
    });
    prepared.journal.close();
    assert_eq!(found(&prepared.disk).0 as u64, ROUNDS);
}
