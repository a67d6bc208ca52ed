//! Ways through a journal, and how long each takes.

use std::{
    fmt,
    fs::{self, File},
    io::Read,
    num::NonZeroUsize,
    path::PathBuf,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use qnfsm_replay::{
    Options, Session, describe, replay,
    session::{By, Direction, MEMORY_DEFAULT},
};
use rustix::fs::{Advice, fadvise};

use super::long::Long;
use crate::{
    journal::feed::taken_at_most,
    messaging::message::Small,
    pace::counted,
    plan::{Failure, Figures},
    recorded,
};

/// How often a session goes somewhere.
const GOES: u64 = 200;
/// How often the disk is asked, of which the least counts.
const DISK_TURNS: u32 = 3;

/// One way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// What the journal is, in numbers.
    Describe,
    /// A replay, on one thread.
    Replay,
    /// What a session does before its first step.
    FirstPass,
    /// To a round somewhere.
    Seek,
    /// From a round to the one before.
    StepBack,
    /// To the step after which something doesn't hold, from opening the session on.
    Bisect,
    /// Through all steps for one that isn't there, forwards.
    SearchForward,
    /// The same backwards.
    SearchBack,
}

impl Walk {
    pub const ALL: [Walk; 8] = [
        Walk::Describe,
        Walk::Replay,
        Walk::FirstPass,
        Walk::Seek,
        Walk::StepBack,
        Walk::Bisect,
        Walk::SearchForward,
        Walk::SearchBack,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Walk::Describe => "describe",
            Walk::Replay => "replay",
            Walk::FirstPass => "first-pass",
            Walk::Seek => "seek",
            Walk::StepBack => "step-back",
            Walk::Bisect => "bisect",
            Walk::SearchForward => "search-forward",
            Walk::SearchBack => "search-back",
        }
    }

    /// What its value is in, and what else it finds.
    pub fn units(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Walk::Replay | Walk::Bisect | Walk::SearchForward | Walk::SearchBack => ("ns/message", &[]),
            Walk::Describe => ("ns/message", &["ns/message, with an index", "ns/message, in memory"]),
            Walk::FirstPass => ("ns/message", &["MiB kept"]),
            Walk::Seek | Walk::StepBack => ("ms p50", &["ms p99", "ms at most"]),
        }
    }

    /// True if each run measures what it is held against: what it took live for a replay, a reading of its files from the disk for what describes it,
    /// and a replay for all else that goes through the whole journal.
    pub fn has_limit(self) -> bool {
        !matches!(self, Walk::Seek | Walk::StepBack)
    }

    /// Goes that way.
    ///
    /// # Errors
    /// When the library doesn't do what it should.
    pub fn measure(self, long: &Long) -> Result<Figures, Failure> {
        let each = |took: Duration| took.as_secs_f64() * 1e9 / counted(long.messages);
        if self == Walk::Describe {
            return described(long, each);
        }
        if self == Walk::Replay {
            return Ok(Figures { value: each(replayed(long)?), also: vec![], limit: Some(each(long.live)) });
        }
        let limit = if self.has_limit() { Some(each(replayed(long)?)) } else { None };
        let begun = Instant::now();
        let mut session = Session::open(long.dir(), Long::kinds(), &Options::new())?;
        let opened = begun.elapsed();
        if session.memory() > MEMORY_DEFAULT {
            return Err(format!("the session keeps {} bytes", session.memory()).into());
        }
        let begun = Instant::now();
        match self {
            Walk::FirstPass => {
                let kept = counted(session.memory() as u64) / f64::from(1 << 20);
                return Ok(Figures { value: each(opened), also: vec![kept], limit });
            }
            Walk::Seek => return goes(&mut session, |session, to| session.go_to(to)),
            Walk::StepBack => {
                return goes(&mut session, |session, _| session.back(By::Round).map(drop));
            }
            Walk::Bisect => {
                // Where few would have looked first.
                let most = long.messages / 7 * 5;
                let broken = session.bisect(taken_at_most::<Small>(most), "it has taken few")?;
                if !broken.is_some_and(|broken| broken.violation.what.ends_with(&format!(" {}", most + 1))) {
                    return Err("another step was found than the first".into());
                }
                return Ok(Figures { value: each(opened + begun.elapsed()), also: vec![], limit });
            }
            Walk::SearchForward => {
                session.go_to_start()?;
                expect_nothing(session.find(Direction::Forward, |_, step| step.delivery == u32::MAX)?)?;
            }
            Walk::SearchBack => {
                session.go_to_end()?;
                expect_nothing(session.find(Direction::Back, |_, step| step.delivery == u32::MAX)?)?;
            }
            Walk::Describe | Walk::Replay => unreachable!("it needs no session"),
        }
        Ok(Figures { value: each(begun.elapsed()), also: vec![], limit })
    }
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the journal is: by reading all of it from the disk, with the index that this left, and where the system still has the files in memory;
/// beside a reading of the files from the disk, from front to back.
fn described(long: &Long, each: impl Fn(Duration) -> f64) -> Result<Figures, Failure> {
    let dir = recorded::directory()?;
    let indexed = describe::Options::new().index(dir.path().join("index"));
    let timed = |options: &describe::Options, from_disk: bool| {
        if from_disk {
            forget(long)?;
        }
        let begun = Instant::now();
        let description = describe::describe(long.dir(), options, |_, _| {})?;
        match description.messages.0 >= long.messages {
            true => Ok(begun.elapsed()),
            false => Err(Failure::from(format!("{} of {} messages were counted", description.messages, long.messages))),
        }
    };
    let (mut limit, mut whole) = (Duration::MAX, Duration::MAX);
    // In turns, because a disk that others use too is quick at one time and slow at another.
    for _ in 0..DISK_TURNS {
        forget(long)?;
        limit = limit.min(read_through(long)?);
        whole = whole.min(timed(&describe::Options::new(), true)?);
    }
    let in_memory = timed(&indexed, false)?;
    let with_index = timed(&indexed, true)?;
    Ok(Figures { value: each(whole), also: vec![each(with_index), each(in_memory)], limit: Some(each(limit)) })
}

