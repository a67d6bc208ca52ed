//! Runs a node for long, under a steady load and with a bound on what its directory holds, and looks whether memory and disk stay
//! flat; then brings it back, counts what it holds, and replays what is left.
//!
//! ```text
//! cargo run --release -p qnfsm-tests --bin soak -- [--seconds 3600] [--rate 200000] [--retain-mib 256] [--dir DIR]
//! ```
//!
//! It ends with status 1 and says why where the directory held more than its budget and a tenth, memory grew by more than a tenth
//! and 8 MiB after the first third, the load fell behind, or anything was lost. Linux tells how much memory is taken; elsewhere
//! that isn't looked at.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a program that stands outside the node")]

mod bank;

use std::{
    error::Error,
    io::{IsTerminal, Write, stderr},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use bank::{Ask, Bank, Pay, kinds};
use qnfsm::{
    Limits, Node, NodeBuilder, QueueId,
    journal::{RealFiles, holdings::Holdings},
};
use qnfsm_replay::{Options, replay};

const PATIENCE: Duration = Duration::from_secs(60);
/// Two branches, each with as many accounts.
const BRANCHES: u32 = 2;
const ACCOUNTS: u32 = 1000;
/// How often payments are put in.
const TICK: Duration = Duration::from_millis(1);
/// How far over its budget a directory may be between two looks.
const SLACK: f64 = 1.1;

struct Args {
    seconds: u64,
    rate: u64,
    retain_bytes: u64,
    dir: Option<PathBuf>,
}

fn args() -> Result<Args, String> {
    let mut args = Args { seconds: 3600, rate: 200_000, retain_bytes: 256 << 20, dir: None };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} takes a number, and {value} is none"));
        match name.as_str() {
            "--seconds" => args.seconds = number()?.max(3),
            "--rate" => args.rate = number()?,
            "--retain-mib" => args.retain_bytes = number()? << 20,
            "--dir" => args.dir = Some(value.into()),
            _ => {
                return Err(format!(
                    "there is no argument {name}; there are --seconds, --rate, --retain-mib and --dir"
                ));
            }
        }
    }
    Ok(args)
}

/// What was seen at one moment.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Duration,
    memory_bytes: Option<u64>,
    directory_bytes: u64,
    payments: u64,
}

fn memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn start(args: &Args, dir: &Path) -> Result<Node<Ask>, Box<dyn Error>> {
    let limits = Limits { retain_bytes: Some(args.retain_bytes), ..Limits::default() };
    Ok(NodeBuilder::new("soak", kinds()).dir(dir).limits(limits).start(&Bank::new(BRANCHES, ACCOUNTS))?)
}

fn accounts(node: &Node<Ask>) -> Result<Vec<QueueId<Pay>>, Box<dyn Error>> {
    loop {
        let all = node.host().request(node.root(), PATIENCE, Ask::All)?;
        if !all.is_empty() {
            return Ok(all);
        }
    }
}

/// How many payments all accounts have had.
fn paid(node: &Node<Ask>, accounts: &[QueueId<Pay>]) -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for account in accounts {
        sum += node.host().request(*account, PATIENCE, Pay::Tell)?;
    }
    Ok(sum)
}

