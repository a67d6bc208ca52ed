//! `NodeBuilder::recover_to`: a node goes on from where it is told to, has what the journal up to there says and nothing more, and
//! all that it gave up is kept. Whatever happens on the way, nobody starts with less without being told to.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use qnfsm::{
    Epoch, Node, StartError, WorkerId,
    journal::{
        Corruption, GivenUp, Manifest, Position, ReadError, Reader, Record, RecoverToError, segment_path,
        simulated::SimulatedDisk,
    },
};

use crate::{
    ledger::{Ask, DIR, NUMBERS, Shape, kinds, numbers_held, put, run, try_recover_to, try_start},
    ring,
};

/// All files but the lock, and what was made beforehand, with their bytes.
pub(crate) fn files(disk: &SimulatedDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    // Of one moment: a node that failed to start may still be putting away what it had made.
    let disk = disk.copy();
    let paths = disk.paths().into_iter().filter(|path| !path.ends_with("lock") && !path.ends_with("next.tmp"));
    paths.map(|path| (path.clone(), disk.bytes(&path).unwrap())).collect()
}

pub(crate) fn under(disk: &SimulatedDisk, dir: &str) -> BTreeMap<String, Vec<u8>> {
    let dir = Path::new(DIR).join(dir);
    let files = files(disk).into_iter().filter(|(path, _)| path.starts_with(&dir));
    files.map(|(path, bytes)| (path.file_name().unwrap().to_str().unwrap().to_owned(), bytes)).collect()
}

pub(crate) fn segment(disk: &SimulatedDisk, number: u64) -> Vec<u8> {
    disk.bytes(&segment_path(Path::new(DIR), number)).unwrap()
}

/// The numbers of the segments that there are.
pub(crate) fn segments(disk: &SimulatedDisk) -> Vec<u64> {
    let names = under(disk, "journal").into_keys().filter_map(|name| name.strip_suffix(".qjl").map(str::to_owned));
    names.map(|stem| stem.parse().unwrap()).collect()
}

/// What stands behind a position: the rest of its segment, and the later ones, without the zeros that nobody wrote.
pub(crate) fn behind(disk: &SimulatedDisk, at: Position) -> BTreeMap<String, Vec<u8>> {
    let mut behind = BTreeMap::new();
    for number in segments(disk).into_iter().filter(|number| *number >= at.segment) {
        let offset = if number == at.segment { at.offset } else { 0 };
        let mut bytes = segment(disk, number).split_off(usize::try_from(offset).unwrap());
        if number == at.segment {
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        }
        if bytes.iter().any(|byte| *byte != 0) {
            behind.insert(format!("{number:08}-{offset}"), bytes);
        }
    }
    behind
}

/// True if all of it lies among what is kept aside.
pub(crate) fn is_kept(disk: &SimulatedDisk, gone: &BTreeMap<String, Vec<u8>>) -> bool {
    let lost = under(disk, "lost");
    gone.iter()
        .all(|(stem, bytes)| lost.iter().any(|(name, kept)| name.starts_with(&format!("{stem}.")) && kept == bytes))
}

/// A node that has put all numbers and was stopped.
pub(crate) fn stopped(shape: Shape) -> SimulatedDisk {
    let history = run(shape);
    history.kill(history.operations.len())
}

/// What a node holds that goes on from a copy whose journal really ends there, and never was longer.
pub(crate) fn held_by_the_prefix(disk: &SimulatedDisk, at: Position, shape: Shape) -> u64 {
    let disk = disk.copy();
    for number in segments(&disk).into_iter().filter(|number| *number > at.segment) {
        disk.lose(&segment_path(Path::new(DIR), number));
    }
    let mut bytes = segment(&disk, at.segment);
    bytes.truncate(usize::try_from(at.offset).unwrap());
    disk.put(&segment_path(Path::new(DIR), at.segment), bytes);
    let manifest = Manifest::load(&disk, Path::new(DIR)).unwrap();
    Manifest { reached: Position::default(), ..manifest }.store(&disk, Path::new(DIR)).unwrap();
    let node = try_start(&disk, shape).unwrap();
    let held = held(&node);
    node.stop().unwrap();
    held
}

/// How many numbers the ledger holds: all from the first on, none twice.
pub(crate) fn held(node: &Node<Ask>) -> u64 {
    let numbers = numbers_held(node);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    numbers.len() as u64
}

pub(crate) fn refused(disk: &SimulatedDisk, shape: Shape, position: Option<Position>) -> StartError {
    let before = files(disk);
    let error = *try_recover_to(disk, shape, position).expect_err("it starts");
    assert!(files(disk) == before, "a start that was refused has changed something: {error}");
    error
}

/// Where the journal was found damaged by a node that was told nothing.
fn damaged(disk: &SimulatedDisk, shape: Shape) -> Corruption {
    match refused(disk, shape, None) {
        StartError::Read(ReadError::Corrupt(corruption)) => corruption,
        other => panic!("{other}"),
    }
}

