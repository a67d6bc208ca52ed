//! The demo: runs the server and the bots as processes of their own, kills the server on the way, and in the end replays
//! what both recorded in further processes.

#![expect(
    clippy::disallowed_methods,
    reason = "the demo stands outside all nodes: it watches processes by the clock, on threads"
)]

mod process;
mod screen;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use qnfsm_replay::cli::Program;
use serde::Serialize;

use crate::{
    bots::{self, Summary},
    game::PLAYERS_MAX,
    server::{self, Plant},
};
use process::{Bots, Server, Trouble};
use screen::Screen;

/// What `arena demo` is told.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How long the bots play.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    seconds: u64,
    /// How many bots play.
    #[arg(long, default_value_t = 32, value_parser = bots::count())]
    bots: u32,
    /// How often the server is killed, at even or random moments; at most ten times a second.
    #[arg(long, default_value_t = 1)]
    kills: u32,
    /// The seed of the game's random numbers and, with more than one kill, of the moments of the kills.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the nodes' directories are made; a new one under the system's temporary directory if none is given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Kill the bots too, right after the server.
    #[arg(long)]
    kill_bots: bool,
    /// Replay what the server left behind after each kill, before it is started again.
    #[arg(long)]
    replay_each: bool,
    /// Make a mistake on purpose: the demo must fail.
    #[arg(long, value_enum)]
    plant: Option<Plant>,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
}

/// A week.
const SECONDS_MAX: u64 = 7 * 24 * 60 * 60;

/// A killed server takes about a tenth of a second to come back.
const KILLS_PER_SECOND_MAX: u64 = 10;

const _: () = assert!(bots::BOTS_MAX as usize <= PLAYERS_MAX, "each bot must find a place in the world");

/// How long bots may take to play, after the start or a kill.
const PLAYING_TIME_MAX: Duration = Duration::from_secs(30);

impl Options {
    /// What no range of one argument says.
    fn check(&self) -> Result<(), clap::Error> {
        let kills_max = self.seconds * KILLS_PER_SECOND_MAX;
        if u64::from(self.kills) <= kills_max {
            return Ok(());
        }
        let text = format!(
            "{} kills do not fit into {} s, at most {kills_max} do; give fewer `--kills` or more `--seconds`",
            self.kills, self.seconds
        );
        let command = Options::augment_args(clap::Command::new("arena demo"));
        Err(command.bin_name("arena demo").error(clap::error::ErrorKind::ValueValidation, text))
    }
}

/// What the demo found.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    seconds: f64,
    seed: u64,
    bots: u32,
    messages: u64,
    kills: u32,
    recovered_ms_max: u64,
    reconnected: u32,
    lost: u32,
    doubled: u32,
    invented: u32,
    nodes: Vec<NodeOutcome>,
    verified: bool,
}

/// What became of one node.
#[derive(Debug, Serialize)]
struct NodeOutcome {
    name: String,
    epoch: u32,
    workers: u32,
    rounds: u64,
    unproved_rounds: u64,
    messages: u64,
    journal_bytes: u64,
    replayed: bool,
    digest: String,
}

/// The two programs: which of them wrote a directory, it says itself.
#[must_use]
pub fn programs() -> Program {
    let bots = Program::new(bots::PROGRAM, bots::kinds());
    Program::new(server::PROGRAM, server::kinds()).invariants(server::invariants()).also(bots)
}

/// Runs the demo.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    if let Err(error) = options.check() {
        // Where standard error is closed, there is nobody to tell.
        let _ = error.print();
        return ExitCode::from(2);
    }
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let dir = options.dir.clone().unwrap_or_else(fresh_dir);
    let mut screen = Screen::new(options.json);
    screen.say(&format!("arena demo: {} bots, {} s, seed {seed}, in {}", options.bots, options.seconds, dir.display()));
    match play(options, seed, &dir, &mut screen) {
        Ok((outcome, complaints)) => {
            screen.summary(&outcome, &complaints);
            if options.json {
                println!("{}", serde_json::to_string(&outcome).expect("an outcome is numbers and texts"));
            }
            if outcome.verified {
                if options.dir.is_none() {
                    // A directory that nobody asked for is kept only if there is something to look at.
                    let _ = std::fs::remove_dir_all(&dir);
                }
                return ExitCode::SUCCESS;
            }
            screen.say(&format!("look at it with: arena replay {}", dir.join("server").display()));
            ExitCode::FAILURE
        }
        Err(trouble) => {
            screen.say(&format!(
                "the demo could not be played to its end: {trouble}; the directories are in {}",
                dir.display()
            ));
            if options.json {
                println!("{}", serde_json::to_string(&Outcome::default()).expect("an outcome is numbers and texts"));
            }
            ExitCode::FAILURE
        }
    }
}

/// A directory that isn't there yet. Numbers of processes come again, and a demo that failed leaves its directory behind.
fn fresh_dir() -> PathBuf {
    let dir = |suffix: String| std::env::temp_dir().join(format!("arena-{}{suffix}", std::process::id()));
    let others = (2..).map(|number| format!("-{number}"));
    let dirs = std::iter::once(String::new()).chain(others).map(dir);
    dirs.into_iter().find(|dir| !dir.exists()).expect("there are more names than directories")
}

