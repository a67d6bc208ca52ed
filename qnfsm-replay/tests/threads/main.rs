//! A replay on several threads says what one playback says that reads the same records one after another: of every journal,
//! however the threads run.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod gate;
mod meeting;
mod passing;
mod rewriting;

use std::{
    cell::RefCell,
    fs,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    thread,
    time::Duration,
};

use qnfsm::{
    Kinds, NodeBuilder, WorkerId,
    journal::{Position, Record, segment_path},
    playback::Progress,
};
use qnfsm_replay::{CorruptJournal, Diverged, Options, ReplayError, Report, Seen, replay};
use tempfile::TempDir;

use passing::{BREAKS, kinds, record};
use rewriting::{Draws, Recorded, interleaved, played};

/// With the caller's thread alone, with fewer threads than workers, as many, and more.
const THREADS: [usize; 4] = [1, 2, 5, 9];

/// How often what depends on chance is tried.
const TIMES: usize = 50;

const SEGMENT_BYTES: u64 = 1 << 20;

const PATIENCE: Duration = Duration::from_secs(30);

fn replayed(dir: &Path, kinds: Kinds, threads: usize) -> Result<Report, ReplayError> {
    replay(dir, kinds, &Options::new().threads(NonZeroUsize::new(threads).unwrap()))
}

fn run_of(workers: u32) -> Recorded {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), workers, 8 * workers.min(8), 40);
    Recorded::read(dir.path())
}

/// Holds replays of a directory against a single playback.
fn check(dir: &Path, context: &str) {
    let expected = played(dir, kinds::<true>());
    for threads in THREADS {
        let context = format!("{context}, {threads} threads");
        match (&expected, replayed(dir, kinds::<true>(), threads)) {
            (Ok((progress, digest, faults)), Ok(report)) => {
                let Report { rounds, rounds_unproved, messages, workers, .. } = report;
                assert_eq!(
                    Progress { rounds, rounds_unproved, messages, workers, ..Progress::default() },
                    *progress,
                    "{context}"
                );
                assert_eq!(report.digest, *digest, "{context}");
                let ended: Vec<_> = report.ended_in.into_iter().map(|ended| ended.what).collect();
                assert_eq!(ended, *faults, "{context}");
            }
            (Err(expected), Err(error)) => assert!(error.to_string().contains(expected), "{context}: {error}"),
            (expected, found) => panic!("{context}: {found:?}, not {expected:?}"),
        }
    }
}

/// Which of the records are rounds of that worker.
fn rounds_of(records: &[Record<'_>], of: WorkerId) -> Vec<usize> {
    let is_of = |record: &Record<'_>| matches!(record, Record::Round { worker, .. } if *worker == of);
    (0..records.len()).filter(|at| is_of(&records[*at])).collect()
}

/// Makes a round's record say that the round before did something else.
fn make_diverge(record: &mut Record<'_>) {
    let Record::Round { digest_before, .. } = record else { panic!("not a round: {record:?}") };
    *digest_before ^= 1;
}

/// Changes a byte of what stands at a position: one behind what every record begins with, if it has that many.
fn flip_byte(dir: &Path, at: Position) {
    let file = segment_path(dir, at.segment);
    let mut bytes = fs::read(&file).unwrap();
    let flipped = (usize::try_from(at.offset).unwrap() + 26).min(bytes.len() - 1);
    bytes[flipped] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

fn divergence(error: ReplayError) -> Diverged {
    let ReplayError::Diverged(diverged) = error else { panic!("not a divergence: {error}") };
    *diverged
}

/// The starts of all workers, then all records of one, all of the next, and so on in that order.
fn one_after_another<'a>(records: &[Record<'a>], workers: &[u32]) -> Vec<Record<'a>> {
    let mut ordered = records.to_vec();
    ordered.retain(|record| record.worker().is_some());
    ordered.sort_by_key(|record| {
        let is_start = matches!(record, Record::WorkerStarted { .. });
        (!is_start, workers.iter().position(|worker| record.worker() == Some(WorkerId(*worker))).filter(|_| !is_start))
    });
    ordered
}