/// The starts of all records, with what is marked or run there, and the end of the last.
pub(crate) fn boundaries(disk: &SimulatedDisk) -> Vec<Position> {
    let mut reader = Reader::open(disk.copy().storage(), Path::new(DIR)).unwrap();
    let mut found = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        found.push(entry.position);
    }
    found.push(reader.position());
    found
}

/// By worker, the first and the last of some rounds.
type Rounds = BTreeMap<WorkerId, (u64, u64)>;

/// The rounds that are recorded from a position on, and the clean stops.
fn recorded_from(disk: &SimulatedDisk, at: Position) -> (Rounds, Vec<Epoch>) {
    let mut reader = Reader::open(disk.copy().storage(), Path::new(DIR)).unwrap();
    let (mut rounds, mut stops) = (Rounds::new(), Vec::new());
    while let Some(entry) = reader.next().unwrap() {
        match entry.record {
            _ if entry.position < at => {}
            Record::Round { worker, round, .. } => rounds.entry(worker).or_insert((round, round)).1 = round,
            Record::CleanStop { epoch } => stops.push(epoch),
            _ => {}
        }
    }
    (rounds, stops)
}

fn told(given_up: &GivenUp) -> (Rounds, Vec<Epoch>) {
    let rounds = given_up.rounds.iter().map(|(worker, rounds)| (*worker, (*rounds.start(), *rounds.end())));
    (rounds.collect(), given_up.clean_stops.clone())
}

/// Recovers to a position, and checks all that is promised of it. `whole` is the disk with nothing damaged, and `disk` is
/// changed. Gives what was given up.
fn recover(disk: &SimulatedDisk, whole: &SimulatedDisk, at: Position, shape: Shape) -> GivenUp {
    let (gone, prefix) = (behind(disk, at), segment(whole, at.segment)[..usize::try_from(at.offset).unwrap()].to_vec());
    let node = try_recover_to(disk, shape, Some(at)).unwrap_or_else(|error| panic!("{at}: {error}"));
    let given_up = node.given_up().unwrap_or_else(|| panic!("{at}: nothing is given up")).clone();
    assert_eq!(given_up.at, at);
    // A zero in which a segment ends counts as room that was made for more.
    let before_zeros = |bytes: &Vec<u8>| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    assert_eq!(given_up.bytes, gone.values().map(before_zeros).sum::<u64>(), "{at}");
    assert!(is_kept(disk, &gone), "{at}: not all of it is kept");
    assert_eq!(segment(disk, at.segment), prefix, "{at}");
    (1..at.segment).for_each(|number| assert_eq!(segment(disk, number), segment(whole, number)));
    assert_eq!(held(&node), held_by_the_prefix(whole, at, shape), "{at}");
    let epoch = node.epoch();
    node.stop().unwrap();
    ring::replay(&disk.storage(), Path::new(DIR), kinds());
    // The next start needs no telling, and loses nothing more.
    let node = try_start(disk, shape).unwrap();
    assert_eq!((node.given_up(), node.epoch()), (None, Epoch(epoch.0 + 1)));
    let more = held(&node) + 1;
    assert_eq!(put(&node, more), Some(more));
    node.stop().unwrap();
    ring::replay(&disk.storage(), Path::new(DIR), kinds());
    given_up
}

#[test]
fn a_damaged_journal_names_the_position_and_the_node_goes_on_from_there_when_it_is_told_to() {
    for shape in [Shape::Buffered, Shape::Durable] {
        let whole = stopped(shape);
        let ends = boundaries(&whole);
        let reached = Manifest::load(&whole, Path::new(DIR)).unwrap().reached;
        for number in segments(&whole) {
            let path = segment_path(Path::new(DIR), number);
            for way in ["a changed byte in the middle", "a changed byte of the header", "gone"] {
                let disk = whole.copy();
                let mut bytes = segment(&disk, number);
                let here: Vec<_> = ends.iter().filter(|end| end.segment == number && **end < reached).collect();
                let Some(record) = here.get(here.len() / 2) else { continue };
                let at = if way.contains("header") { 50 } else { record.offset + 22 };
                bytes[usize::try_from(at).unwrap()] ^= 1;
                disk.put(&path, bytes);
                if way == "gone" {
                    disk.lose(&path);
                }
                let corruption = damaged(&disk, shape);
                let text = corruption.to_string();
                let Some(end) = corruption.sound_end() else {
                    assert!(
                        number == 1 && !way.contains("middle") && !text.contains("recover_to"),
                        "{number}: {way}: {text}"
                    );
                    continue;
                };
                assert!(text.contains(&format!("start the node with `recover_to {end}`")), "{text}");
                let what = format!("{shape:?}, segment {number}: {way}");
                let length = segment(&whole, end.segment).len() as u64;
                assert!(end.offset == length || ends.contains(&end), "{what}");
                let given_up = recover(&disk, &whole, end, shape);
                // One record can't be read, or the file isn't there.
                assert_eq!(given_up.bytes_unread == 0, way == "gone", "{what}: {given_up}");
                let (mut rounds, _) = told(&given_up);
                let (recorded, _) = recorded_from(&whole, end);
                rounds.retain(|worker, of| recorded[worker].0 <= of.0 && of.1 <= recorded[worker].1);
                assert_eq!(rounds, told(&given_up).0, "{what}: {given_up}");
            }
        }
    }
}

