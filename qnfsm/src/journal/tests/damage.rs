//! Damage: every byte, every length, every segment. What was safe is an error at the right place, what wasn't is a
//! loss that is said, and never is a record skipped or changed.

use std::{io, ops::Range, sync::atomic::AtomicU64};

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{snapshots::SnapshotHeader, window::read_rest, *};

/// A header or record, where it stands, and what it proves to be on disk.
struct Item {
    at: Position,
    end: u64,
    proves: Option<Position>,
}

/// A journal of several segments in two epochs, half of it synced, with what stands where.
fn journal() -> (Node, Vec<(Position, String)>, Vec<Item>) {
    journal_of(16, 260)
}

/// As [`journal`], with so many rounds, and segments of that length.
fn journal_of(rounds: u64, segment_bytes: u64) -> (Node, Vec<(Position, String)>, Vec<Item>) {
    let node = Node::new();
    let first = node.begin(1, None, segment_bytes);
    every_record(|draft| {
        if !matches!(draft, Record::SyncMark { .. } | Record::CleanStop { .. }) {
            first.write(draft).unwrap();
        }
    });
    drop(first);
    let tail = read(&mut node.reader()).1.unwrap();
    let second = node.begin(2, Some(&tail), segment_bytes);
    for number in 3..rounds {
        second.write(&round(number)).unwrap();
        if number == rounds / 2 + 1 {
            second.sync().unwrap();
        }
    }
    drop(second);

    let mut reader = node.reader();
    let mut items: Vec<Item> = Vec::new();
    let mut entries = Vec::new();
    while let Some(Entry { position, record, .. }) = reader.next().unwrap() {
        let proves = match record {
            Record::SyncMark { segment, offset } => Some(Position { segment, offset }),
            _ => None,
        };
        entries.push((position, text(&record)));
        let end = reader.position().offset;
        if items.last().is_none_or(|last| last.at.segment != position.segment) {
            let proves = reader.header().unwrap().link.filter(|link| link.synced).map(|link| link.position());
            items.push(Item { at: Position { offset: 0, ..position }, end: position.offset, proves });
        }
        items.push(Item { at: position, end, proves });
    }
    assert!(items.last().unwrap().at.segment >= 6, "the test needs several segments, not {}", items.len());
    assert_eq!(items.iter().filter(|item| item.proves.is_some()).count(), 2, "a link and a mark");
    (node, entries, items)
}

