//! Where a journal's beginning is gone and the oldest snapshots that are left can't be begun with, a replay says which, why and what it
//! didn't run because of them; and nobody who looks at the status alone takes it for a replay of all that there is.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{collections::BTreeMap, fs, ops::ControlFlow, path::Path, sync::Arc};

use qnfsm::{
    Context, Fsm, Kinds, Limits, Next, NodeBuilder, QueueId, ReplyTo, WorkerId,
    journal::{Reader, RealFiles, Record, snapshots},
    playback::{Beginning, Playback, PlaybackError},
};
use qnfsm_replay::{Options, Partly, ReplayError, Report, Session, Unfit, Walk, nodes::Nodes, replay};
use rig::PATIENCE;
use serde::{Deserialize, Serialize};

/// Has a helper until it is told to let it go.
#[derive(Serialize, Deserialize)]
struct Keeper {
    helper: Option<QueueId<()>>,
    ticks: u64,
}

#[derive(Serialize, Deserialize)]
enum Tell {
    Hire,
    LetGo,
    Tick(ReplyTo<u64>),
}

impl Fsm for Keeper {
    const NAME: &'static str = "keeper";
    type State = ();
    type Message = Tell;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), tell: Tell, cx: &mut Context<'_, Self>) -> Next<Self> {
        match tell {
            Tell::Hire => self.helper = Some(cx.spawn(Helper {})),
            Tell::LetGo => self.helper.take().into_iter().for_each(|helper| cx.stop(helper)),
            Tell::Tick(reply) => {
                self.ticks += 1;
                cx.reply(reply, self.ticks);
            }
        }
        Next::Stay
    }
}

#[derive(Serialize, Deserialize)]
struct Helper {}

impl Fsm for Helper {
    const NAME: &'static str = "helper";
    type State = ();
    type Message = ();

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), (): (), _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Stay
    }
}

fn without_helper() -> Kinds {
    Kinds::new().with::<Keeper>().message::<u64>()
}

fn kinds() -> Kinds {
    without_helper().with::<Helper>()
}

/// A keeper whose journal has lost its beginning. It has had its helper for so many of its last ticks, if it ever let it go.
fn recorded(dir: &Path, alone: Option<u64>) {
    let limits = Limits {
        segment_bytes: 1 << 13,
        snapshot_every_bytes: 1 << 11,
        retain_bytes: Some(1 << 17),
        ..Limits::default()
    };
    let node = NodeBuilder::new("keeper", kinds()).dir(dir).limits(limits);
    let node = node.start(&Keeper { helper: None, ticks: 0 }).unwrap();
    let (host, root) = (node.host(), node.root());
    let tick = |times| (0..times).for_each(|_| assert!(host.request(root, PATIENCE, Tell::Tick).unwrap() > 0_u64));
    host.send(root, &Tell::Hire).unwrap();
    tick(2000);
    if let Some(ticks) = alone {
        host.send(root, &Tell::LetGo).unwrap();
        tick(ticks);
    }
    node.stop().unwrap();
}

/// The rounds of the snapshots that there are.
fn rounds(dir: &Path) -> Vec<u64> {
    snapshots::list(&RealFiles, dir).unwrap().into_iter().map(|(_, round)| round).collect()
}

fn damage(dir: &Path, rounds: &[u64]) {
    for round in rounds {
        let file = snapshots::path(dir, WorkerId(0), *round);
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).unwrap();
    }
}

fn whole(dir: &Path) -> Report {
    let report = replay(dir, kinds(), &Options::new()).unwrap();
    assert!(report.oldest_segment > 1 && report.rounds > 300, "the test shows something: {report}");
    assert_eq!((report.rounds_not_begun, &report.not_begun[..]), (0, &[][..]), "{report}");
    report
}

#[test]
fn a_replay_that_damaged_snapshots_made_begin_later_does_not_end_well_and_says_what_was_replayed() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), None);
    let sound = whole(dir.path());
    let there = rounds(dir.path());
    let (damaged, good) = there.split_at(there.len() - 2);
    damage(dir.path(), damaged);
    let error = replay(dir.path(), kinds(), &Options::new()).unwrap_err();
    assert_eq!((error.exit_status(), error.name()), (20, "damaged_snapshots"), "{error}");
    let text = error.to_string();
    let file = |round| snapshots::path(dir.path(), WorkerId(0), round).display().to_string();
    for round in [damaged[0], *damaged.last().unwrap()] {
        assert!(text.contains(&format!("{}: the body's checksum is wrong", file(round))), "{text}");
    }
    assert!(text.contains("--unusable-snapshots") && text.lines().count() < 4 && damaged.len() > 4, "{text}");
    let ReplayError::Snapshots(it) = error else { panic!("{error}") };
    let report = it.report.unwrap();
    let [not_begun] = &report.not_begun[..] else { panic!("{report}") };
    assert_eq!((not_begun.cause, not_begun.snapshots), (Unfit::Damaged, damaged.len() as u64), "{report}");
    assert_eq!((not_begun.first.round, not_begun.last.round), (damaged[0], *damaged.last().unwrap()));
    assert_eq!((not_begun.rounds, report.rounds_not_begun), (good[0] - damaged[0], good[0] - damaged[0]));
    assert_eq!(report.rounds + report.rounds_not_begun, sound.rounds);
    assert_eq!(report.rounds_passed_over, sound.rounds_passed_over, "these stand before all snapshots");
    assert!(report.to_string().contains(&format!("note: {not_begun}")), "{report}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["not_begun"][0]["cause"], "damaged");
    assert_eq!(json["not_begun"][0]["first"]["file"], file(damaged[0]));
}

