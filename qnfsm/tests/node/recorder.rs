//! `Durability::Memory`: the journal is in memory and within its bound, and is written out, whole and apart from all others, when
//! something goes wrong or somebody asks.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    task::{Context, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use qnfsm::{
    Durability, Epoch, FaultKind, Limits, NodeBuilder, NodeError, OnPoison, QueueId, RecordingError, StartError,
    WorkerId,
    journal::{
        Manifest, Storage,
        faulty::{FaultyFiles, Operation},
        simulated::SimulatedDisk,
    },
    playback::Playback,
};

use crate::{
    probe::{self, DIR, Kind, Node, PATIENCE, Tell, start},
    ring,
};

const RETAIN_BYTES: u64 = 1 << 20;

fn limits() -> Limits {
    Limits { retain_bytes: Some(RETAIN_BYTES), ..probe::limits() }
}

fn recorder_on(storage: Arc<dyn Storage>) -> NodeBuilder {
    probe::builder(storage).durability(Durability::Memory).limits(limits())
}

fn recorder(disk: &SimulatedDisk) -> NodeBuilder {
    recorder_on(disk.storage())
}

fn add(node: &Node, to: QueueId<Tell>, bytes: usize) -> u64 {
    node.host().send(to, &Tell::Add(1, vec![7; bytes])).unwrap();
    node.host().request(to, PATIENCE, Tell::Total).unwrap()
}

/// Adds at the root until so many bytes were recorded; gives the total then.
fn add_bytes(node: &Node, bytes: u64) -> u64 {
    let mut total = 0;
    (0..bytes / 10_000).for_each(|_| total = add(node, node.root(), 10_000));
    total
}

/// The recordings that are whole, and let go of by who wrote them.
fn recordings(disk: &SimulatedDisk) -> Vec<PathBuf> {
    let paths = disk.paths().into_iter().filter(|path| path.ends_with("manifest"));
    let dirs = paths.map(|path| path.parent().unwrap().to_owned());
    dirs.filter(|dir| !disk.storage().is_locked(&dir.join("lock")).unwrap()).collect()
}

fn replay(disk: &SimulatedDisk, dir: &Path) -> Playback {
    ring::replay(&disk.storage(), dir, probe::kinds())
}

/// Replays a recording; gives the root's total at its end.
fn total_of(disk: &SimulatedDisk, dir: &Path) -> u64 {
    let playback = replay(disk, dir);
    assert_eq!(playback.faults().count(), 0);
    let root = playback.workers().next().unwrap().fsm::<probe::Probe>(probe::queue(0, 1));
    root.unwrap().0.total
}

fn oldest_segment(disk: &SimulatedDisk, dir: &Path) -> u64 {
    Manifest::load(&*disk.storage(), dir).unwrap().oldest_segment
}

fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
    }
}

#[test]
fn a_recording_on_demand_is_the_run_up_to_then_and_the_node_goes_on() {
    let disk = SimulatedDisk::default();
    let node = start(recorder(&disk));
    let there = probe::second_worker(&node);
    assert_eq!(add(&node, there, 1), 1);
    let early = node.write_recording().unwrap();
    let added = add_bytes(&node, 4 * RETAIN_BYTES);
    let late = node.host().write_recording().unwrap();
    assert_eq!(add(&node, node.root(), 1), added + 1);
    assert_eq!((total_of(&disk, &early), oldest_segment(&disk, &early)), (0, 1));
    assert_eq!(total_of(&disk, &late), added);
    assert!(oldest_segment(&disk, &late) > 10);
    assert!(early.starts_with(DIR) && late.starts_with(DIR));
    let host = node.host();
    node.stop().unwrap();
    assert!(matches!(host.write_recording(), Err(RecordingError::Stopped)));
    assert_eq!(recordings(&disk), [early, late]);
}

#[test]
fn nothing_is_written_where_nothing_fails_and_nobody_asks() {
    let disk = SimulatedDisk::default();
    let node = start(recorder(&disk));
    add_bytes(&node, 4 * RETAIN_BYTES);
    assert!(node.recorder_bytes() > 0);
    node.stop().unwrap();
    drop(start(recorder(&disk)));
    assert_eq!(disk.paths(), [] as [PathBuf; 0]);
}

