//! A part of a journal replays as it does in the whole: from a snapshot on, up to a round, or both.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{fs, path::Path, sync::Arc};

use qnfsm::{
    Limits, Recording, WorkerId,
    journal::{AllMarks, Position, Reader, RealFiles, Record, snapshots},
};
use qnfsm_replay::{BeganWith, Options, ReplayError, Report, RoundName, SnapshotName, replay};
use rig::{Order, PATIENCE, Teller, kinds, node, place_of};

/// Three epochs of business on two workers, each of which ends with a snapshot of both.
fn recorded(dir: &Path, limits: Limits) {
    for _ in 0..3 {
        let node = node(dir, Recording::Inputs).limits(limits).start(&Teller::<1>::default()).unwrap();
        let (host, root) = (node.host(), node.root());
        for coins in 0..20 {
            host.send(root, &Order::Add(coins)).unwrap();
            let _: u64 = host.request(root, PATIENCE, Order::Count).unwrap();
        }
        node.stop().unwrap();
    }
}

/// The rounds in the order of the journal, each with where its record stands.
fn rounds(dir: &Path) -> Vec<(WorkerId, u64, Position)> {
    let mut reader = Reader::open(Arc::new(RealFiles), dir).unwrap();
    let mut rounds = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        if let Record::Round { worker, round, .. } = entry.record {
            rounds.push((worker, round, entry.position));
        }
    }
    rounds
}

fn marks(dir: &Path) -> AllMarks {
    let mut reader = Reader::open(Arc::new(RealFiles), dir).unwrap();
    let mut marks = AllMarks::default();
    while let Some(entry) = reader.next().unwrap() {
        marks.note(&entry.record, entry.position);
    }
    marks
}

fn part(dir: &Path, options: &Options<'_>) -> Report {
    replay(dir, kinds::<1>(), options).unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

fn misuse(dir: &Path, options: &Options<'_>) -> String {
    let error = replay(dir, kinds::<1>(), options).unwrap_err();
    assert_eq!(error.exit_status(), 2, "{error}");
    error.to_string()
}

#[test]
fn up_to_each_round_as_many_run_and_all_are_proved() {
    let dir = tempfile::tempdir().unwrap();
    // Snapshots are marked when their workers have gone on.
    let limits = Limits { segment_bytes: 20_000, snapshot_every_bytes: 1024, ..Limits::default() };
    recorded(dir.path(), limits);
    let rounds = rounds(dir.path());
    for (ordinal, (worker, round, _)) in rounds.iter().enumerate().step_by(rounds.len() / 60 + 1) {
        let by_ordinal = part(dir.path(), &Options::new().to(RoundName::Ordinal(ordinal as u64)));
        let by_worker = part(dir.path(), &Options::new().to(RoundName::Of(*worker, *round)));
        let told = by_ordinal.ended_behind.unwrap();
        assert_eq!((told.ordinal, told.worker, told.round), (ordinal as u64, *worker, *round));
        assert_eq!((by_ordinal.rounds, by_ordinal.rounds_unproved), (ordinal as u64 + 1, 0));
        assert_eq!((by_worker.digest, by_worker.ended_behind), (by_ordinal.digest, by_ordinal.ended_behind));
    }
    let all = part(dir.path(), &Options::new());
    let last = part(dir.path(), &Options::new().to(RoundName::Ordinal(rounds.len() as u64 - 1)));
    assert_eq!((last.rounds, last.digest, all.ended_behind), (all.rounds, all.digest, None));
}

#[test]
fn from_each_snapshot_every_worker_runs_what_comes_behind_its_own() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), Limits::default());
    let rounds = rounds(dir.path());
    let snapshots = snapshots::list(&RealFiles, dir.path()).unwrap();
    assert!(snapshots.len() >= 4, "each worker has two: {snapshots:?}");
    let (marks, there) = (marks(dir.path()), snapshots.clone());
    for (worker, round) in snapshots {
        let report = part(dir.path(), &Options::new().from(SnapshotName { worker, round }));
        assert!(report.began_with.contains(&BeganWith { worker, round }), "{report:?}");
        // Of the other one it is the latest that was begun before.
        let begun = marks.0[&worker].found.iter().rfind(|it| it.mark.round == round).unwrap().from;
        for other in marks.0.keys().filter(|other| **other != worker) {
            let of_other =
                marks.0[other].found.iter().filter(|it| it.from < begun && there.contains(&(*other, it.mark.round)));
            let latest = of_other.max_by_key(|it| it.from).map(|it| BeganWith { worker: *other, round: it.mark.round });
            assert_eq!(
                report.began_with.iter().find(|it| it.worker == *other).copied(),
                latest,
                "before {worker} {round}"
            );
        }
        let from = |of: &WorkerId| report.began_with.iter().find(|it| it.worker == *of).map_or(0, |it| it.round);
        let behind = rounds.iter().filter(|(worker, round, _)| *round > from(worker)).count();
        assert_eq!((report.rounds, report.rounds_unproved), (behind as u64, 0), "{worker} {round}: {report:?}");
        assert!(report.rounds < rounds.len() as u64 && report.clean);
    }
}

