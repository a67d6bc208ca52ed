//! What a suite says of itself: groups of subjects that are compared, as data, and one job for each run of a subject.
//!
//! A [`Group`] is one case at one setting. All subjects of a family of groups take turns, so that a machine that slows down
//! slows all of them. A [`Job`] is all that a process needs to know to run one of them once.

use std::fmt;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Why something could not be measured, for people to read.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How many threads do the work. Threads that only wait are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Everything happens on one thread.
    OneThread,
    /// The work is spread over two threads, and messages cross between them.
    TwoThreads,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Class::OneThread => "one-thread",
            Class::TwoThreads => "two-threads",
        })
    }
}

/// How much is written down meanwhile. Systems that record nothing are `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Recording {
    /// Nothing.
    Off,
    /// The inputs, into memory that is used again and again.
    Memory,
    /// The inputs, into files that are synced in the background.
    Buffered,
    /// The inputs, into files, and what leaves waits until they are on disk.
    Durable,
    /// Each delivery as well, into files that are synced in the background.
    Everything,
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Recording::Off => "off",
            Recording::Memory => "memory",
            Recording::Buffered => "buffered",
            Recording::Durable => "durable",
            Recording::Everything => "everything",
        })
    }
}

/// One run of one system, as the arguments of the process that does it.
#[derive(Debug, Clone, Args)]
pub struct Job {
    /// The suite.
    pub suite: String,
    /// The case, as the suite names it.
    pub case: String,
    /// How many threads do the work.
    pub class: Class,
    /// The system, as the suite names it.
    pub system: String,
    /// How much is written down.
    pub recording: Recording,
    /// The size of each message's payload.
    pub payload_bytes: u32,
    /// A tenth of the work.
    #[arg(long)]
    pub quick: bool,
}

impl Job {
    /// The arguments that make this job again.
    pub fn arguments(&self) -> Vec<String> {
        let Job { suite, case, class, system, recording, payload_bytes, quick } = self;
        let mut arguments = vec!["measure".to_owned(), suite.clone(), case.clone(), class.to_string()];
        arguments.extend([system.clone(), recording.to_string(), payload_bytes.to_string()]);
        arguments.extend(quick.then(|| "--quick".to_owned()));
        arguments
    }
}

/// What one run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// In the group's unit.
    pub value: f64,
    /// In the group's further units, in their order.
    pub also: Vec<f64>,
    /// The limit, where the same run measures it too.
    pub limit: Option<f64>,
}

/// What a subject is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitIs {
    /// Nothing.
    Nothing,
    /// The subject of that index in the same group.
    Subject(usize),
    /// What the subject's own runs give as [`Figures::limit`].
    OfItsOwnRun,
}

/// One system in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its name as an argument.
    pub name: &'static str,
    /// Its name in rows.
    pub system: &'static str,
    /// Its version in rows.
    pub version: String,
    /// How much it writes down.
    pub recording: Recording,
    /// What it is held against.
    pub limit: LimitIs,
}

/// What is compared: one case at one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The case; `--only` takes this name, or the family's.
    pub case: String,
    /// The name that several cases share, such as `fan-in` for `fan-in-4`.
    pub family: &'static str,
    /// How many threads do the work.
    pub class: Class,
    /// The size of each message's payload.
    pub payload_bytes: u32,
    /// What values are in, such as `ns/message`.
    pub unit: &'static str,
    /// The units of what each run finds beside that, such as percentiles or parts: further rows.
    pub also: &'static [&'static str],
    /// The systems, in the order of their turns.
    pub subjects: Vec<Subject>,
    /// The unit of further rows, if any: for each subject with a limit, how much more its first value is than the limit's, run by run.
    pub more_than_limit: Option<&'static str>,
}

/// What a point of a plot has as its x.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum X {
    /// The number at the end of the case, such as 16 for `fan-in-16`.
    EndOfCase,
    /// The size of the payload.
    PayloadBytes,
}

/// A picture of a family's rows: a line for each system, on logarithmic axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plot {
    /// The file's name, without its end.
    pub file: &'static str,
    /// Whose rows it shows.
    pub family: &'static str,
    /// Only those on so many threads.
    pub class: Option<Class>,
    /// What stands above it.
    pub title: &'static str,
    /// What lies to the right.
    pub x: X,
    /// What stands below.
    pub x_label: &'static str,
    /// What stands at the left: the unit.
    pub y_label: &'static str,
}

/// A family of measurements with one command.
pub trait Suite {
    /// The command's name.
    const NAME: &'static str;

    /// All that there is to measure; `quick` leaves out what one can do without for a look.
    fn plan(quick: bool) -> Vec<Group>;

    /// The most runs of a family of cases; for those of which one takes many seconds.
    fn runs_max(_family: &str) -> usize {
        usize::MAX
    }

    /// The pictures of what was measured, if there are any.
    fn plots() -> Vec<Plot> {
        Vec::new()
    }

    /// Measures one run of one system in this process.
    ///
    /// # Errors
    /// When there is no such case or system, or it does not do what it should.
    fn measure(job: &Job) -> Result<Figures, Failure>;
}