/// Sets it when it is dropped, so that a test that fails ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn memory_stays_within_its_bound_at_a_high_rate_with_workers_that_rest_and_workers_that_never_do() {
    let (disk, retain_bytes) = (SimulatedDisk::default(), 4 << 20);
    let limits = Limits { retain_bytes: Some(retain_bytes), budget_bytes: 2 << 20, ..probe::limits() };
    let node = start(recorder(&disk).limits(limits));
    let there = probe::second_worker(&node);
    assert_eq!(add(&node, there, 1), 1);
    // This one never does anything at all.
    node.host().send(node.root(), &Tell::StartWorker).unwrap();
    probe::until_logged(&node, |line| line == "started w2");
    let (is_over, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let sent = 8 * retain_bytes / 4096;
    let total = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                most.fetch_max(node.recorder_bytes(), Ordering::Relaxed);
                thread::yield_now();
            }
        });
        let _over = Over(&is_over);
        let message = Tell::Add(1, vec![7; 4096]);
        (0..sent).for_each(|_| node.host().send_wait(node.root(), &message, PATIENCE).unwrap());
        until("it is always full", || node.host().request::<_, u64>(node.root(), PATIENCE, Tell::Total).ok())
    });
    assert_eq!(total, sent);
    let most = most.into_inner();
    assert!(most <= retain_bytes, "{most}");
    let recording = node.write_recording().unwrap();
    assert_eq!(total_of(&disk, &recording), sent);
    assert_eq!(add(&node, there, 1), 2);
    node.stop().unwrap();
}

/// A waker that holds up whoever wakes it, until what is sent to is dropped.
struct HoldsUp {
    was_woken: AtomicBool,
    until: Mutex<mpsc::Receiver<()>>,
}

impl Wake for HoldsUp {
    fn wake(self: Arc<Self>) {
        self.was_woken.store(true, Ordering::SeqCst);
        let _ = self.until.lock().unwrap().recv_timeout(PATIENCE);
    }
}