#[test]
fn journals_of_one_to_64_workers_replay_as_one_playback_says() {
    for (workers, seeds) in [(1, 1), (2, 5), (5, 5), (64, 2)] {
        let recorded = run_of(workers);
        for seed in 0..seeds {
            let records = interleaved(&recorded.records(), &mut Draws::new(seed));
            let dir = tempfile::tempdir().unwrap();
            recorded.write(dir.path(), &records, 1 << 14);
            check(dir.path(), &format!("{workers} workers, seed {seed}"));
            let (progress, ..) = played(dir.path(), kinds::<true>()).expect("the run is as it was recorded");
            assert_eq!(progress.workers, workers);
        }
    }
}

#[test]
fn changed_and_damaged_journals_are_told_as_one_playback_tells_them() {
    let recorded = run_of(5);
    for seed in 0..40 {
        let mut draws = Draws::new(seed);
        let mut records = interleaved(&recorded.records(), &mut draws);
        for _ in 0..draws.below(4) {
            let at = draws.below(records.len());
            match (draws.below(4), &mut records[at]) {
                (0, _) => drop(records.remove(at)),
                (1, Record::Round { bound, .. }) => *bound = 1,
                (_, Record::Round { digest_before, .. }) => *digest_before ^= 1,
                (_, record) => {
                    let record = *record;
                    records.insert(at, record);
                }
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let places = recorded.write(dir.path(), &records, 2000 + draws.below(9000) as u64);
        if draws.below(2) == 0 {
            flip_byte(dir.path(), places[draws.below(places.len())]);
        }
        check(dir.path(), &format!("seed {seed}"));
    }
}

#[test]
fn a_divergence_is_named_with_its_place() {
    let recorded = run_of(5);
    let mut records = recorded.records();
    let rounds = rounds_of(&records, WorkerId(3));
    let (about, noticed) = (rounds[rounds.len() / 2 - 1], rounds[rounds.len() / 2]);
    make_diverge(&mut records[noticed]);
    let dir = tempfile::tempdir().unwrap();
    let places = recorded.write(dir.path(), &records, 2000);
    let texts = (0..TIMES).map(|time| {
        let error = replayed(dir.path(), kinds::<true>(), THREADS[time % THREADS.len()]).unwrap_err();
        let text = error.to_string();
        let diverged = divergence(error);
        assert_eq!(diverged.divergence.worker, WorkerId(3));
        assert_eq!(Some(diverged.divergence.round), records[about].round());
        assert_eq!(diverged.file, segment_path(dir.path(), places[about].segment));
        assert_eq!(diverged.offset, places[about].offset);
        text
    });
    let mut texts: Vec<_> = texts.collect();
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[test]
fn bytes_that_are_no_frames_are_named_with_their_round() {
    let recorded = run_of(3);
    let records = recorded.records();
    let rounds = rounds_of(&records, WorkerId(1));
    let with_input = |at: &&usize| matches!(records[**at], Record::Round { batches, .. } if batches.count() > 0);
    let with_input: Vec<_> = rounds.iter().filter(with_input).collect();
    for cut in [*with_input[with_input.len() / 2], **with_input.last().unwrap()] {
        let dir = tempfile::tempdir().unwrap();
        let at = recorded.write_cut(dir.path(), &records, cut)[cut];
        for threads in THREADS {
            let error = replayed(dir.path(), kinds::<true>(), threads).unwrap_err();
            let ReplayError::Corrupt(corrupt) = error else { panic!("{error}") };
            let CorruptJournal::Contradiction { file, offset, what } = *corrupt else { panic!("{corrupt}") };
            assert_eq!((file, offset), (segment_path(dir.path(), at.segment), at.offset));
            assert!(what.ends_with("are not frames"), "{what}");
        }
        check(dir.path(), "a round whose input is cut");
    }
}

/// The one that is first in the journal has the most to play before it, so that its thread comes to it last.
#[test]
fn of_two_workers_that_diverge_the_first_in_the_journal_is_named() {
    let recorded = run_of(4);
    for order in [[0, 1, 2, 3], [0, 3, 2, 1], [3, 2, 1, 0]] {
        let mut records = one_after_another(&recorded.records(), &order);
        let [.., first, second] = order.map(WorkerId);
        let at = *rounds_of(&records, first).last().unwrap();
        make_diverge(&mut records[at]);
        let later = rounds_of(&records, second)[1];
        make_diverge(&mut records[later]);
        let dir = tempfile::tempdir().unwrap();
        recorded.write(dir.path(), &records, SEGMENT_BYTES);
        for time in 0..TIMES {
            let threads = THREADS[time % THREADS.len()];
            let found = divergence(replayed(dir.path(), kinds::<true>(), threads).unwrap_err()).divergence;
            assert_eq!((found.worker, Some(found.round + 1)), (first, records[at].round()), "{order:?}, {threads}");
        }
    }
}

/// The reading ends when it hears that worker 1's thread has stopped. Worker 2's has much to do then, and has yet to be given
/// the record that counts.
#[test]
fn what_a_busy_thread_has_yet_to_be_given_counts_too() {
    let recorded = run_of(4);
    let mut records = one_after_another(&recorded.records(), &[0, 3, 2, 1]);
    let [_, later, next, ..] = rounds_of(&records, WorkerId(1))[..] else { panic!("too few rounds") };
    put_marks_before(&mut records, next, 5000);
    make_diverge(&mut records[later]);
    let is_image = |record: &Record<'_>| matches!(record, Record::SnapshotMark { worker: WorkerId(2), .. });
    let image = records.iter().rposition(is_image).unwrap();
    let Record::SnapshotMark { worker, round, digest, .. } = records[image] else { unreachable!("a snapshot's mark") };
    // To take images is more work than to read that they were taken.
    let mut much = vec![records[image]; 20_000];
    much.push(Record::DigestMark { worker, round, digest: !digest });
    records.splice(image..=image, much);
    let dir = tempfile::tempdir().unwrap();
    recorded.write(dir.path(), &records, SEGMENT_BYTES);
    for threads in THREADS {
        let found = divergence(replayed(dir.path(), kinds::<true>(), threads).unwrap_err()).divergence;
        assert_eq!(found.worker, WorkerId(2), "{threads} threads");
    }
}

#[test]
fn of_a_divergence_and_damage_the_first_in_the_journal_is_named() {
    let recorded = run_of(4);
    let mut records = one_after_another(&recorded.records(), &[0, 1, 2, 3]);
    let rounds = rounds_of(&records, WorkerId(2));
    let [before, diverges, behind] = [rounds[1], rounds[rounds.len() - 2], rounds[rounds.len() - 1]];
    make_diverge(&mut records[diverges]);
    for (damaged, is_first) in [(before, true), (diverges, true), (diverges + 1, false), (behind + 9, false)] {
        let dir = tempfile::tempdir().unwrap();
        let places = recorded.write(dir.path(), &records, 3000);
        flip_byte(dir.path(), places[damaged]);
        for time in 0..TIMES / 2 {
            let threads = THREADS[time % THREADS.len()];
            match replayed(dir.path(), kinds::<true>(), threads).unwrap_err() {
                ReplayError::Corrupt(corrupt) if is_first => {
                    let CorruptJournal::Bytes(bytes) = *corrupt else { panic!("{corrupt}") };
                    assert_eq!(bytes.offset, places[damaged].offset);
                }
                ReplayError::Diverged(_) if !is_first => {}
                other => panic!("record {damaged} is damaged, {diverges} diverges, {threads} threads: {other}"),
            }
        }
    }
}

#[test]
fn another_table_in_a_later_segment_ends_the_replay_after_what_its_first_record_shows() {
    let recorded = run_of(4);
    let table = passing::table_of_another_order();
    let records = one_after_another(&recorded.records(), &[0, 1, 2, 3]);
    let rounds = rounds_of(&records, WorkerId(3));
    let first = rounds[rounds.len() / 2];
    for (diverges, is_noticed) in
        [(None, false), (Some(first), true), (Some(first - 1), true), (Some(first + 1), false)]
    {
        let mut records = records.clone();
        if let Some(at) = diverges.and_then(|at| rounds.iter().position(|round| *round >= at)) {
            let at = if diverges < Some(first) { at - 1 } else { at };
            make_diverge(&mut records[rounds[at]]);
        }
        let dir = tempfile::tempdir().unwrap();
        recorded.write_epochs(dir.path(), &records, SEGMENT_BYTES, records.len() - first, &table);
        let mut reported = None;
        for threads in THREADS {
            match replayed(dir.path(), kinds::<true>(), threads) {
                Err(ReplayError::Diverged(_)) if is_noticed => {}
                Ok(report) if !is_noticed => {
                    assert!(report.left_off.is_some() && report.rounds_passed_over > 0, "{report}");
                    let all = (report.rounds, report.messages, report.digest, report.rounds_passed_over);
                    assert_eq!(*reported.get_or_insert(all), all, "{threads} threads");
                }
                other => panic!("{diverges:?} beside {first}, {threads} threads: {other:?}"),
            }
        }
    }
}

/// What a worker took in an earlier round is not what it takes next.
#[test]
fn of_rounds_that_the_journal_ends_in_that_of_the_first_worker_is_named() {
    let recorded = run_of(4);
    let mut records = one_after_another(&recorded.records(), &[3, 1, 2, 0]);
    let mut about = 0;
    for worker in [WorkerId(3), WorkerId(1)] {
        let rounds = rounds_of(&records, worker);
        let last = *rounds.last().unwrap();
        let taken = |at: &usize| match records[*at] {
            Record::Round { batches, .. } if !batches.is_empty() => Some(batches),
            _ => None,
        };
        let earlier = rounds[..rounds.len() - 1].iter().rev().find_map(taken).unwrap();
        let Record::Round { batches, .. } = &mut records[last] else { unreachable!("a round") };
        *batches = earlier;
        let mut at = 0..;
        records.retain(|record| at.next().unwrap() <= last || record.worker() != Some(worker));
        about = last;
    }
    let dir = tempfile::tempdir().unwrap();
    let places = recorded.write(dir.path(), &records, SEGMENT_BYTES);
    check(dir.path(), "the last rounds of workers 1 and 3");
    for threads in THREADS {
        let error = replayed(dir.path(), kinds::<true>(), threads).unwrap_err();
        let ReplayError::Corrupt(corrupt) = error else { panic!("not a contradiction: {error}") };
        let CorruptJournal::Contradiction { offset, what, .. } = *corrupt else { panic!("{corrupt}") };
        assert_eq!(offset, places[about].offset, "{threads} threads");
        assert!(what.contains("w1") && what.contains("was not the next one"), "{what}");
    }
}

/// A journal in which workers of an unsound build are found out at their last rounds, one worker after another.
fn with_images<'a>(records: &[Record<'a>]) -> Vec<Record<'a>> {
    let records: Vec<_> =
        records.iter().filter(|record| !matches!(record, Record::SnapshotMark { .. })).copied().collect();
    let mut records = one_after_another(&records, &[0, 1, 2, 3]);
    for worker in BREAKS {
        let at = *rounds_of(&records, worker).last().unwrap();
        let Record::Round { round, digest_before, .. } = records[at] else { unreachable!("a round") };
        let mark =
            Record::SnapshotMark { worker, round: round - 1, digest: digest_before, image_digest: 0, driver_digest: 0 };
        records.insert(at, mark);
    }
    records
}

