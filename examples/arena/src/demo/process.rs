//! The processes of the demo: this program itself, started as server, as bots and as replays.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use super::NodeOutcome;
use crate::{bots::Summary, server::Plant};

/// What keeps the demo from being played to its end.
pub(super) type Trouble = Box<dyn std::error::Error>;

/// How long a process may take to start.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a process may take to stop in good order.
const STOP_TIME_MAX: Duration = Duration::from_secs(60);

/// A process of this program, with its lines of output.
struct Process {
    what: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    fn start(what: &'static str, arguments: &[&str]) -> Result<Process, Trouble> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, lines) = channel();
        if let Some(stdout) = stdout {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Process { what, child, stdin, lines })
    }

    fn line(&mut self, patience: Duration) -> Result<Option<String>, Trouble> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(format!("the {} ended: {}", self.what, self.child.wait()?).into())
            }
        }
    }

    /// Asks it to stop by ending its standard input, and waits for its end.
    fn stop(&mut self, mut on_line: impl FnMut(&str)) -> Result<(), Trouble> {
        drop(self.stdin.take());
        let deadline = Instant::now() + STOP_TIME_MAX;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => on_line(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(format!("the {} does not stop", self.what).into()),
            }
        }
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the {} stopped with {status}", self.what).into()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing to do about a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The game server's process.
pub(super) struct Server {
    process: Process,
    address: String,
    epoch: u32,
}

impl Server {
    /// Starts it, and waits until it listens. Without an address it takes a free one.
    pub(super) fn start(dir: &Path, address: Option<&str>, seed: u64, plant: Option<Plant>) -> Result<Server, Trouble> {
        let (dir, seed) = (dir.to_string_lossy(), seed.to_string());
        let mut arguments = vec!["serve", "--until-stdin-ends", "--dir", &dir, "--seed", &seed];
        arguments.extend(["--listen", address.unwrap_or("127.0.0.1:0")]);
        let plant = plant.map(|plant| format!("{plant:?}").to_lowercase());
        if let Some(plant) = &plant {
            arguments.extend(["--plant", plant.as_str()]);
        }
        let mut process = Process::start("server", &arguments)?;
        let line = process
            .line(START_TIME_MAX)?
            .ok_or("the server does not say where it listens; start it by itself with `arena serve` to see why")?;
        let (head, address) = line.rsplit_once(' ').ok_or_else(|| format!("the server says {line}"))?;
        let epoch =
            head.split_whitespace().find_map(|word| word.trim_end_matches(',').parse().ok()).unwrap_or_default();
        Ok(Server { process, address: address.to_owned(), epoch })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    pub(super) fn kill(&mut self) -> Result<(), Trouble> {
        self.process.child.kill()?;
        self.process.child.wait()?;
        Ok(())
    }

    pub(super) fn stop(&mut self) -> Result<(), Trouble> {
        self.process.stop(|_| {})
    }
}

/// The bots' process.
pub(super) struct Bots {
    process: Process,
    latest: Summary,
}

impl Bots {
    pub(super) fn start(dir: &Path, server: &str, bots: u32, seed: u64) -> Result<Bots, Trouble> {
        let (dir, seed, bots) = (dir.to_string_lossy(), seed.to_string(), bots.to_string());
        let arguments =
            ["bots", "--until-stdin-ends", "--dir", &dir, "--seed", &seed, "--connect", server, "--bots", &bots];
        Ok(Bots { process: Process::start("bots", &arguments)?, latest: Summary::default() })
    }

    /// Kills them with SIGKILL and starts them again on their directory.
    pub(super) fn kill_and_restart(&mut self, dir: &Path, server: &str, bots: u32, seed: u64) -> Result<(), Trouble> {
        self.process.child.kill()?;
        self.process.child.wait()?;
        self.process = Bots::start(dir, server, bots, seed)?.process;
        Ok(())
    }

    /// How the bots were when they said so last.
    pub(super) fn latest(&self) -> &Summary {
        &self.latest
    }

    /// Waits for the next time that they say how they are.
    pub(super) fn next_summary(&mut self, patience: Duration) -> Result<(), Trouble> {
        if let Some(line) = self.process.line(patience)? {
            self.latest = serde_json::from_str(&line)?;
        }
        Ok(())
    }

    /// Waits until they are as `wanted`.
    pub(super) fn wait_for(&mut self, patience: Duration, wanted: impl Fn(&Summary) -> bool) -> Result<(), Trouble> {
        let deadline = Instant::now() + patience;
        while !wanted(&self.latest) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("the bots are not back after {patience:?}: {:?}", self.latest).into());
            }
            self.next_summary(left)?;
        }
        Ok(())
    }

    /// Stops them; gives the last that they said.
    pub(super) fn stop(&mut self) -> Result<Summary, Trouble> {
        let latest = &mut self.latest;
        let mut unreadable = None;
        self.process.stop(|line| match serde_json::from_str(line) {
            Ok(summary) => *latest = summary,
            Err(error) => unreadable = Some(error),
        })?;
        unreadable.map_or_else(|| Ok(self.latest.clone()), |error| Err(error.into()))
    }
}

/// Replays a directory in a process of its own: what it found, or what it complained of.
pub(super) fn replay(name: &str, dir: &Path) -> Result<Result<NodeOutcome, String>, Trouble> {
    let dir = dir.to_string_lossy();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["replay", &dir, "--json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (mut out, mut complaint) = (String::new(), String::new());
    // What is printed is short, so neither pipe can fill while the other is read.
    child.stdout.take().ok_or("no output")?.read_to_string(&mut out)?;
    child.stderr.take().ok_or("no output")?.read_to_string(&mut complaint)?;
    let status = child.wait()?;
    if !status.success() {
        let text = if complaint.trim().is_empty() { out } else { complaint };
        return Ok(Err(format!("its replay ended with {status}: {}", text.trim())));
    }
    let report: serde_json::Value = serde_json::from_str(out.lines().last().unwrap_or_default())?;
    let number = |field: &str| report[field].as_u64().ok_or_else(|| format!("the replay's report lacks {field}"));
    Ok(Ok(NodeOutcome {
        name: name.to_owned(),
        epoch: u32::try_from(number("epoch")?)?,
        workers: u32::try_from(number("workers")?)?,
        rounds: number("rounds")?,
        unproved_rounds: number("rounds_unproved")?,
        messages: number("messages")?,
        journal_bytes: number("journal_bytes")?,
        replayed: true,
        digest: report["digest"].as_str().unwrap_or_default().to_owned(),
    }))
}
