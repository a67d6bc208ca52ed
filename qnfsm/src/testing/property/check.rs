//! A property's run: cases that were kept first, then new ones; what breaks is shrunk, told, kept and saved.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    thread,
};

use super::{
    claim::Claim,
    course::{self, Course, Scene},
    coverage::{Counting, Coverage, Demand},
    draw::{Drawn, Sources},
    explain,
    input::Case,
    kept::{self, Kept},
    saved,
    shrink::{self, shrink},
};
use crate::Digest;

/// The seed of the one case that is to be run, in hexadecimal digits.
const SEED_VARIABLE: &str = "QNFSM_PROPERTY_SEED";
/// Where failing cases are saved.
const FAILURES_VARIABLE: &str = "QNFSM_FAILURES";
/// How many cases are run, as in proptest's own tests.
const CASES_VARIABLE: &str = "PROPTEST_CASES";
const FAILURES_DIR: &str = "qnfsm-failures";

/// What a property's run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many cases were run, kept ones among them.
    pub cases: u32,
    /// Which messages were handled in which states.
    pub coverage: Coverage,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cases hold; {}", self.cases, self.coverage)
    }
}

/// What is wrong with an FSM, or with its property.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyError {
    /// A claim doesn't hold.
    #[error("{0}")]
    Broken(Box<Broken>),
    /// Everything holds, and less was covered than is demanded.
    #[error("too little was covered in {cases} cases: {lacks}\n{coverage}")]
    NotCovered {
        /// How many cases were run.
        cases: u32,
        /// What was covered.
        coverage: Box<Coverage>,
        /// What is missing.
        lacks: String,
    },
    /// A strategy gave no value.
    #[error("no case could be drawn: {0}; let the strategies refuse less")]
    NothingDrawn(String),
    /// The file of kept cases can't be read.
    #[error("cases that were kept can't be tried: {0}")]
    Kept(String),
}

/// A claim that doesn't hold, and the smallest inputs that were found to show it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Broken {
    /// The property's name, and the kind's.
    pub property: String,
    /// The name of the kind under test.
    pub kind: String,
    /// What doesn't hold.
    pub claim: Claim,
    /// In which words.
    pub what: String,
    /// The inputs.
    pub inputs: Vec<String>,
    /// The inputs, and between them the states and the fields that changed, line by line.
    pub course: Vec<String>,
    /// The seed that they were drawn from.
    pub seed: u64,
    /// They had been kept by an earlier run.
    pub was_kept: bool,
    /// How many inputs were drawn, and how many runs it took to come from there to these.
    pub shrunk: (usize, u32),
    /// The command that runs this case again.
    pub command: String,
    /// The directory of the journal, or why there is none.
    pub journal: Result<PathBuf, String>,
    /// The file in which the inputs are kept, or why they aren't.
    pub kept: Result<PathBuf, String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { property, kind, claim, what, inputs, shrunk: (drawn, tries), .. } = self;
        writeln!(f, "property {property} of kind {kind} doesn't hold: {claim}\n  {what}\n")?;
        let kept = if self.was_kept { ", which were kept" } else { "" };
        writeln!(f, "the inputs{kept}: {} of {drawn}, after {tries} runs with less", inputs.len())?;
        for line in &self.course {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "\nto run this case again: {}", self.command)?;
        match &self.journal {
            Ok(dir) => writeln!(f, "its journal: {}\n{}", dir.display(), self.opened_by(dir))?,
            Err(why) => writeln!(f, "its journal could not be saved: {why}")?,
        }
        match &self.kept {
            Ok(file) => write!(f, "kept in {}, and tried first from now on", file.display()),
            Err(why) => write!(f, "not kept for the next run: {why}"),
        }
    }
}

impl Broken {
    /// The commands that open its journal.
    fn opened_by(&self, dir: &Path) -> String {
        let (package, dir) = (of_package(), dir.display());
        format!(
            "to step through it, with the program that has the FSM's kinds: cargo run{package} -- debug {dir}\n\
             to read it: qnfsm dump {dir}"
        )
    }
}

