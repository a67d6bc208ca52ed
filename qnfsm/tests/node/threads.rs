//! A system that gives no further thread: a node that starts says so, gives back what it took, and loses nothing.

use std::{
    iter,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use qnfsm::{
    Limits, NodeError, RunOn, StartError, Unanswered,
    journal::{Reader, RealFiles, snapshots::Mark},
};

use crate::ring::{self, Root};

const CHILD: &str = "QNFSM_TEST_NODE_DIR_OF_THREADS";
const CHILD_WITH_SNAPSHOTS: &str = "QNFSM_TEST_NODE_DIR_OF_SNAPSHOTS";
/// How often each child tries to start the node: whether a worker that runs gets to a snapshot before it is stopped, and
/// so shows what it takes for recorded, is up to the scheduler.
const STARTS: usize = 24;
/// How much room each thread's stack takes.
const STACK_BYTES: u64 = 512 << 20;

fn builder(dir: &Path, snapshot_every_bytes: u64) -> qnfsm::NodeBuilder {
    builder_with(dir, Limits { drain: Duration::ZERO, snapshot_every_bytes, ..Limits::default() })
}

fn builder_with(dir: &Path, limits: Limits) -> qnfsm::NodeBuilder {
    let mut builder = ring::builder(dir, Arc::new(RealFiles), limits);
    builder.service(1, Unanswered::SentAgain, |_: u64, _| ());
    builder.reactor(RunOn::Thread, Mute);
    builder
}

/// An edge that never says anything.
struct Mute;

impl qnfsm::Reactor for Mute {
    fn open(&mut self, _: &qnfsm::EdgeSetup) -> std::io::Result<()> {
        Ok(())
    }

    fn take(&mut self, _: &qnfsm::frame::Frame<'_>, _: &mut qnfsm::Inputs) {}

    fn poll(&mut self, timeout: Option<Duration>, _: &mut qnfsm::Inputs) -> std::io::Result<()> {
        thread::park_timeout(timeout.unwrap());
        Ok(())
    }

    fn waker(&self) -> qnfsm::Wake {
        Arc::new(|| {})
    }

    fn close(&mut self) {}
}

/// The node in the child process, which has room for few threads; does nothing by itself.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let root = Root::new(3, 2, u32::MAX);
    // Each start but the first finds the directory free, as the one before must leave it.
    for _ in 0..STARTS {
        // A snapshot has a thread of its own, which would take the room of another.
        match builder(Path::new(&dir), u64::MAX).start(&root) {
            Ok(node) => {
                node.stop().unwrap();
                println!("\nit runs");
            }
            Err(StartError::Node(NodeError::Thread(_))) => println!("\nrefused: a worker's"),
            Err(StartError::System { what: "a thread for an edge", .. }) => println!("\nrefused: an edge's"),
            Err(StartError::System { what: "a thread for the node itself", .. }) => {
                println!("\nrefused: the node's own");
            }
            Err(StartError::Edge { .. }) => println!("\nrefused: a service's"),
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// A node in the child process which takes all threads that there are when it runs, and goes on; does nothing by itself.
#[test]
fn child_with_snapshots() {
    let Some(dir) = std::env::var_os(CHILD_WITH_SNAPSHOTS) else { return };
    let dir = Path::new(&dir);
    let limits = Limits { drain: Duration::ZERO, snapshot_every: Some(Duration::from_millis(1)), ..Limits::default() };
    let node = builder_with(dir, limits).start(&Root::new(3, 2, u32::MAX)).unwrap();
    ring::settle(&node, 1);
    let (hang_up, is_over) = mpsc::channel::<()>();
    let is_over = Arc::new(Mutex::new(is_over));
    let take = || {
        let is_over = is_over.clone();
        thread::Builder::new().spawn(move || is_over.lock().unwrap().recv().is_err())
    };
    let mut taken: Vec<_> = iter::from_fn(|| take().ok()).collect();
    // One of each worker may have had a thread already, which is there for others when it ends.
    let files = || std::fs::read_dir(dir.join("snapshots")).map_or(0, |files| files.count());
    let before = files();
    let begun = Instant::now();
    while files() < before + 40 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no snapshots without threads");
        taken.extend(take().ok());
    }
    drop(hang_up);
    assert!(taken.into_iter().all(|thread| thread.join().unwrap()));
    node.stop().unwrap();
    let mut reader = Reader::open(Arc::new(RealFiles), dir).unwrap();
    let (identity, mut marks) = (reader.manifest().identity, 0);
    while let Some(entry) = reader.next().unwrap() {
        if let Some(mark) = Mark::of(&entry.record) {
            mark.load(&RealFiles, dir, identity).unwrap();
            marks += 1;
        }
    }
    println!("\n{marks} snapshots");
}

#[test]
fn where_the_system_gives_no_thread_for_a_snapshot_the_worker_writes_it() {
    let dir = std::env::temp_dir().join(format!("qnfsm-snapshots-{}", std::process::id()));
    let child = limited(20, "threads::child_with_snapshots").env(CHILD_WITH_SNAPSHOTS, &dir).output().unwrap();
    let output = String::from_utf8(child.stdout).unwrap();
    assert!(child.status.success() && output.contains(" snapshots\n"), "{output}");
    std::fs::remove_dir_all(dir).unwrap();
}

/// This program with one test to run, and room for that many threads and not for one more: the program itself takes less
/// than half a stack.
fn limited(threads: u64, test: &str) -> Command {
    let room_kilobytes = (threads * STACK_BYTES + STACK_BYTES / 2) >> 10;
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -v {room_kilobytes}; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("RUST_MIN_STACK", STACK_BYTES.to_string())
        .env("MALLOC_ARENA_MAX", "1")
        .stderr(Stdio::inherit());
    command
}

#[test]
fn where_the_system_gives_no_further_thread_the_node_says_so_and_loses_nothing() {
    let root = Root::new(3, 2, u32::MAX);
    let dir = std::env::temp_dir().join(format!("qnfsm-threads-{}", std::process::id()));
    let received = |node: &ring::Node| ring::tallies(node).iter().map(ring::Counter::received).sum::<u64>();
    let node = builder(&dir, 1).start(&root).unwrap();
    ring::settle(&node, 1);
    drop(node);
    let mut said = Vec::new();
    for threads in 1..20 {
        let child = limited(threads, "threads::child").env(CHILD, &dir).output().unwrap();
        let output = String::from_utf8(child.stdout).unwrap();
        assert!(child.status.success(), "with room for {threads} threads: {output}");
        let lines: Vec<_> = output.lines().filter(|line| *line == "it runs" || line.starts_with("refused")).collect();
        assert!(lines.len() == STARTS, "{lines:?}");
        said.push(lines[0].to_owned());
        // With threads enough it goes on.
        let node = builder(&dir, 1).start(&root).unwrap();
        let before = received(&node);
        let after = ring::settle(&node, before + 1);
        assert!(after.iter().all(|counter| counter.broken.is_empty()), "{after:?}");
        drop(node);
        if lines[0] == "it runs" {
            break;
        }
    }
    // How many threads the test's own harness takes is its business.
    let service = said.iter().take_while(|said| *said == "refused: a service's").count();
    assert!(service > 0, "{said:?}");
    let (worker, edge, own) = ("refused: a worker's", "refused: an edge's", "refused: the node's own");
    assert_eq!(said[service..], [worker, worker, worker, edge, own, "it runs"]);
    std::fs::remove_dir_all(dir).unwrap();
}