#[test]
fn a_journal_that_is_whole_ends_where_an_operator_says_and_what_is_given_up_is_told() {
    for shape in [Shape::Buffered, Shape::Durable] {
        let whole = stopped(shape);
        let ends = boundaries(&whole);
        let last = ends[ends.len() - 1];
        for at in ends.iter().take(ends.len() - 1).step_by(7) {
            let disk = whole.copy();
            let given_up = recover(&disk, &whole, *at, shape);
            assert_eq!((given_up.bytes_unread, &*given_up.epochs), (0, &[][..]));
            assert_eq!(told(&given_up), recorded_from(&whole, *at));
        }
        assert_eq!(recover(&whole.copy(), &whole, ends[ends.len() - 2], shape).rounds, BTreeMap::new());
        // Where it ends anyway there is nothing to give up.
        let disk = whole.copy();
        let node = try_recover_to(&disk, shape, Some(last)).unwrap();
        assert_eq!((node.given_up(), held(&node)), (None, NUMBERS));
        node.stop().unwrap();
        assert!(under(&disk, "lost").is_empty());
    }
}

#[test]
fn what_is_given_up_is_told_in_plain_words() {
    let disk = stopped(Shape::Durable);
    let node = try_start(&disk, Shape::Durable).unwrap();
    node.stop().unwrap();
    let ends = boundaries(&disk);
    let at = ends[ends.len() / 2];
    let (rounds, _) = recorded_from(&disk, at);
    let node = try_recover_to(&disk, Shape::Durable, Some(at)).unwrap();
    let given_up = node.given_up().unwrap();
    let text = given_up.to_string();
    let (first, last) = rounds[&WorkerId(1)];
    for part in [
        format!("the journal was made to end at {at}, and {} bytes behind that are given up", given_up.bytes),
        format!("rounds {first} to {last} of w1"),
        "epoch 2 from its beginning".to_owned(),
        "the clean stop of epoch 1, the clean stop of epoch 2".to_owned(),
        "kept aside in `lost` with the snapshots of it".to_owned(),
    ] {
        assert!(text.contains(&part), "{text:?} does not say {part:?}");
    }
    node.stop().unwrap();
}

#[test]
fn a_position_from_which_the_node_can_not_go_on_is_refused_with_another_to_give() {
    let disk = stopped(Shape::Durable);
    let ends = boundaries(&disk);
    let refused = |position| match refused(&disk, Shape::Durable, Some(position)) {
        StartError::RecoverTo(error) => error,
        other => panic!("{other}"),
    };
    let (first, last) = (ends[0], ends[ends.len() - 1]);
    for (before, after) in ends.iter().zip(&ends[1..]) {
        let at = Position { offset: before.offset + 1, ..*before };
        match refused(at) {
            RecoverToError::NoRecord { before: Some(lower), after: higher, .. } => {
                // The next record may stand in the next segment, and the journal may end in either.
                assert!(lower == *before && higher <= *after, "{at}: {lower}, {higher}");
                assert!(higher == *after || higher.offset == segment(&disk, higher.segment).len() as u64);
            }
            other => panic!("{at}: {other}"),
        }
    }
    let text = refused(Position { offset: ends[1].offset - 1, ..ends[1] }).to_string();
    assert!(text.ends_with(&format!("give {} or {}", ends[0], ends[1])), "{text}");
    for at in [Position::default(), Position { segment: 1, offset: 5 }] {
        match refused(at) {
            RecoverToError::NoRecord { before: None, after, .. } => assert_eq!(after, first),
            other => panic!("{at}: {other}"),
        }
    }
    for at in
        [Position { offset: last.offset + 1, ..last }, Position { segment: last.segment + 1, offset: first.offset }]
    {
        match refused(at) {
            RecoverToError::BehindEnd { end, .. } => assert_eq!(end, last),
            other => panic!("{at}: {other}"),
        }
    }
    // Behind damage there is no going on.
    let mut bytes = segment(&disk, 1);
    bytes[usize::try_from(ends[1].offset).unwrap() + 22] ^= 1;
    disk.put(&segment_path(Path::new(DIR), 1), bytes);
    let end = damaged(&disk, Shape::Durable).sound_end();
    assert_eq!(end, Some(ends[1]));
    match self::refused(&disk, Shape::Durable, Some(last)) {
        StartError::Read(ReadError::Corrupt(corruption)) => assert_eq!(corruption.sound_end(), end),
        other => panic!("{other}"),
    }
}