fn panic_of(dir: &Path, threads: usize) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| replayed(dir, kinds::<false>(), threads)));
    match panic {
        Ok(replayed) => panic!("no panic, but {replayed:?}"),
        Err(panic) => *panic.downcast::<String>().expect("what the handler's panic carried"),
    }
}

#[test]
fn of_two_panics_the_first_in_the_journal_comes_through_as_it_is() {
    let recorded = run_of(4);
    let records = with_images(&recorded.records());
    let dir = tempfile::tempdir().unwrap();
    recorded.write(dir.path(), &records, SEGMENT_BYTES);
    for time in 0..TIMES {
        assert_eq!(panic_of(dir.path(), THREADS[time % THREADS.len()]), "tally 2 can't be written");
    }
}

#[test]
fn of_a_panic_and_a_divergence_the_first_in_the_journal_counts() {
    let recorded = run_of(4);
    for (worker, is_first) in [(WorkerId(1), true), (WorkerId(3), false)] {
        let mut records = with_images(&recorded.records());
        let rounds = rounds_of(&records, worker);
        make_diverge(&mut records[if is_first { rounds[rounds.len() - 1] } else { rounds[1] }]);
        let dir = tempfile::tempdir().unwrap();
        recorded.write(dir.path(), &records, SEGMENT_BYTES);
        for threads in THREADS {
            if is_first {
                let error = replayed(dir.path(), kinds::<false>(), threads).unwrap_err();
                assert_eq!(divergence(error).divergence.worker, worker);
            } else {
                assert_eq!(panic_of(dir.path(), threads), "tally 2 can't be written");
            }
        }
    }
}

