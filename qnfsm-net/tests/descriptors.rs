//! What happens when the operating system has no socket left to give.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may fail, and look at the clock to do so")]

mod rig;

use std::{env, fs::File, process::Command, time::Instant};

use qnfsm_net::Tcp;
use rig::{Peer, Rig};

const CHILD: &str = "QNFSM_NET_FEW_DESCRIPTORS";
const NAME: &str = "out_of_descriptors_accepting_pauses_without_spinning_and_goes_on_later";

/// The bound on descriptors is the process's, so the test runs in a process of its own.
#[test]
fn out_of_descriptors_accepting_pauses_without_spinning_and_goes_on_later() {
    if env::var_os(CHILD).is_some() {
        with_few_descriptors();
        return;
    }
    let output = Command::new("sh")
        .args(["-c", r#"ulimit -n 64 && exec "$0" --exact "$1""#])
        .arg(env::current_exe().unwrap())
        .arg(NAME)
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn with_few_descriptors() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let mut files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(files.len() < 64, "the bound holds");
    files.pop();
    // The peer takes the last descriptor, so none is left to accept it with.
    let _peer = Peer::greeting(address);
    let start = Instant::now();
    let mut polls = 0;
    while start.elapsed().as_millis() < 150 {
        rig.poll();
        polls += 1;
    }
    assert_eq!(rig.got, []);
    assert!(polls < 60, "{polls} polls of up to 20 ms in 150 ms: it spins");
    files.clear();
    rig.until_accepted();
}