/// Where the property's files lie, and what it is called there.
pub(super) struct Places {
    property: String,
    /// The test's name, by which cargo runs it alone; not known where all tests run on the program's first thread.
    test: Option<String>,
    kind: &'static str,
    failures: PathBuf,
    kept: Option<PathBuf>,
}

impl Places {
    pub(super) fn find(
        name: Option<String>,
        kind: &'static str,
        source: &str,
        failures: Option<PathBuf>,
        kept: Option<PathBuf>,
    ) -> Places {
        // Each test has a thread with its name, unless there is only one thread.
        let test = thread::current().name().filter(|name| *name != "main").map(str::to_owned);
        let property = name.or_else(|| test.clone()).unwrap_or_else(|| kind.to_owned());
        let package = PathBuf::from(variable("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".to_owned()));
        let failures = failures
            .or_else(|| variable(FAILURES_VARIABLE).map(PathBuf::from))
            .unwrap_or_else(|| target_dir(&package).unwrap_or_else(env::temp_dir).join(FAILURES_DIR));
        let kept = kept.or_else(|| kept::beside(source, &package));
        Places { property, test, kind, failures, kept }
    }

    /// The command that runs a case again: by the test's name, whatever the property is called. Where that isn't known all tests of the
    /// package run, each with this seed.
    fn command(&self, seed: u64) -> String {
        let test = self.test.as_ref().map(|test| format!(" {test}")).unwrap_or_default();
        format!("{SEED_VARIABLE}={seed:016x} cargo test{}{test}", of_package())
    }

    /// The directory of a case's journal.
    fn journal(&self, seed: u64) -> PathBuf {
        let is_plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_');
        let name: String = self.property.replace("::", "-");
        let name: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
        self.failures.join(name).join(format!("{seed:016x}"))
    }
}

/// The package of the test, as cargo's commands are told of it.
fn of_package() -> String {
    variable("CARGO_PKG_NAME").map(|package| format!(" -p {package}")).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "a test is no FSM")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Cargo's target directory: that in which the test's executable lies, or the one of the package or of its workspace.
fn target_dir(package: &Path) -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    let profile = program.ancestors().find(|dir| dir.ends_with("deps")).and_then(Path::parent);
    let of_package = || package.ancestors().map(|dir| dir.join("target")).find(|dir| dir.is_dir());
    profile.and_then(Path::parent).map(Path::to_path_buf).or_else(of_package)
}

/// All that a run of the property needs.
pub(super) struct Checking {
    pub(super) scene: Scene,
    pub(super) sources: Sources,
    pub(super) coverage: Counting,
    pub(super) demand: Demand,
    pub(super) places: Places,
    pub(super) cases: u32,
    pub(super) seed: Option<u64>,
}

impl Checking {
    pub(super) fn run(mut self) -> Result<Report, PropertyError> {
        if let Some(seed) = variable(SEED_VARIABLE) {
            let seed = u64::from_str_radix(&seed, 16)
                .unwrap_or_else(|_| panic!("{SEED_VARIABLE} is {seed:?}; give the sixteen digits of a seed"));
            self.try_seed(seed, false)?;
            return Ok(Report { cases: 1, coverage: self.covered() });
        }
        let mut cases = self.try_kept()?;
        let asked = variable(CASES_VARIABLE).and_then(|count| count.parse().ok()).filter(|_| self.cases > 0);
        let count = asked.unwrap_or(self.cases);
        let base = self.seed.unwrap_or_else(|| getrandom::u64().expect("the system has random numbers"));
        for number in 0..count {
            let mut seed = Digest::new();
            seed.mix(base);
            seed.mix(u64::from(number));
            self.try_seed(seed.value(), false)?;
            cases += 1;
        }
        let coverage = self.covered();
        match coverage.lacks(&self.demand) {
            Some(lacks) => Err(PropertyError::NotCovered { cases, coverage: Box::new(coverage), lacks }),
            None => Ok(Report { cases, coverage }),
        }
    }