/// What whoever walks through a journal or stands in it comes to see: the rounds that ran, and why there are no more.
fn gone_through(dir: &Path, kinds: fn() -> Kinds) -> (u64, ReplayError, Session) {
    let options = Options::new();
    let mut rounds = 0;
    let walked = Walk::open(dir, kinds(), &options).unwrap().rounds(|_| {
        rounds += 1;
        ControlFlow::Continue(())
    });
    let session = Session::open(dir, kinds(), &options).unwrap();
    (rounds, walked.unwrap_err(), session)
}

#[test]
fn who_walks_through_the_rest_or_stands_in_it_is_told_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), None);
    let there = rounds(dir.path());
    let (damaged, _) = there.split_at(there.len() - 2);
    damage(dir.path(), damaged);
    let ReplayError::Snapshots(it) = replay(dir.path(), kinds(), &Options::new()).unwrap_err() else { panic!() };
    let report = it.report.as_ref().unwrap();

    let (rounds, error, mut session) = gone_through(dir.path(), kinds);
    assert_eq!((rounds, error.to_string()), (report.rounds, it.to_string()));
    assert_eq!(session.stopped().map(ToString::to_string), Some(it.to_string()));
    assert_eq!(session.not_begun(), &report.not_begun[..]);
    // What there is can be gone through to its end.
    session.go_to_end().unwrap();
    assert_eq!(session.spot().map(|spot| spot.ordinal + 1), Some(session.rounds()));
    assert!(session.difference().unwrap().is_none());

    // Files that aren't there are no damage, and are told.
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), None);
    fs::remove_file(snapshots::path(dir.path(), WorkerId(0), self::rounds(dir.path())[0])).unwrap();
    let session = Session::open(dir.path(), kinds(), &Options::new()).unwrap();
    assert!(session.stopped().is_none(), "{:?}", session.stopped());
    assert_eq!(session.not_begun().iter().map(|it| it.cause).collect::<Vec<_>>(), [Unfit::Missing]);
    // A drawing of the rest ends well too, and says what is not in it.
    let report = replay(dir.path(), kinds(), &Options::new()).unwrap();
    let options = Options::new();
    let nodes = Nodes::new().with(dir.path(), kinds(), &options).unwrap();
    let walked = nodes.rounds(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!(
        walked.not_begun.iter().map(|(_, it)| it).collect::<Vec<_>>(),
        report.not_begun.iter().collect::<Vec<_>>()
    );
    let passed_over = report.rounds_passed_over;
    assert_eq!(walked.passed_over.values().copied().collect::<Vec<_>>(), [passed_over], "{report}");
    let remarks = walked.remarks().join("\n");
    assert!(remarks.contains(&report.not_begun[0].to_string()) && remarks.contains("first snapshots"), "{remarks}");

    // So is what is lacking: the worker began later than it could have.
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), Some(150));
    let ReplayError::Partly(partly) = replay(dir.path(), without_helper(), &Options::new()).unwrap_err() else {
        panic!()
    };
    let (rounds, error, session) = gone_through(dir.path(), without_helper);
    assert_eq!((rounds, error.to_string()), (partly.report.as_ref().unwrap().rounds, partly.to_string()));
    assert_eq!(session.partly().map(|partly| &partly.left), Some(&partly.left));
    assert_eq!(session.stopped().map(ReplayError::name), Some("partly"));
}

#[test]
fn a_damaged_snapshot_that_no_worker_was_to_begin_with_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), None);
    let sound = whole(dir.path());
    damage(dir.path(), &rounds(dir.path())[1..]);
    let report = replay(dir.path(), kinds(), &Options::new()).unwrap();
    assert_eq!((report.digest, report.not_begun.len()), (sound.digest, 0));
}