/// Checks what the reading of a damaged journal gives, of which `bad` are the items that are not whole.
fn check(node: &Node, entries: &[(Position, String)], items: &[Item], bad: Range<usize>, cut: Option<u64>, what: &str) {
    let at = items[bad.start].at;
    let kept = |item: &&Item| cut.is_none_or(|cut| item.at.segment != at.segment || item.end <= cut);
    let others = items.iter().enumerate().filter(|(index, _)| !bad.contains(index)).map(|(_, item)| item);
    let proof = others.filter(kept).filter_map(|item| item.proves).max();
    let whole = entries.iter().take_while(|(position, _)| *position < at).count();
    let (read, end) = read(&mut node.reader());
    assert_eq!(read, entries[..whole], "{what}");
    match end {
        Err(ReadError::Corrupt(corruption)) => {
            assert!(proof > Some(at), "{what}: an error though nothing was safe: {corruption}");
            let before = bad.start.checked_sub(1).map(|before| &items[before]);
            let sound_end = before.map(|before| Position { offset: before.end, ..before.at });
            assert_eq!(corruption.sound_end(), sound_end, "{what}");
            assert_eq!((corruption.file, corruption.offset), (node.segment(at.segment), at.offset), "{what}");
        }
        Ok(tail) => {
            assert!(proof <= Some(at), "{what}: a loss of what was safe: {tail:?}");
            let before = bad.start.checked_sub(1).map_or(Position::default(), |before| Position {
                segment: items[before].at.segment,
                offset: items[before].end,
            });
            assert_eq!(tail.last.map_or(Position::default(), |link| link.position()), before, "{what}");
            let is_last = at.segment == items.last().unwrap().at.segment;
            match tail.lost {
                Some(lost) => assert_eq!(lost.after, before, "{what}"),
                None => assert!(is_last && cut == Some(at.offset), "{what}: a silent loss"),
            }
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

#[test]
fn every_changed_byte_is_an_error_at_its_place_or_a_loss_that_is_said() {
    let (node, entries, items) = journal();
    for segment in 1..=items.last().unwrap().at.segment {
        let path = node.segment(segment);
        let good = fs::read(&path).unwrap();
        for offset in 0..good.len() {
            for change in [0x01, 0xff] {
                let mut bytes = good.clone();
                bytes[offset] ^= change;
                fs::write(&path, &bytes).unwrap();
                let bad =
                    items.partition_point(|item| (item.at.segment, item.end) <= (segment, offset.try_into().unwrap()));
                check(
                    &node,
                    &entries,
                    &items,
                    bad..bad + 1,
                    None,
                    &format!("byte {offset} of {segment} ^ {change:#x}"),
                );
            }
        }
        fs::write(&path, &good).unwrap();
    }
}

/// `QNFSM_DAMAGES=10000 cargo test --release -p qnfsm random_damage` tries so many; a failure prints its seed.
#[test]
fn random_damage_to_a_large_journal_is_an_error_at_its_place_or_a_loss_that_is_said() {
    let (node, entries, items) = journal_of(3000, 12_000);
    let segments = items.last().unwrap().at.segment;
    #[expect(clippy::disallowed_methods, reason = "a test is no FSM")]
    let asked = |name: &str| std::env::var(name).ok().and_then(|count| count.parse().ok());
    let seeds = asked("QNFSM_DAMAGE").map_or(0..asked("QNFSM_DAMAGES").unwrap_or(200), |seed: u64| seed..seed + 1);
    let (mut errors, mut losses) = (0, 0);
    for seed in seeds {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut draw = |below: usize| usize::try_from(random.next_u64() % below as u64).unwrap();
        let segment = 1 + draw(usize::try_from(segments).unwrap()) as u64;
        let path = node.segment(segment);
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        let start = draw(bytes.len());
        let end = (start + [1, 8, 512, 4096][draw(4)]).min(bytes.len());
        match draw(3) {
            0 => bytes[start..end].fill(0),
            1 => bytes[start..end].iter_mut().for_each(|byte| *byte = draw(256).to_le_bytes()[0]),
            _ => bytes[start] ^= 1 << draw(8),
        }
        let differs = |(at, (new, old)): (usize, (&u8, &u8))| (new != old).then_some(at as u64);
        let changed: Vec<u64> = bytes.iter().zip(&good).enumerate().filter_map(differs).collect();
        let (Some(first), Some(last)) = (changed.first(), changed.last()) else { continue };
        fs::write(&path, &bytes).unwrap();
        let item_of = |offset: u64| items.partition_point(|item| (item.at.segment, item.end) <= (segment, offset));
        let bad = item_of(*first)..item_of(*last) + 1;
        // Where only zeros are left a segment seems to end.
        let left = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
        let cut = (left < good.len() as u64).then_some(left.max(items[bad.start].at.offset));
        let what = format!("bytes {first}..={last} of {segment}; to try it again: QNFSM_DAMAGE={seed}");
        check(&node, &entries, &items, bad, cut.filter(|cut| *cut <= *first), &what);
        match read(&mut node.reader()).1 {
            Ok(_) => losses += 1,
            Err(_) => errors += 1,
        }
        fs::write(&path, &good).unwrap();
    }
    eprintln!("{errors} errors, {losses} losses");
    assert!(asked("QNFSM_DAMAGE").is_some() || errors > 20 && losses > 20, "{errors} errors, {losses} losses");
}

#[test]
fn every_cut_is_an_error_at_its_place_or_a_loss_that_is_said() {
    let (node, entries, items) = journal();
    for segment in 1..=items.last().unwrap().at.segment {
        let path = node.segment(segment);
        let good = fs::read(&path).unwrap();
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            let cut = u64::try_from(length).unwrap();
            let bad = items.partition_point(|item| (item.at.segment, item.end) <= (segment, cut));
            check(&node, &entries, &items, bad..bad + 1, Some(cut), &format!("{segment} cut to {length}"));
        }
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn zeros_behind_the_end_are_no_loss_and_the_journal_goes_on_without_them() {
    let (node, entries, items) = journal();
    let last = items.last().unwrap().at.segment;
    let mut bytes = fs::read(node.segment(last)).unwrap();
    let length = bytes.len();
    bytes.resize(length + 4096, 0);
    fs::write(node.segment(last), &bytes).unwrap();
    let (_, tail) = read(&mut node.reader());
    let tail = tail.unwrap();
    assert_eq!((tail.last.unwrap().bytes, &tail.lost), (length.try_into().unwrap(), &None));

    let journal = node.begin(3, Some(&tail), 260);
    journal.write(&round(99)).unwrap();
    assert_eq!(fs::read(node.segment(last)).unwrap(), bytes[..length]);
    assert!(node.names("lost").is_empty());
    let (again, tail) = read(&mut node.reader());
    assert_eq!(again[..entries.len()], entries);
    assert_eq!((again.len(), tail.unwrap().lost), (entries.len() + 1, None));
}

#[test]
fn whole_segments_behind_a_loss_are_kept_aside_too() {
    let node = Node::new();
    let journal = node.begin(1, None, 1);
    for number in 1..=4 {
        journal.write(&round(number)).unwrap();
    }
    drop(journal);
    let mut bytes = fs::read(node.segment(2)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(node.segment(2), &bytes).unwrap();
    let (entries, tail) = read(&mut node.reader());
    assert_eq!(entries.len(), 1);
    let tail = tail.unwrap();
    drop(node.begin(2, Some(&tail), 1));
    assert_eq!(node.names("journal"), ["00000001.qjl", "00000002.qjl", "00000003.qjl"]);
    assert_eq!(node.names("lost").len(), 3, "the rest of segment 2, and segments 3 and 4");
    assert_eq!(read(&mut node.reader()).1.unwrap().lost, None);
}

#[test]
fn what_the_manifest_says_was_reached_must_be_there() {
    let (node, _, items) = journal();
    let last = items.last().unwrap();
    let mut manifest = Manifest::load(&RealFiles, &node.dir).unwrap();
    manifest.reached = Position { offset: last.end, ..last.at };
    manifest.store(&RealFiles, &node.dir).unwrap();
    read(&mut node.reader()).1.unwrap();
    let bytes = fs::read(node.segment(last.at.segment)).unwrap();
    fs::write(node.segment(last.at.segment), &bytes[..usize::try_from(last.at.offset).unwrap()]).unwrap();
    assert!(matches!(corruption(&node).why, Why::EndsEarly { .. }));
    fs::remove_file(node.segment(last.at.segment)).unwrap();
    let error = corruption(&node);
    assert_eq!((error.file, error.why), (node.segment(last.at.segment), Why::Missing));
}

#[test]
fn a_missing_segment_is_named() {
    let (node, _, items) = journal();
    let mut known = 0;
    for segment in 1..items.last().unwrap().at.segment {
        let copy = node.copy();
        fs::remove_file(copy.segment(segment)).unwrap();
        let start = Position { segment, offset: 0 };
        let others = items.iter().filter(|item| item.at.segment != segment);
        if others.filter_map(|item| item.proves).any(|proved| proved > start) {
            let error = corruption(&copy);
            assert_eq!((error.file, error.why), (copy.segment(segment), Why::Missing));
            known += 1;
        } else {
            // Nothing says that it ever was on disk.
            let lost = read(&mut copy.reader()).1.unwrap().lost.unwrap();
            assert_eq!((lost.after.segment, lost.why), (segment - 1, Why::Missing));
        }
    }
    assert!(known >= 3);
}

#[test]
fn swapped_and_doubled_segments_are_named() {
    let (node, ..) = journal();
    let swapped = node.copy();
    fs::rename(swapped.segment(2), swapped.dir.join("between")).unwrap();
    fs::rename(swapped.segment(3), swapped.segment(2)).unwrap();
    fs::rename(swapped.dir.join("between"), swapped.segment(3)).unwrap();
    let error = corruption(&swapped);
    assert_eq!(error.file, swapped.segment(2));
    assert!(matches!(error.why, Why::Misplaced { .. }), "{error}");

    let doubled = node.copy();
    fs::copy(doubled.segment(2), doubled.segment(3)).unwrap();
    let error = corruption(&doubled);
    assert_eq!(error.file, doubled.segment(3));
    assert!(matches!(error.why, Why::Misplaced { .. }), "{error}");

    let misspelt = node.copy();
    fs::copy(misspelt.segment(2), misspelt.dir.join("journal").join("2.qjl")).unwrap();
    assert!(matches!(Reader::open(Arc::new(RealFiles), &misspelt.dir), Err(OpenError::Corrupt(_))));
}

#[test]
fn a_segment_of_another_node_is_named() {
    let (node, ..) = journal();
    let other = Node::bare();
    let manifest = Manifest { epoch: Epoch(9), ..Manifest::new(!IDENTITY, NodeId(5), "program", 77) };
    manifest.create(&RealFiles, &other.dir).unwrap();
    let foreign = SegmentInfo { identity: !IDENTITY, ..info(1) };
    let options = JournalOptions::default().segment_bytes(1);
    let journal = Journal::begin(Arc::new(RealFiles), &other.dir, foreign, None, options).unwrap();
    for number in 1..=4 {
        journal.write(&round(number)).unwrap();
    }
    for segment in 1..=3 {
        let copy = node.copy();
        fs::copy(other.segment(segment), copy.segment(segment)).unwrap();
        let error = corruption(&copy);
        assert_eq!((error.file, error.why), (copy.segment(segment), Why::Foreign { identity: !IDENTITY }));
    }
}

#[test]
fn a_segment_of_another_life_of_the_node_is_named() {
    // Two copies of a directory go on from the same segment, each in its own way; then a segment changes over.
    let node = Node::new();
    let journal = node.begin(1, None, 1);
    for number in 1..=2 {
        journal.write(&round(number)).unwrap();
    }
    drop(journal);
    let other = node.copy();
    let tail = read(&mut node.reader()).1.unwrap();
    for (node, last) in [(&node, 4_u64), (&other, 5)] {
        let journal = node.begin(2, Some(&tail), 1);
        for number in 3..=last {
            journal.write(&round(number + last)).unwrap();
        }
    }
    fs::copy(other.segment(4), node.segment(4)).unwrap();
    let error = corruption(&node);
    assert_eq!(error.file, node.segment(4));
    assert!(matches!(error.why, Why::Link { .. }), "{error}");

    let tail = read(&mut other.reader()).1.unwrap();
    drop(other.begin(3, Some(&tail), 1));
    let stale = SegmentInfo { epoch_random: 1, ..info(3) };
    let (header, _) = SegmentHeader::encode(6, tail.last, &stale);
    fs::write(other.segment(6), header).unwrap();
    let link = read(&mut other.reader()).1.unwrap().last.unwrap();
    let (header, _) = SegmentHeader::encode(7, Some(link), &info(2));
    fs::write(other.segment(7), header).unwrap();
    assert_eq!(corruption(&other).why, Why::Stale { epoch: Epoch(2) });
}

#[test]
fn a_record_of_another_life_of_the_node_breaks_the_chain() {
    // Both lives begin alike, so that the record which changes over is sound in its place.
    let lives = [Node::new(), Node::new()];
    for (node, number) in lives.iter().zip([1, 2]) {
        let journal = node.begin(1, None, SEGMENT_BYTES_DEFAULT);
        journal.write(&round(number)).unwrap();
        journal.write(&round(3)).unwrap();
        journal.sync().unwrap();
    }
    let (entries, _) = read(&mut lives[0].reader());
    let [start, end] = [entries[0].0.offset, entries[1].0.offset].map(|offset| usize::try_from(offset).unwrap());
    let mut bytes = fs::read(lives[0].segment(1)).unwrap();
    bytes[start..end].copy_from_slice(&fs::read(lives[1].segment(1)).unwrap()[start..end]);
    fs::write(lives[0].segment(1), bytes).unwrap();
    let error = corruption(&lives[0]);
    assert_eq!((error.offset, error.why), (entries[1].0.offset, Why::Chain));
}

/// Files as they are, that tell the longest part that was read at once and what was read in all.
#[derive(Debug, Default)]
struct Watched {
    longest: AtomicU64,
    all: AtomicU64,
}

impl Storage for Watched {
    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        RealFiles.read(path, offset, bytes_max, into)?;
        self.longest.fetch_max(into.len() as u64, Ordering::Relaxed);
        self.all.fetch_add(into.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealFiles.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFiles.list(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        RealFiles.create_new(path)
    }

    fn open(&self, path: &Path, offset: u64) -> io::Result<Box<dyn File>> {
        RealFiles.open(path, offset)
    }

    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        RealFiles.file_bytes(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealFiles.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        RealFiles.lock(path)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        RealFiles.is_locked(path)
    }
}

/// Makes a file longer, with zeros that take no room on the disk.
fn lengthen(path: &Path, bytes: u64) {
    fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(bytes)).unwrap();
}

#[test]
fn zeros_at_a_segment_s_end_are_read_in_parts_whatever_stands_before_them() {
    const ZEROS: u64 = 200 << 20;
    let (node, entries, items) = journal();
    let last = items.last().unwrap();
    let (path, whole) = (node.segment(last.at.segment), fs::read(node.segment(last.at.segment)).unwrap());
    let torn = [&whole[..], b"half of a record"].concat();
    // A record that ends in zeros, which a tail of zeros must not take from it, and what a crash left behind the end.
    for (bytes, lost) in [(&whole, None), (&torn, Some(16))] {
        fs::write(&path, bytes).unwrap();
        lengthen(&path, ZEROS);
        let storage = Arc::new(Watched::default());
        let (read, end) = read(&mut Reader::open(storage.clone(), &node.dir).unwrap());
        assert_eq!(read, entries, "all that was written");
        assert_eq!(end.unwrap().lost.map(|lost| lost.bytes), lost);
        let longest = storage.longest.load(Ordering::Relaxed);
        assert!(longest <= 65 << 20, "{longest} bytes were read at once");
        assert!(storage.all.load(Ordering::Relaxed) <= 2 * ZEROS, "and none of them often");
    }
}

#[test]
fn of_a_file_s_rest_there_are_all_bytes_that_were_written_and_few_of_the_zeros_behind() {
    let node = Node::bare();
    let path = node.dir.join("file");
    let rest = |from| {
        let mut rest = b"of before".to_vec();
        read_rest(&RealFiles, &path, from, &mut rest).unwrap();
        rest
    };
    const PART: usize = 65 << 20;
    fs::write(&path, b"ab\0").unwrap();
    assert_eq!((rest(0), rest(1), rest(3)), (b"ab\0".to_vec(), b"b\0".to_vec(), Vec::new()));
    lengthen(&path, 3 * PART as u64);
    let first = rest(0);
    assert!(first.starts_with(b"ab\0\0") && first.len() == 2 * PART, "{}", first.len());
    assert_eq!(rest(2), Vec::<u8>::new(), "of nothing but zeros there is nothing");
    // What stands behind a part of zeros stays where it is.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"z", 2 * PART as u64 + 7).unwrap();
    let rest = rest(1);
    assert_eq!((rest.len(), rest[0], rest[2 * PART + 6], rest[2 * PART + 7]), (3 * PART - 1, b'b', b'z', 0));
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_in_place_of_one_and_never_opened() {
    let (node, ..) = journal();
    let (first, lock) = (node.segment(1), node.dir.join("lock"));
    let whole = fs::read(&first).unwrap();
    let pipe = |path: &Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    let directory = |path: &Path| fs::create_dir(path).unwrap();
    let device = |path: &Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    type Make<'m> = &'m dyn Fn(&Path);
    let others: [(Make<'_>, &str); 3] = [(&pipe, "a pipe"), (&directory, "a directory"), (&device, "a device")];
    for (make, is) in others {
        fs::remove_file(&first).unwrap();
        make(&first);
        let (read, end) = read(&mut node.reader());
        assert_eq!(read, []);
        match end {
            Err(ReadError::Corrupt(Corruption { file, offset: 0, why, .. })) => {
                assert_eq!((file, why), (first.clone(), Why::NoFile { is }));
            }
            other => panic!("{is}: {other:?}"),
        }
        assert_eq!(read_header(&RealFiles, &node.dir, 1).unwrap(), None);
        let _ = fs::remove_file(&first).or_else(|_| fs::remove_dir(&first));
        fs::write(&first, &whole).unwrap();
        let _ = fs::remove_file(&lock);
        make(&lock);
        let refused = Reader::open(Arc::new(RealFiles), &node.dir).map(drop);
        assert!(matches!(&refused, Err(OpenError::Corrupt(it)) if it.file == lock), "{is}: {refused:?}");
        let _ = fs::remove_file(&lock).or_else(|_| fs::remove_dir(&lock));
    }
}

#[test]
fn a_snapshot_that_is_not_as_long_as_it_says_is_not_read() {
    let node = Node::new();
    let about = SnapshotHeader { worker: WORKER, round: 7, epoch: Epoch(2), identity: IDENTITY, catalogue: b"kinds" };
    snapshots::store(Arc::new(RealFiles), &node.dir, &about, b"image", b"outputs").unwrap();
    let path = snapshots::path(&node.dir, WORKER, 7);
    let good = fs::read(&path).unwrap();
    let load = |storage: &Watched| match snapshots::load(storage, &node.dir, IDENTITY, WORKER, 7) {
        Err(ReadError::Corrupt(corruption)) => corruption,
        other => panic!("{other:?}"),
    };
    // Zeros behind it; and an end that was put there, which is sound by itself.
    for end in [&[][..], &good[good.len() - 28..]] {
        fs::write(&path, &good).unwrap();
        lengthen(&path, (5 << 30) - end.len() as u64);
        io::Write::write_all(&mut fs::OpenOptions::new().append(true).open(&path).unwrap(), end).unwrap();
        let storage = Watched::default();
        let Corruption { offset, why, .. } = load(&storage);
        assert_eq!(offset, (5 << 30) - 28, "{why}");
        assert!(storage.all.load(Ordering::Relaxed) < 1000, "{:?}", storage.all);
    }
}