#[test]
fn a_panic_of_who_hears_of_progress_comes_through() {
    let dir = long_journal();
    for threads in THREADS {
        let options =
            Options::new().threads(NonZeroUsize::new(threads).unwrap()).on_progress(|_| panic!("seen enough"));
        let panic = catch_unwind(AssertUnwindSafe(|| replay(dir.path(), kinds::<true>(), &options))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"seen enough"));
    }
}

#[test]
fn who_waits_for_players_is_told_how_far_they_come() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeBuilder::new("gate", gate::kinds()).dir(dir.path()).start(&gate::Gate::default()).unwrap();
    let passed: u64 = node.host().request(node.root(), PATIENCE, gate::Pass::Both).unwrap();
    assert_eq!(passed, 1);
    node.stop().unwrap();
    // What is read in no time takes one of the players long: it goes on when it was told that the other one has come further.
    gate::close();
    let options = Options::new().threads(NonZeroUsize::new(2).unwrap()).on_progress(|seen| {
        if seen.messages > 0 && seen.bytes < seen.bytes_total {
            gate::open();
        }
    });
    let report = replay(dir.path(), gate::kinds(), &options).unwrap();
    assert!(report.messages >= 2 && !gate::was_forced(), "{report}");
}

/// Puts so many marks before a round, all of which say what the round before did.
fn put_marks_before(records: &mut Vec<Record<'_>>, at: usize, count: usize) {
    let Record::Round { worker, round, digest_before, .. } = records[at] else { panic!("not a round") };
    let mark = Record::DigestMark { worker, round: round - 1, digest: digest_before };
    records.splice(at..at, vec![mark; count]);
}

