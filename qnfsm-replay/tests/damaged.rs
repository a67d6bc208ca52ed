//! A journal that is damaged somewhere in the middle is gone through, and compared, up to there: whichever record it is.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{collections::BTreeSet, fs, ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use qnfsm::{
    Durability, Limits, Recording,
    journal::{Position, Reader, RealFiles, Record, segment_path},
};
use qnfsm_replay::{
    CorruptJournal, Options, ReplayError, Session,
    compare::compare,
    describe::{self, describe},
    session::{By, Direction, Found},
};
use rig::{Order, PATIENCE, Teller, copy, kinds, node};

/// A run of the bank, with values from outside, in which each record of a round may be the last that is sound.
fn bank(dir: &Path, recording: Recording) {
    let node = node(dir, recording).start(&Teller::<1>::default()).unwrap();
    for coins in 0..3 {
        node.host().send(node.root(), &Order::Add(coins)).unwrap();
        let _: u64 = node.host().request(node.root(), PATIENCE, Order::Count).unwrap();
        let _: u64 = node.host().request(node.root(), PATIENCE, Order::Quote).unwrap();
    }
    node.stop().unwrap();
}

/// Where each record of a journal begins that is known to be on disk, and how many rounds stand before it.
fn records(dir: &Path) -> Vec<(Position, u64)> {
    let mut reader = Reader::open(Arc::new(RealFiles), dir).unwrap();
    let (mut rounds, mut records) = (0, Vec::new());
    let reached = reader.manifest().reached;
    while let Some(entry) = reader.next().unwrap() {
        if entry.position >= reached {
            break;
        }
        records.push((entry.position, rounds));
        rounds += u64::from(matches!(entry.record, Record::Round { .. }));
    }
    assert!(rounds > 10 && records.len() > 20, "most of it is known to be on disk");
    records
}

fn damage(dir: &Path, at: Position) {
    let file = segment_path(dir, at.segment);
    let mut bytes = fs::read(&file).unwrap();
    bytes[usize::try_from(at.offset).unwrap() + 5] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn where_a_segment_s_header_is_damaged_all_before_it_can_be_gone_through_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: 1 << 14, ..Limits::default() };
    let running = node(dir.path(), Recording::Inputs).limits(limits).start(&Teller::<1>::default()).unwrap();
    for coins in 0..200 {
        running.host().send(running.root(), &Order::Add(coins)).unwrap();
        let _: u64 = running.host().request(running.root(), PATIENCE, Order::Count).unwrap();
    }
    running.stop().unwrap();
    let third = segment_path(dir.path(), 3);
    let mut bytes = fs::read(&third).unwrap();
    bytes[200] ^= 0xff;
    fs::write(third, bytes).unwrap();

    let options = Options::new().stations_apart(Duration::ZERO);
    let mut session = Session::open(dir.path(), kinds::<1>(), &options).unwrap();
    let there = session.rounds();
    assert!(there > 20 && session.stopped().is_some(), "{there}: {:?}", session.stopped());
    for _ in 0..3 {
        session.go_to_end().unwrap();
        assert_eq!(session.spot().unwrap().ordinal, there - 1);
        let mut seen = BTreeSet::new();
        let meanwhile = |ordinal| {
            seen.insert(ordinal);
            ControlFlow::Continue(())
        };
        let found = session.find_unless(Direction::Back, |_, _| false, meanwhile);
        assert_eq!((found.unwrap(), seen.len() as u64), (Found::Nowhere, there));
    }
}

#[test]
fn of_a_running_node_s_damaged_journal_it_is_told_how_much_of_the_sound_part_was_on_disk() {
    let (dir, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let running =
        node(dir.path(), Recording::Inputs).durability(Durability::Durable).start(&Teller::<1>::default()).unwrap();
    let count = || running.host().request::<_, u64>(running.root(), PATIENCE, Order::Count).unwrap();
    (0..20).for_each(|_| _ = count());
    // As a kill leaves it: nothing says up to where all of it was on disk but the marks in it.
    copy(dir.path(), copied.path());
    running.stop().unwrap();
    let described = || describe(copied.path(), &describe::Options::new(), |_, _| {}).unwrap();
    let sound = described();
    assert!(sound.damage.is_none() && sound.synced.starts_with("1:"), "{}", sound.synced);
    let mut reader = Reader::open(Arc::new(RealFiles), copied.path()).unwrap();
    let mut all = vec![];
    while let Some(entry) = reader.next().unwrap() {
        all.push(entry.position);
    }
    let at = all[all.len() * 3 / 4];
    damage(copied.path(), at);
    let damaged = described();
    let synced: Position = damaged.synced.parse().unwrap();
    assert!(damaged.damage.is_some() && synced > Position::default() && synced <= at, "{synced} {at}");
}

#[track_caller]
fn assert_damaged_at(error: Option<&ReplayError>, at: Position) {
    let Some(ReplayError::Corrupt(corrupt)) = error else { panic!("damage at {at}: {error:?}") };
    let CorruptJournal::Bytes(corruption) = &**corrupt else { panic!("damage at {at}: {corrupt}") };
    assert_eq!((corruption.offset, corruption.sound_end()), (at.offset, Some(at)), "{corrupt}");
    let text = corrupt.to_string();
    assert!(text.contains("`qnfsm repair ") && text.contains(&format!("--end-at {at}")), "{text}");
}

#[test]
fn a_session_goes_through_all_that_stands_before_the_damage() {
    for recording in [Recording::Inputs, Recording::Everything] {
        let whole = tempfile::tempdir().unwrap();
        bank(whole.path(), recording);
        for (at, rounds) in records(whole.path()) {
            let dir = tempfile::tempdir().unwrap();
            copy(whole.path(), dir.path());
            damage(dir.path(), at);
            let mut session = Session::open(dir.path(), kinds::<1>(), &Options::new()).unwrap();
            assert_damaged_at(session.stopped(), at);
            assert_eq!(session.rounds(), rounds, "before the damage at {at}");
            session.go_to_end().unwrap_or_else(|error| panic!("before the damage at {at}: {error}"));
            assert_eq!(session.spot().map(|spot| spot.ordinal), rounds.checked_sub(1), "before the damage at {at}");
            let mut back = u64::from(rounds > 0);
            while session.back(By::Round).unwrap() {
                back += 1;
            }
            assert_eq!(back, rounds);
            let mut seen = 0;
            let nothing = session.find(Direction::Forward, |_, _| {
                seen += 1;
                false
            });
            assert!(!nothing.unwrap() && (seen > 0 || rounds < 2), "before the damage at {at}");
        }
    }
}

#[test]
fn two_journals_are_compared_up_to_where_one_is_damaged() {
    let whole = tempfile::tempdir().unwrap();
    bank(whole.path(), Recording::Inputs);
    let all = records(whole.path());
    let rounds_in_all = compare(whole.path(), whole.path(), None, &Options::new()).unwrap().same;
    for (at, rounds) in all {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        damage(dir.path(), at);
        for damaged in [0, 1] {
            let dirs = if damaged == 0 { [&dir, &whole] } else { [&whole, &dir] };
            let compared = compare(dirs[0].path(), dirs[1].path(), None, &Options::new()).unwrap();
            assert!(compared.parted.is_none(), "{compared:?}");
            let mut more = [0; 2];
            more[1 - damaged] = rounds_in_all - rounds;
            assert_eq!((compared.same, compared.more), (rounds, more), "damaged at {at}");
            assert!(compared.damaged[1 - damaged].is_none());
            let error = compared.damaged[damaged].clone().map(ReplayError::from);
            assert_damaged_at(error.as_ref(), at);
        }
    }
}
