//! A system that gives no further thread: a node that starts says so, gives back what it took, and loses nothing.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use qnfsm::{Limits, NodeError, RunOn, StartError, Unanswered, journal::RealFiles};

use crate::ring::{self, Root};

const CHILD: &str = "QNFSM_TEST_NODE_DIR_OF_THREADS";
/// How often each child tries to start the node: whether a worker that runs gets to a snapshot before it is stopped, and
/// so shows what it takes for recorded, is up to the scheduler.
const STARTS: usize = 24;
/// How much room each thread's stack takes.
const STACK_BYTES: u64 = 512 << 20;

fn builder(dir: &Path, snapshot_every_bytes: u64) -> qnfsm::NodeBuilder {
    let limits = Limits { drain: Duration::ZERO, snapshot_every_bytes, ..Limits::default() };
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
        std::thread::park_timeout(timeout.unwrap());
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
        // Room for that many threads and not for one more: the program itself takes less than half a stack.
        let room_kilobytes = (threads * STACK_BYTES + STACK_BYTES / 2) >> 10;
        let child = Command::new("sh")
            .args(["-c", &format!("ulimit -v {room_kilobytes}; exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "threads::child", "--nocapture"])
            .env(CHILD, &dir)
            .env("RUST_MIN_STACK", STACK_BYTES.to_string())
            .env("MALLOC_ARENA_MAX", "1")
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
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