/// The moments of the kills: in the middle for one, drawn from the seed for more.
fn kill_moments(options: &Options, seed: u64) -> Vec<Duration> {
    let whole_ms = options.seconds * 1000;
    if options.kills == 1 {
        return vec![Duration::from_millis(whole_ms / 2)];
    }
    let mut state = seed;
    let mut moments: Vec<_> = (0..options.kills)
        .map(|_| {
            // SplitMix64, as in "Fast splittable pseudorandom number generators" by Steele, Lea and Flood.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            Duration::from_millis((mixed ^ (mixed >> 31)) % whole_ms)
        })
        .collect();
    moments.sort_unstable();
    moments
}

fn play(options: &Options, seed: u64, dir: &Path, screen: &mut Screen) -> Result<(Outcome, Vec<String>), Trouble> {
    let dirs = [("server", dir.join("server")), ("bots", dir.join("bots"))];
    let [(_, server_dir), (_, bots_dir)] = &dirs;
    let mut outcome = Outcome { bots: options.bots, seed, ..Outcome::default() };
    let mut complaints = Vec::new();
    let mut server = Server::start(server_dir, None, seed, options.plant)?;
    let mut bots = Bots::start(bots_dir, server.address(), options.bots, seed)?;
    bots.wait_for(PLAYING_TIME_MAX, |summary| summary.playing == options.bots || found_fault(summary))?;

    let begun = Instant::now();
    for moment in kill_moments(options, seed) {
        watch(begun + moment, begun, &mut bots, &server, outcome.kills, screen)?;
        if found_fault(bots.latest()) {
            break;
        }
        if let Err(trouble) = kill(options, seed, [server_dir, bots_dir], &mut server, &mut bots, &mut outcome, screen)
        {
            complaints.push(format!("after kill {}: {trouble}", outcome.kills));
            break;
        }
    }
    if complaints.is_empty() {
        let end = begun + Duration::from_secs(options.seconds);
        watch(end, begun, &mut bots, &server, outcome.kills, screen)?;
    }
    outcome.seconds = begun.elapsed().as_secs_f64();
    outcome.count(&bots.stop()?, &mut complaints);
    if let Err(trouble) = server.stop() {
        complaints.push(trouble.to_string());
    }
    screen.live_line_ends();
    for (name, dir) in &dirs {
        screen.say(&format!("replaying {name} …"));
        match process::replay(name, dir)? {
            Ok(node) => outcome.nodes.push(node),
            Err(text) => complaints.push(format!("{name}: {text}")),
        }
    }
    if outcome.kills != options.kills {
        complaints.push(format!("the server was killed {} times and not {}", outcome.kills, options.kills));
    }
    outcome.verified = complaints.is_empty();
    Ok((outcome, complaints))
}

/// Kills the server, replays what it left behind if that is asked for, starts it again, and waits until all bots are
/// back.
fn kill(
    options: &Options,
    seed: u64,
    [dir, bots_dir]: [&Path; 2],
    server: &mut Server,
    bots: &mut Bots,
    outcome: &mut Outcome,
    screen: &mut Screen,
) -> Result<(), Trouble> {
    let welcomes = bots.latest().welcomes_min;
    let address = server.address().to_owned();
    server.kill()?;
    outcome.kills += 1;
    if options.kill_bots {
        bots.kill_and_restart(bots_dir, &address, options.bots, seed)?;
    }
    if options.replay_each {
        process::replay("server", dir)??;
        screen.say(&format!("kill {}: what it left behind replays equal", outcome.kills));
    }
    let killed = Instant::now();
    *server = Server::start(dir, Some(&address), seed, options.plant)?;
    outcome.recovered_ms_max = outcome.recovered_ms_max.max(millis(killed.elapsed()));
    bots.wait_for(PLAYING_TIME_MAX, |summary| summary.welcomes_min > welcomes || found_fault(summary))
}

impl Outcome {
    /// Takes in how the bots were in the end.
    fn count(&mut self, summary: &Summary, complaints: &mut Vec<String>) {
        self.messages = summary.messages;
        self.reconnected = summary.playing;
        self.lost = summary.lost;
        self.doubled = summary.doubled;
        self.invented = summary.invented;
        complaints.extend(summary.fault.iter().cloned());
        if summary.playing != self.bots {
            complaints.push(format!("{} of {} bots play in the end", summary.playing, self.bots));
        }
    }
}

fn found_fault(summary: &Summary) -> bool {
    summary.lost + summary.doubled + summary.invented > 0
}

/// Shows what goes on until then, or until a bot finds a fault.
fn watch(
    until: Instant,
    begun: Instant,
    bots: &mut Bots,
    server: &Server,
    kills: u32,
    screen: &mut Screen,
) -> Result<(), Trouble> {
    while Instant::now() < until && !found_fault(bots.latest()) {
        let left = until.saturating_duration_since(Instant::now());
        bots.next_summary(left)?;
        screen.live(begun.elapsed(), server.epoch(), kills, bots.latest());
    }
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