/// Pays in at the rate until the time is over. Gives how many payments there are to be, and what was seen each second.
fn pay(
    args: &Args,
    dir: &Path,
    node: &Node<Ask>,
    accounts: &[QueueId<Pay>],
) -> Result<(u64, Vec<Seen>), Box<dyn Error>> {
    let (host, begun, lasts) = (node.host(), Instant::now(), Duration::from_secs(args.seconds));
    let is_terminal = stderr().is_terminal();
    let (mut sent, mut payments, mut seen) = (0_u64, 0_u64, Vec::<Seen>::new());
    let mut pick = 0_usize;
    while begun.elapsed() < lasts {
        let due = u64::try_from(begun.elapsed().as_micros())? * args.rate / 1_000_000;
        while sent < due {
            // A stride through all accounts that has no common factor with their number.
            pick = (pick + 619) % accounts.len();
            let other = accounts[accounts.len() - 1 - pick];
            let through = sent % 8 == 0;
            let message = if through { Pay::Through(sent, other) } else { Pay::In(sent) };
            host.send_wait(accounts[pick], &message, PATIENCE)?;
            sent += 1;
            payments += 1 + u64::from(through);
        }
        if begun.elapsed().as_secs() > seen.len() as u64 {
            let directory_bytes = Holdings::look(&RealFiles, dir)?.bytes();
            let now = Seen { at: begun.elapsed(), memory_bytes: memory_bytes(), directory_bytes, payments };
            seen.push(now);
            if is_terminal || seen.len() % 60 == 0 {
                let end = if is_terminal { '\r' } else { '\n' };
                eprint!("{}{end}", line(&now, seen.len().checked_sub(2).map(|before| &seen[before])));
                stderr().flush()?;
            }
        }
        thread::sleep(TICK);
    }
    Ok((payments, seen))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn line(now: &Seen, before: Option<&Seen>) -> String {
    let rate = before.map_or(0.0, |before| {
        (now.payments - before.payments) as f64 / (now.at - before.at).as_secs_f64().max(f64::EPSILON)
    });
    format!(
        "{:>6.0} s  {rate:>9.0} messages/s  memory {:>6.1} MiB  directory {:>6.1} MiB ",
        now.at.as_secs_f64(),
        mib(now.memory_bytes.unwrap_or(0)),
        mib(now.directory_bytes)
    )
}

/// What is wrong with what was seen.
fn faults(args: &Args, seen: &[Seen]) -> Vec<String> {
    let mut faults = Vec::new();
    let most = seen.iter().map(|seen| seen.directory_bytes).max().unwrap_or(0);
    if most as f64 > args.retain_bytes as f64 * SLACK {
        faults.push(format!(
            "the directory held {:.1} MiB, and {:.1} is its budget",
            mib(most),
            mib(args.retain_bytes)
        ));
    }
    let settled = &seen[seen.len() / 3..];
    let memory: Vec<_> = settled.iter().filter_map(|seen| seen.memory_bytes).collect();
    // What comes and goes with snapshots is in both thirds.
    let most_of = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
    let (early, late) = memory.split_at(memory.len() / 2);
    let (early, late) = (most_of(early), most_of(late));
    if late > early + early / 10 + (8 << 20) {
        faults.push(format!("memory grew from {:.1} to {:.1} MiB", mib(early), mib(late)));
    }
    faults
}

fn soak() -> Result<Vec<String>, Box<dyn Error>> {
    let args = args()?;
    let temporary = tempfile::tempdir()?;
    let dir = args.dir.clone().unwrap_or_else(|| temporary.path().join("node"));
    let node = start(&args, &dir)?;
    let all = accounts(&node)?;
    let (payments, seen) = pay(&args, &dir, &node, &all)?;
    let mut faults = faults(&args, &seen);
    let last = seen.last().ok_or("it was over before anything was seen")?;
    println!("{}", line(last, seen.first()));
    let rate = last.payments as f64 / last.at.as_secs_f64();
    if rate < args.rate as f64 {
        faults.push(format!("{rate:.0} messages a second went through, and {} were to", args.rate));
    }
    let stopped = node.stop()?;
    println!("stopped: {} messages in {} rounds, {payments} of them payments", stopped.messages, stopped.rounds);
    let begun = Instant::now();
    let node = start(&args, &dir)?;
    println!("back after {:.2} s", begun.elapsed().as_secs_f64());
    let found = paid(&node, &all)?;
    if found != payments {
        faults.push(format!("{payments} payments were put in, and {found} are there"));
    }
    node.stop()?;
    println!("{}", replay(&dir, kinds(), &Options::new())?);
    Ok(faults)
}

fn main() -> ExitCode {
    match soak() {
        Ok(faults) if faults.is_empty() => {
            println!("nothing was lost; memory and disk stayed flat");
            ExitCode::SUCCESS
        }
        Ok(faults) => {
            faults.iter().for_each(|fault| eprintln!("soak: {fault}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}