#[test]
fn the_bound_is_held_though_the_nodes_own_thread_does_not_come_to_it() {
    let disk = SimulatedDisk::default();
    let node = start(recorder(&disk));
    let there = probe::second_worker(&node);
    assert_eq!(add(&node, there, 1), 1);
    let (release, until_released) = mpsc::channel();
    let holds_up = Arc::new(HoldsUp { was_woken: AtomicBool::new(false), until: Mutex::new(until_released) });
    // That thread ends waits whose deadline has passed, and wakes who waits.
    let answer = node.host().ask::<_, u64>(node.root(), Duration::from_millis(500), Tell::Hold).unwrap();
    let mut answer = pin!(answer);
    let waker = Waker::from(holds_up.clone());
    assert!(answer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    until("nobody is woken", || holds_up.was_woken.load(Ordering::SeqCst).then_some(()));
    let mut most = 0;
    for _ in 0..4 * RETAIN_BYTES / 10_000 {
        add(&node, node.root(), 10_000);
        most = most.max(node.recorder_bytes());
    }
    assert!(most <= RETAIN_BYTES, "{most}");
    drop(release);
    node.stop().unwrap();
}

#[test]
fn a_worker_that_does_not_end_its_round_holds_no_more_than_twice_the_bound_and_is_said_to_be_missing() {
    let disk = SimulatedDisk::default();
    let node = start(recorder(&disk));
    let there = probe::second_worker(&node);
    let gate = probe::gate(&node, there);
    let mut most = 0;
    for _ in 0..8 * RETAIN_BYTES / 10_000 {
        add(&node, node.root(), 10_000);
        most = most.max(node.recorder_bytes());
    }
    assert!((RETAIN_BYTES + 1..=2 * RETAIN_BYTES).contains(&most), "{most}");
    let error = node.write_recording().unwrap_err();
    assert!(matches!(&error, RecordingError::NotCovered { workers } if *workers == [WorkerId(1)]), "{error}");
    gate.open();
    let recording = until("it isn't covered again", || node.write_recording().ok());
    assert_eq!(total_of(&disk, &recording), probe::total(&node));
    assert_eq!(add(&node, there, 1), 1);
    add_bytes(&node, 4 * RETAIN_BYTES);
    assert!(node.recorder_bytes() <= RETAIN_BYTES);
    node.stop().unwrap();
}

#[test]
fn a_panic_that_stops_the_node_is_recorded_and_replayed_in_the_same_round_with_the_same_words() {
    let disk = SimulatedDisk::default();
    let node = start(recorder(&disk));
    let there = probe::second_worker(&node);
    add_bytes(&node, 3 * RETAIN_BYTES);
    node.host().send(there, &Tell::Panic).unwrap();
    let failure = node.wait().unwrap_err();
    let text = failure.to_string();
    let NodeError::Recorded { error, recording: Ok(dir) } = failure else { panic!("{text}") };
    let NodeError::Fault(fault) = *error else { panic!("{text}") };
    assert_eq!((fault.worker, &fault.what), (WorkerId(1), &FaultKind::Panic("as it was told to".to_owned())));
    let replayed = replay(&disk, &dir);
    assert_eq!(replayed.faults().collect::<Vec<_>>(), [&*fault]);
    assert_eq!(recordings(&disk), std::slice::from_ref(&dir));
    let command = format!("{} replay {}", std::env::current_exe().unwrap().display(), dir.display());
    assert!(text.starts_with(&fault.to_string()) && text.ends_with(&command), "{text}");
}

#[test]
fn panics_that_the_node_outlives_are_recorded_up_to_their_round_a_few_times_and_then_no_more() {
    let disk = SimulatedDisk::default();
    let node = start(recorder(&disk));
    let mut seen = 0;
    for number in 1..=8_u32 {
        let total = add(&node, node.root(), 100);
        node.host().send(node.root(), &Tell::Spawn(Kind::Stops)).unwrap();
        let line = probe::log(&node).into_iter().rfind(|line| line.contains('/')).unwrap();
        let (slot, generation) = line.split_once('/').unwrap();
        let victim = probe::queue(slot.parse().unwrap(), generation.parse().unwrap());
        node.host().send(victim, &Tell::Panic).unwrap();
        probe::until_logged(&node, |line| line == "down: Panicked");
        if number > 4 {
            continue;
        }
        let found = until("no recording is written", || Some(recordings(&disk)).filter(|found| found.len() > seen));
        seen = found.len();
        let newest = found.into_iter().max_by_key(|dir| replay(&disk, dir).workers().next().unwrap().rounds()).unwrap();
        let playback = replay(&disk, &newest);
        let worker = playback.workers().next().unwrap();
        // It ends with the round of the panic, and the journal proves that.
        assert_eq!((worker.counters().panics, playback.progress().rounds_unproved), (u64::from(number), 0));
        assert_eq!(total_of(&disk, &newest), total);
    }
    node.stop().unwrap();
    assert_eq!(recordings(&disk).len(), 4);
}

#[test]
fn a_disk_that_fails_is_told_of_and_takes_neither_the_node_nor_its_own_error_away() {
    let disk = SimulatedDisk::default();
    let files = FaultyFiles::new(disk.storage());
    let node = start(recorder_on(Arc::new(files.clone())));
    let total = add_bytes(&node, RETAIN_BYTES / 2);
    for operation in [Operation::Create, Operation::Write, Operation::Sync] {
        for nth in 1..=2 {
            files.fail(operation, nth, io::ErrorKind::StorageFull);
            let error = node.write_recording().unwrap_err();
            assert!(error.to_string().ends_with("make room there"), "{error}");
            let rest: Vec<_> = disk.paths().into_iter().filter(|path| !path.ends_with("lock")).collect();
            assert_eq!(rest, [] as [PathBuf; 0], "it would only take room");
        }
    }
    let dir = node.write_recording().unwrap();
    assert_eq!(total_of(&disk, &dir), total);
    files.fail(Operation::Write, 1, io::ErrorKind::StorageFull);
    node.host().send(node.root(), &Tell::Panic).unwrap();
    let failure = node.wait().unwrap_err();
    let text = failure.to_string();
    assert!(matches!(failure, NodeError::Recorded { recording: Err(RecordingError::Disk(_)), .. }), "{failure:?}");
    assert!(text.contains("as it was told to") && text.ends_with("make room there"), "{text}");
    assert_eq!(recordings(&disk), [dir]);
}

/// Lets writes go on when it is dropped, so that a test that fails ends.
struct WritesHeld<'a>(&'a FaultyFiles);

impl Drop for WritesHeld<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[test]
fn nobody_waits_for_a_disk_that_is_slow_to_take_a_recording_and_what_comes_meanwhile_is_not_in_it() {
    let disk = SimulatedDisk::default();
    let files = FaultyFiles::new(disk.storage());
    let node = start(recorder_on(Arc::new(files.clone())));
    let total = add_bytes(&node, 2 * RETAIN_BYTES);
    files.hold(Operation::Write);
    let dir = thread::scope(|scope| {
        let held = WritesHeld(&files);
        let host = node.host();
        let writing = scope.spawn(move || host.write_recording().unwrap());
        until("nothing is written", || (files.count(Operation::Write) > 0).then_some(()));
        add_bytes(&node, 4 * RETAIN_BYTES);
        assert_eq!(recordings(&disk), [] as [PathBuf; 0]);
        assert!(node.recorder_bytes() <= RETAIN_BYTES);
        drop(held);
        writing.join().unwrap()
    });
    assert_eq!(total_of(&disk, &dir), total);
    node.stop().unwrap();
}