fn segments(long: &Long) -> Result<Vec<PathBuf>, Failure> {
    let mut files = fs::read_dir(long.dir().join("journal"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>, Failure>>()?;
    files.sort();
    Ok(files)
}

/// Has the system forget what it holds of the journal's files, so that they are read from the disk.
fn forget(long: &Long) -> Result<(), Failure> {
    for path in segments(long)? {
        let file = File::open(path)?;
        // What isn't on the disk yet can't be forgotten.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// How long it takes to read the journal's files from front to back.
fn read_through(long: &Long) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let (mut buffer, mut bytes) = (vec![0; 1 << 20], 0);
    for path in segments(long)? {
        let mut file = File::open(path)?;
        fadvise(&file, 0, None, Advice::Sequential)?;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => bytes += read,
            }
        }
    }
    std::hint::black_box(bytes);
    Ok(begun.elapsed())
}

fn replayed(long: &Long) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let report = replay(long.dir(), Long::kinds(), &Options::new().threads(NonZeroUsize::MIN))?;
    let took = begun.elapsed();
    if report.messages < long.messages {
        return Err(format!("{} of {} messages were replayed", report.messages, long.messages).into());
    }
    Ok(took)
}

fn expect_nothing(found: bool) -> Result<(), Failure> {
    if found { Err("a step was found that isn't there".into()) } else { Ok(()) }
}

/// Goes to rounds that lie far from one another, each time from the one before.
fn goes(
    session: &mut Session,
    mut go: impl FnMut(&mut Session, u64) -> Result<(), qnfsm_replay::ReplayError>,
) -> Result<Figures, Failure> {
    let mut took = Histogram::<u64>::new(3)?;
    session.go_to(session.rounds() / 2)?;
    for number in 1..=GOES {
        // The golden ratio's multiples come everywhere, and near to none before.
        let to = counted(number) * 0.618_033_988_75 % 1.0 * counted(session.rounds());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a part of the count of rounds"
        )]
        let to = to as u64;
        let begun = Instant::now();
        go(session, to)?;
        took.record(u64::try_from(begun.elapsed().as_nanos())?)?;
    }
    let ms = |nanos: u64| counted(nanos) / 1e6;
    let [p50, p99] = [0.5, 0.99].map(|quantile| ms(took.value_at_quantile(quantile)));
    Ok(Figures { value: p50, also: vec![p99, ms(took.max())], limit: None })
}