#[test]
fn what_differs_before_a_snapshot_or_behind_the_last_round_is_not_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    // The sums of the first epoch differ, and nobody asks for them.
    recorded(dir.path(), Limits::default());
    let node = node(dir.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Total).unwrap();
    node.stop().unwrap();
    let other = |options: &Options<'_>| replay(dir.path(), kinds::<2>(), options);
    assert_eq!(other(&Options::new()).unwrap_err().exit_status(), 30);

    let (worker, round, _) = place_of(dir.path(), |order| matches!(order, Order::Total(_)));
    let snapshots = snapshots::list(&RealFiles, dir.path()).unwrap();
    let before = snapshots.iter().rfind(|(of, after)| *of == worker && *after < round).unwrap();
    let from = SnapshotName { worker: before.0, round: before.1 };
    let report = other(&Options::new().from(from)).unwrap();
    assert!(report.began_with.contains(&BeganWith { worker, round: from.round }));

    let (_, first, _) = place_of(dir.path(), |order| matches!(order, Order::Add(1)));
    other(&Options::new().to(RoundName::Of(worker, first - 1))).unwrap();
}

#[test]
fn the_round_that_differs_is_within_if_it_is_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Count).unwrap();
    node.host().send(node.root(), &Order::Add(1)).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Count).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Total).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Count).unwrap();
    node.stop().unwrap();
    let (worker, round, _) = place_of(dir.path(), |order| matches!(order, Order::Total(_)));
    let to = |round| replay(dir.path(), kinds::<2>(), &Options::new().to(RoundName::Of(worker, round)));
    to(round - 1).unwrap();
    assert_eq!(to(round).unwrap_err().exit_status(), 30);
}

#[test]
fn of_a_journal_without_its_beginning_a_part_replays_too() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        segment_bytes: 20_000,
        snapshot_every_bytes: 30_000,
        retain_bytes: Some(200_000),
        ..Limits::default()
    };
    // Enough to give something up.
    while !is_cut(dir.path()) {
        let node = node(dir.path(), Recording::Inputs).limits(limits).start(&Teller::<1>::default()).unwrap();
        for coins in 0..3000 {
            node.host().send(node.root(), &Order::Add(coins)).unwrap();
            if coins % 50 == 0 {
                let _: u64 = node.host().request(node.root(), PATIENCE, Order::Count).unwrap();
            }
        }
        node.stop().unwrap();
    }
    let all = rounds(dir.path());
    let whole = part(dir.path(), &Options::new());
    let (worker, round) = *snapshots::list(&RealFiles, dir.path()).unwrap().last().unwrap();
    let behind = part(dir.path(), &Options::new().from(SnapshotName { worker, round }));
    let own = all.iter().filter(|(of, after, _)| (*of, *after) > (worker, round) && *of == worker).count() as u64;
    assert!((own..=whole.rounds).contains(&behind.rounds) && behind.rounds_unproved == 0, "{behind:?}, {whole:?}");
    // At its very front no worker may have begun yet.
    let front = part(dir.path(), &Options::new().to(RoundName::Ordinal(0)));
    assert_eq!((front.rounds + front.rounds_passed_over, front.rounds_unproved), (1, 0), "{front:?}");
}

fn is_cut(dir: &Path) -> bool {
    dir.join("manifest").exists() && Reader::open(Arc::new(RealFiles), dir).unwrap().manifest().oldest_segment > 1
}

#[test]
fn damage_behind_the_last_round_keeps_nobody_from_it() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), Limits::default());
    let rounds = rounds(dir.path());
    let at = rounds[rounds.len() - 10].2;
    let segment = qnfsm::journal::segment_path(dir.path(), at.segment);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[usize::try_from(at.offset).unwrap() + 20] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let error = replay(dir.path(), kinds::<1>(), &Options::new()).unwrap_err();
    assert_eq!(error.exit_status(), 20);
    let last = rounds.len() as u64 - 11;
    let report = part(dir.path(), &Options::new().to(RoundName::Ordinal(last)));
    assert_eq!(report.rounds, last + 1);
    assert!(report.rounds_unproved <= 2, "what bears out the last ones may be damaged: {report:?}");
}

#[test]
fn what_is_not_there_is_told_with_what_is_nearest() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), Limits::default());
    let rounds = rounds(dir.path());
    let to = |round| misuse(dir.path(), &Options::new().to(round));
    let count = format!("there is no round {0}: the journal holds {0} rounds, counted from 0", rounds.len());
    assert_eq!(to(RoundName::Ordinal(rounds.len() as u64)), count);
    let last = rounds.iter().rfind(|(worker, ..)| *worker == WorkerId(1)).unwrap().1;
    assert!(to(RoundName::Of(WorkerId(1), last + 1)).ends_with(&format!("rounds 1 to {last} of w1")));
    assert!(to(RoundName::Of(WorkerId(7), 1)).contains("none of w7"));

    let (worker, round) = snapshots::list(&RealFiles, dir.path()).unwrap()[0];
    let text = misuse(dir.path(), &Options::new().from(SnapshotName { worker, round: round + 1 }));
    assert!(text.contains(&format!("the nearest are those of {worker} after round {round}")), "{text}");
    let early = Options::new().from(SnapshotName { worker, round }).to(RoundName::Ordinal(0));
    let text = misuse(dir.path(), &early);
    assert!(text.contains("stands before the snapshot"), "{text}");
}

#[test]
fn a_damaged_snapshot_is_no_beginning() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), Limits::default());
    let (worker, round) = snapshots::list(&RealFiles, dir.path()).unwrap()[0];
    let file = snapshots::path(dir.path(), worker, round);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = replay(dir.path(), kinds::<1>(), &Options::new().from(SnapshotName { worker, round })).unwrap_err();
    assert!(matches!(&error, ReplayError::Corrupt(_)) && error.to_string().contains(".qsn"), "{error}");
}