    fn covered(&self) -> Coverage {
        self.coverage.coverage(&self.scene.catalogue)
    }

    /// Tries what earlier runs kept. Says how many cases that were.
    fn try_kept(&mut self) -> Result<u32, PropertyError> {
        let Some(file) = self.places.kept.clone() else { return Ok(0) };
        let mut cases = 0;
        for kept in kept::load(&file, &self.places.property).map_err(PropertyError::Kept)? {
            let Some((case, seed)) = kept.case(self.types()) else {
                let (file, seed) = (file.display(), kept.seed);
                println!("{file}: the case of seed {seed} is of other types than there are now, and is passed over");
                continue;
            };
            cases += 1;
            // What differs from run to run may not differ in the first.
            for _ in 0..Claim::IsDeterministic.runs() {
                self.try_case(Drawn::of_kept(case.clone()), seed, true)?;
            }
            // In what a message differed before it was bytes, its bytes can't tell.
            self.try_seed(seed, true)?;
        }
        Ok(cases)
    }

    fn try_seed(&mut self, seed: u64, was_kept: bool) -> Result<(), PropertyError> {
        let drawn = self.sources.draw(seed);
        let drawn = drawn.map_err(|reason| PropertyError::NothingDrawn(reason.to_string()))?;
        self.try_case(drawn, seed, was_kept)
    }

    fn try_case(&mut self, drawn: Drawn, seed: u64, was_kept: bool) -> Result<(), PropertyError> {
        let case = drawn.case();
        let mut course = course::run(&self.scene, &case);
        let Some(failure) = course.failure.take() else {
            self.coverage.count(&course);
            return Ok(());
        };
        let inputs = case.inputs.len();
        let first = shrink::Broken { case, course, failure, tries: 0 };
        let smallest = shrink(drawn, first, &|case| course::run(&self.scene, case));
        Err(PropertyError::Broken(Box::new(self.broken(smallest, seed, was_kept, inputs))))
    }

    /// Tells of a case that breaks a claim; saves and keeps it.
    fn broken(&self, smallest: shrink::Broken, seed: u64, was_kept: bool, drawn: usize) -> Broken {
        let shrink::Broken { case, course, failure, tries } = smallest;
        let Places { property, kind, .. } = &self.places;
        let inputs = explain::inputs(&self.scene, &course);
        Broken {
            property: property.clone(),
            kind: (*kind).to_owned(),
            course: explain::lines(&self.scene, &course),
            seed,
            was_kept,
            shrunk: (drawn, tries),
            command: self.places.command(seed),
            journal: self.save(seed, &course),
            kept: self.keep(&case, seed, &failure.claim, inputs.clone()),
            claim: failure.claim,
            what: failure.what,
            inputs,
        }
    }

    fn save(&self, seed: u64, course: &Course) -> Result<PathBuf, String> {
        let dir = self.places.journal(seed);
        let saved = saved::save(&dir, &self.places.property, seed, &self.scene, course);
        saved.map_err(|error| error.to_string())?;
        Ok(fs::canonicalize(&dir).unwrap_or(dir))
    }

    fn keep(&self, case: &Case, seed: u64, claim: &Claim, inputs: Vec<String>) -> Result<PathBuf, String> {
        let Some(file) = &self.places.kept else { return Err("there is no source file to keep it beside".to_owned()) };
        let kept = Kept::new(&self.places.property, seed, self.types(), case, claim.to_string(), inputs);
        kept::keep(file, &kept).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file.clone())
    }

    /// The forms of all types that are in a case, in a number.
    fn types(&self) -> u64 {
        let table = self.scene.catalogue.table();
        let kind = &table.kinds[self.scene.kind as usize];
        let mut digest = Digest::new();
        digest.mix(kind.value.hash);
        digest.mix(table.messages[kind.message as usize].schema.hash);
        for (number, _) in &self.scene.answers {
            digest.mix(table.messages[*number as usize].schema.hash);
        }
        digest.value()
    }
}