/// A journal that is longer than what waits for players, so that excerpts must have come back.
fn long_journal() -> TempDir {
    let recorded = run_of(2);
    let mut records = recorded.records();
    let at = *rounds_of(&records, WorkerId(1)).last().unwrap();
    put_marks_before(&mut records, at, 200_000);
    let dir = tempfile::tempdir().unwrap();
    recorded.write(dir.path(), &records, SEGMENT_BYTES);
    dir
}

#[test]
fn progress_is_told_on_the_callers_thread_and_never_falls() {
    let dir = long_journal();
    let (expected, ..) = played(dir.path(), kinds::<true>()).unwrap();
    for threads in THREADS {
        let caller = thread::current().id();
        let all = RefCell::new(Vec::new());
        let hear = |seen: Seen| {
            assert_eq!(thread::current().id(), caller);
            all.borrow_mut().push(seen);
        };
        let options = Options::new().threads(NonZeroUsize::new(threads).unwrap()).on_progress(hear);
        replay(dir.path(), kinds::<true>(), &options).unwrap();
        drop(options);
        let all = all.into_inner();
        let never_falls = |of: fn(&Seen) -> u64| all.is_sorted_by_key(of);
        assert!(never_falls(|s| s.rounds) && never_falls(|s| s.messages) && never_falls(|s| s.bytes), "{all:?}");
        let [.., almost, last] = &all[..] else { panic!("told once at most: {all:?}") };
        assert_eq!((last.rounds, last.messages, last.bytes), (expected.rounds, expected.messages, last.bytes_total));
        // All of worker 1's rounds but the last lie before marks that were played.
        assert!(almost.rounds > expected.rounds / 4, "{almost:?} of {last:?}, {threads} threads");
    }
}