#[test]
fn snapshots_that_are_not_there_are_told_and_are_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), None);
    let sound = whole(dir.path());
    let there = rounds(dir.path());
    for round in &there[..2] {
        fs::remove_file(snapshots::path(dir.path(), WorkerId(0), *round)).unwrap();
    }
    let report = replay(dir.path(), kinds(), &Options::new()).unwrap();
    assert_eq!(report.not_begun.iter().map(|it| (it.cause, it.snapshots)).collect::<Vec<_>>(), [(Unfit::Missing, 2)]);
    assert_eq!(report.rounds_not_begun, there[2] - there[0]);
    assert_eq!(report.rounds + report.rounds_not_begun, sound.rounds);
}

#[test]
fn a_worker_that_began_later_because_its_snapshots_hold_a_kind_that_is_lacking_was_not_played_wholly() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), Some(150));
    let sound = whole(dir.path());
    let error = replay(dir.path(), without_helper(), &Options::new()).unwrap_err();
    assert_eq!((error.exit_status(), error.name()), (16, "partly"), "{error}");
    let ReplayError::Partly(partly) = error else { panic!("{error}") };
    let Partly { left, report, lacks, .. } = *partly;
    assert_eq!(lacks[0], "kind helper");
    let [left] = &left[..] else { panic!("{left:?}") };
    assert!(left.what.contains("of kind helper, which isn't registered"), "{}", left.what);
    assert_eq!((left.worker, left.round), (WorkerId(0), rounds(dir.path())[0] + 1));
    let report = report.unwrap();
    assert!(report.rounds > 50 && left.rounds > 100, "the test shows something: {report}");
    assert_eq!((report.rounds + left.rounds, report.rounds_not_begun), (sound.rounds, left.rounds));
    assert_eq!(report.not_begun[0].cause, Unfit::Lacking);
}

#[test]
fn a_worker_that_never_begins_is_left_for_a_kind_that_is_lacking_and_not_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), None);
    let sound = whole(dir.path());
    let error = replay(dir.path(), without_helper(), &Options::new()).unwrap_err();
    let ReplayError::Partly(partly) = &error else { panic!("{error}") };
    let what = &partly.left[0].what;
    assert!(what.contains("of kind helper, which isn't registered") && what.lines().count() < 4, "{what}");
    assert_eq!(partly.left[0].rounds, sound.rounds + sound.rounds_passed_over);
    // One of them might have been fit.
    let there = rounds(dir.path());
    damage(dir.path(), &there[..1]);
    let error = replay(dir.path(), without_helper(), &Options::new()).unwrap_err();
    assert_eq!((error.exit_status(), error.left().len()), (20, 1), "{error}");
    assert!(error.to_string().contains("kind helper"), "{error}");

    damage(dir.path(), &there[1..]);
    let error = replay(dir.path(), without_helper(), &Options::new()).unwrap_err();
    assert_eq!((error.exit_status(), error.name()), (20, "corrupt"), "{error}");
    let text = error.to_string();
    assert!(text.contains("no snapshot of it can be used") && text.lines().count() < 4, "{text}");
    assert!(text.contains(&format!("{} snapshots, from ", there.len())), "{text}");
}

/// What comes of a playback that is to begin with the last snapshot, without the helper's kind.
fn begun_with_the_last(dir: &Path) -> Result<usize, PlaybackError> {
    let storage = Arc::new(RealFiles);
    let mut reader = Reader::open(storage.clone(), dir).unwrap();
    let mut marks = BTreeMap::new();
    while let Some(entry) = reader.next().unwrap() {
        marks.extend(snapshots::Mark::of(&entry.record).map(|mark| (mark.round, mark)));
    }
    let (_, mark) = marks.pop_last().unwrap();
    let beginning = Beginning::of(storage, dir, reader.manifest()).with([mark]);
    let table = kinds().seal().unwrap().table().clone();
    let catalogue = Arc::new(without_helper().seal().unwrap().numbered_as(&table).unwrap());
    let mut playback = Playback::new(catalogue, reader.manifest().node).beginning(Some(beginning));
    let snapshots::Mark { worker, round, digest, image_digest, driver_digest } = mark;
    playback.apply(&Record::SnapshotMark { worker, round, digest, image_digest, driver_digest }, &mut ())?;
    playback.finish(&mut ())?;
    Ok(playback.left().count())
}

#[test]
fn a_snapshot_that_was_chosen_leaves_its_worker_for_what_is_lacking_in_it_and_not_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), None);
    assert_eq!(begun_with_the_last(dir.path()).unwrap(), 1);
    damage(dir.path(), &rounds(dir.path())[1..]);
    let error = begun_with_the_last(dir.path()).unwrap_err();
    assert!(matches!(error, PlaybackError::Contradiction { .. }), "{error}");
}
