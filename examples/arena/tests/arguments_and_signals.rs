//! What the program says to whom started it wrongly, and that it stops when it is told to.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

fn arena(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A directory that goes away with it.
struct Dir(String);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("arena-{name}-{}", std::process::id()));
        Dir(dir.to_string_lossy().into_owned())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn unknown_arguments_are_answered_with_the_usage() {
    for arguments in [&[][..], &["dance"], &["serve", "--loud"], &["serve"], &["replay"], &["demo", "x"]] {
        let output = arena(arguments).output().expect("it can be started");
        let (out, err) = texts(&output);
        assert_eq!((output.status.code(), out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.contains("Usage: arena"), "{arguments:?}: {err}");
    }
}

#[test]
fn numbers_with_which_nothing_can_be_played_are_refused() {
    for (arguments, why) in [
        (&["demo", "--bots", "0"][..], "0 is not in 1..=4096"),
        (&["demo", "--bots", "4097"], "4097 is not in 1..=4096"),
        (&["demo", "--seconds", "0"], "0 is not in 1..=604800"),
        (&["demo", "--seconds", "18446744073709551615"], "18446744073709551615 is not in 1..=604800"),
        (&["demo", "--seconds", "2", "--kills", "21"], "21 kills do not fit into 2 s, at most 20 do"),
        (&["bots", "--dir", "/nowhere", "--bots", "0"], "0 is not in 1..=4096"),
        (&["serve", "--dir", "/nowhere", "--recover-to", "4711"], "`4711` is no position in a journal"),
    ] {
        let output = arena(arguments).output().expect("it can be started");
        let (out, err) = texts(&output);
        assert_eq!((output.status.code(), out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.contains(why) && err.contains("--help"), "{arguments:?}: {err}");
    }
}

#[test]
fn a_server_that_cannot_listen_says_where_and_why() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let dir = Dir::new("taken");
    let output = arena(&["serve", "--listen", &address, "--dir", &dir.0]).output().expect("it can be started");
    let (out, err) = texts(&output);
    assert_eq!((output.status.code(), out.as_str()), (Some(1), ""), "{err}");
    let begins = format!("arena: can't listen at {address}: ");
    assert!(
        err.starts_with(&begins) && err.trim_end().ends_with("; give `--listen` a free address of this machine"),
        "{err}"
    );
}

/// A process that is killed when a test fails.
struct Server(Child, Option<BufReader<ChildStdout>>);

impl Server {
    fn start(dir: &Dir, more: &[&str]) -> Server {
        let arguments = [&["serve", "--listen", "127.0.0.1:0", "--dir", &dir.0], more].concat();
        let mut child = arena(&arguments).spawn().expect("it can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("it says where it listens");
        assert!(line.starts_with("arena server: epoch "), "{line}");
        Server(child, Some(lines))
    }

    /// Waits for its end, which is one in good order.
    #[expect(clippy::disallowed_methods, reason = "a test waits for a process with a bound")]
    fn ends_well(mut self) {
        let (sender, ended) = mpsc::channel();
        let mut lines = self.1.take().expect("it is waited for once");
        std::thread::spawn(move || {
            let mut rest = String::new();
            // The pipe ends with the process.
            let read = lines.read_to_string(&mut rest);
            sender.send(read.map(|_| rest))
        });
        let rest = ended.recv_timeout(Duration::from_secs(20)).expect("it stops").expect("the pipe can be read");
        let status = self.0.wait().expect("it can be waited for");
        assert!(status.success() && rest.is_empty(), "{status}: {rest}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_stops_when_standard_input_ends() {
    let dir = Dir::new("stdin");
    let mut server = Server::start(&dir, &["--until-stdin-ends"]);
    drop(server.0.stdin.take());
    server.ends_well();
}

#[cfg(unix)]
#[test]
fn a_server_stops_on_sigterm_whatever_else_it_waits_for() {
    for more in [&[][..], &["--until-stdin-ends"]] {
        let dir = Dir::new(&format!("term{}", more.len()));
        let server = Server::start(&dir, more);
        let kill = Command::new("kill").args(["-TERM", &server.0.id().to_string()]).status();
        assert!(kill.expect("kill can be started").success());
        server.ends_well();
    }
}