#[test]
fn two_recordings_never_share_a_directory() {
    let disk = SimulatedDisk::default();
    let nodes: Vec<_> = (0..3).map(|_| start(recorder(&disk))).collect();
    let written: Vec<(u64, PathBuf)> = thread::scope(|scope| {
        let write = |(number, node)| {
            scope.spawn(move || {
                let total = (0..=number).fold(0, |_, _| add(node, node.root(), 1));
                [0; 5].map(|_| (total, node.write_recording().unwrap()))
            })
        };
        let threads: Vec<_> = (0..).zip(&nodes).map(write).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut dirs: Vec<_> = written.iter().map(|(_, dir)| dir.clone()).collect();
    dirs.sort();
    dirs.dedup();
    assert_eq!(dirs.len(), 15);
    for (total, dir) in &written {
        assert_eq!(total_of(&disk, dir), *total);
    }
}

#[test]
fn each_start_begins_anew_and_leaves_recordings_alone() {
    let disk = SimulatedDisk::default();
    let mut known: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for _ in 0..3 {
        let node = start(recorder(&disk));
        assert_eq!((node.epoch(), probe::total(&node)), (Epoch::FIRST, 0));
        for (path, bytes) in &known {
            assert_eq!(disk.bytes(path).unwrap(), *bytes);
        }
        assert_eq!(add(&node, node.root(), 1), 1);
        node.write_recording().unwrap();
        node.stop().unwrap();
        known = disk.paths().into_iter().map(|path| (path.clone(), disk.bytes(&path).unwrap())).collect();
    }
    assert_eq!(recordings(&disk).len(), 3);
}

#[test]
fn what_does_not_go_with_a_flight_recorder_is_refused() {
    let refused = |builder: NodeBuilder| match builder.start(&probe::Probe::default()) {
        Err(StartError::Misuse(text)) => text,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it starts"),
    };
    let disk = SimulatedDisk::default();
    let text = refused(NodeBuilder::new("probe", probe::kinds()).durability(Durability::Memory));
    assert!(text.contains("name one with `dir`"), "{text}");
    for on_poison in [OnPoison::SkipMessage, OnPoison::StopFsm] {
        let text = refused(recorder(&disk).on_poison(on_poison));
        assert!(text.contains("leave out `on_poison`"), "{text}");
    }
    let text = refused(probe::builder(disk.storage()).write_recordings_on_signal());
    assert!(text.contains("give `Durability::Memory`"), "{text}");
    start(probe::builder(disk.storage())).stop().unwrap();
    let before = disk.paths();
    let text = refused(recorder(&disk));
    assert!(text.contains("the directory of a node of `probe`"), "{text}");
    assert_eq!(disk.paths(), before);
    let node = start(probe::builder(SimulatedDisk::default().storage()));
    assert!(matches!(node.write_recording(), Err(RecordingError::NoRecorder)));
    assert_eq!(node.recorder_bytes(), 0);
    node.stop().unwrap();
}

#[cfg(unix)]
#[test]
fn a_signal_writes_a_recording_and_the_node_goes_on() {
    let disk = SimulatedDisk::default();
    let node = start(recorder(&disk).write_recordings_on_signal());
    let total = add(&node, node.root(), 1);
    for number in 1..=2 {
        signal_hook::low_level::raise(signal_hook::consts::SIGUSR1).unwrap();
        until("no recording is written", || (recordings(&disk).len() == number).then_some(()));
    }
    node.stop().unwrap();
    recordings(&disk).iter().for_each(|dir| assert_eq!(total_of(&disk, dir), total));
}

#[test]
fn a_recording_is_of_a_sound_node_however_busy_its_workers_are_meanwhile() {
    let disk = SimulatedDisk::default();
    let node = start(recorder(&disk).limits(Limits { budget_bytes: 1 << 20, ..limits() }));
    let there = probe::second_worker(&node);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for to in [node.root(), there] {
            let (host, is_over) = (node.host(), &is_over);
            scope.spawn(move || {
                let forwarded = Tell::Forward(there, Box::new(Tell::Add(1, vec![7; 3000])));
                let _over = Over(is_over);
                while !is_over.load(Ordering::Relaxed) {
                    host.send_wait(to, &forwarded, PATIENCE).unwrap();
                }
            });
        }
        let written = [0; 20].map(|_| node.write_recording());
        is_over.store(true, Ordering::Relaxed);
        for dir in written {
            total_of(&disk, &dir.unwrap());
        }
    });
    node.stop().unwrap();
}
