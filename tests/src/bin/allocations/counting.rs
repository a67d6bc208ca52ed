//! Counts the allocations of a piece of work, on whatever thread they are made, by the calls that led to them.

use std::{error::Error, fs};

use serde::Deserialize;
use serde_json::{Value, json};

/// How many calls of a site's are looked through for those that are ours.
const FRAMES_MAX: usize = 48;
/// How many of them are shown.
const FRAMES_SHOWN: usize = 8;

/// What a piece of work did.
pub struct Counted {
    /// Messages that handlers were given.
    pub messages: u64,
    /// Rounds that were run.
    pub rounds: u64,
    sites: Vec<Site>,
}

/// Calls that led to allocations.
struct Site {
    allocations: u64,
    bytes: u64,
    calls: Vec<String>,
}

/// What is read of dhat's file.
#[derive(Deserialize)]
struct Profile {
    #[serde(rename = "pps")]
    points: Vec<Point>,
    #[serde(rename = "ftbl")]
    frames: Vec<String>,
}

#[derive(Deserialize)]
struct Point {
    #[serde(rename = "tb")]
    bytes: u64,
    #[serde(rename = "tbk")]
    blocks: u64,
    #[serde(rename = "fs")]
    frames: Vec<usize>,
}

/// Does the work, and counts. The work says how many messages were handled and rounds were run.
///
/// # Errors
/// What the work fails with, and what can't be read back.
pub fn counted(work: impl FnOnce() -> Result<(u64, u64), Box<dyn Error>>) -> Result<Counted, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("profile.json");
    let profiler = dhat::Profiler::builder().file_name(&file).trim_backtraces(Some(FRAMES_MAX)).build();
    let done = work();
    drop(profiler);
    let (messages, rounds) = done?;
    let Profile { points, frames } = serde_json::from_slice(&fs::read(file)?)?;
    let site = |point: Point| Site {
        allocations: point.blocks,
        bytes: point.bytes,
        calls: point.frames.iter().filter_map(|at| frames.get(*at)).map(|frame| call(frame)).collect(),
    };
    let mut sites: Vec<_> = points.into_iter().map(site).collect();
    sites.sort_by_key(|site| std::cmp::Reverse(site.allocations));
    Ok(Counted { messages, rounds, sites })
}

/// A call without its address.
fn call(frame: &str) -> String {
    frame.split_once(": ").map_or(frame, |(_, call)| call).to_owned()
}

impl Counted {
    /// The line for who started the process.
    pub fn to_json(&self) -> Value {
        let sites = self.sites.iter().map(|site| {
            // The first says what was allocated, those of this workspace for what; the rest lies between.
            let is_ours = |call: &&String| call.contains("qnfsm") || call.contains("allocations::");
            let ours = site.calls.iter().skip(1).filter(is_ours);
            let calls: Vec<_> = site.calls.iter().take(1).chain(ours).take(FRAMES_SHOWN).collect();
            json!({ "allocations": site.allocations, "bytes": site.bytes, "calls": calls })
        });
        json!({
            "messages": self.messages,
            "rounds": self.rounds,
            "allocations": self.sites.iter().map(|site| site.allocations).sum::<u64>(),
            "sites": sites.collect::<Vec<_>>(),
        })
    }
}
