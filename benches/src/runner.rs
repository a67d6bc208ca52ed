//! Runs a suite: a process for each run of each system, all of a family of cases in turns; medians, rows, output.
//!
//! The processes run one after another and this one only waits for them, so nothing here takes a core from what is measured.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    iter,
    path::{Path, PathBuf},
    process::{self, Stdio},
    thread,
    time::Duration,
};

use clap::Args;

use crate::{
    plan::{Failure, Figures, Group, Job, LimitIs, Suite},
    plot,
    progress::Progress,
    row::{Row, rounded, spread},
    table,
};

/// How many runs a median is of.
const RUNS: usize = 7;
/// How many it is of for a look.
const RUNS_QUICK: usize = 3;
/// After how long a run has hung.
const RUN_MAX: Duration = Duration::from_secs(180);

/// What each suite's command takes.
#[derive(Debug, Args)]
pub struct Options {
    /// Print one JSON object a line in place of the table.
    #[arg(long)]
    json: bool,
    /// Only this case, such as `fan-in-4`, or this family of cases, such as `fan-in`.
    #[arg(long, value_name = "CASE")]
    only: Option<String>,
    /// A look in under a minute: shorter and fewer runs, 16-byte payloads, fewer sizes.
    #[arg(long)]
    quick: bool,
    /// Draw what was measured into this directory, as SVG; for suites that have pictures.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

/// Measures a suite, or what was chosen of it, and prints the rows.
///
/// # Errors
/// When there is no such case, or a run fails.
pub fn run<S: Suite>(options: &Options) -> Result<(), Failure> {
    let groups = chosen(S::plan(options.quick), options.only.as_deref())?;
    if cfg!(debug_assertions) {
        eprintln!("qnfsm-bench: this is a debug build; its figures mean nothing. Build with --release");
    }
    if options.plots.is_some() && S::plots().is_empty() {
        return Err(format!("the suite {} has no pictures; leave `--plots` out", S::NAME).into());
    }
    let program = std::env::current_exe()?;
    let runs_of = |family: &str| S::runs_max(family).min(if options.quick { RUNS_QUICK } else { RUNS });
    let mut progress = Progress::new(groups.iter().map(|group| group.subjects.len() * runs_of(group.family)).sum());
    let mut case = String::new();
    let mut measured = Vec::new();
    for family in groups.chunk_by(|group, next| group.family == next.family) {
        let figures = figures_of::<S>(family, runs_of(family[0].family), options.quick, &program, &mut progress)?;
        progress.clear();
        let mut out = io::stdout().lock();
        for (group, figures) in family.iter().zip(&figures) {
            let rows = rows::<S>(group, figures);
            if options.json {
                for row in &rows {
                    writeln!(out, "{}", serde_json::to_string(row)?)?;
                }
            } else {
                if case != group.case {
                    case.clone_from(&group.case);
                    write!(out, "{}", table::head(&group.case))?;
                }
                write!(out, "{}", table::body(&rows))?;
            }
            measured.extend(rows.iter().map(plot::Measured::from));
        }
        out.flush()?;
    }
    match &options.plots {
        Some(dir) => plot::say_drawn(&plot::draw(S::NAME, &S::plots(), &measured, dir)?),
        None => Ok(()),
    }
}

/// What was found of each group and each of its subjects, run by run.
///
/// All of a family take turns: on a machine that is slower at one time than at another, neither the systems of a case nor the
/// points of a curve are of different times.
fn figures_of<S: Suite>(
    family: &[Group],
    runs: usize,
    quick: bool,
    program: &Path,
    progress: &mut Progress,
) -> Result<Vec<Vec<Vec<Figures>>>, Failure> {
    let jobs: Vec<_> = family.iter().map(|group| jobs_of::<S>(group, quick)).collect();
    let none = |jobs: &Vec<Job>| vec![Vec::with_capacity(runs); jobs.len()];
    let mut figures: Vec<_> = jobs.iter().map(none).collect();
    for run in 1..=runs {
        for ((group, jobs), figures) in family.iter().zip(&jobs).zip(&mut figures) {
            for (job, figures) in jobs.iter().zip(figures) {
                let Job { case, class, system, recording, payload_bytes, .. } = job;
                progress.at(&format!("{case} {class} {payload_bytes} B, {system} {recording}"));
                let found = in_a_process(program, job)?;
                if found.also.len() != group.also.len() {
                    let expected = group.also.join(", ");
                    return Err(format!("a run of {case} is to find {expected} too, and found {found:?}").into());
                }
                figures.push(found);
                progress.one_done();
            }
            progress.now_and_then(&format!(
                "{} {} {} B, run {run} of {runs}",
                jobs[0].case, jobs[0].class, jobs[0].payload_bytes
            ));
        }
    }
    Ok(figures)
}

/// Does one job in this process, and prints what it found.
///
/// # Errors
/// As `measure`.
pub fn run_one(job: &Job, measure: impl FnOnce(&Job) -> Result<Figures, Failure>) -> Result<(), Failure> {
    thread::spawn(|| {
        thread::sleep(RUN_MAX);
        eprintln!("qnfsm-bench: not done after {} s", RUN_MAX.as_secs());
        process::exit(2);
    });
    println!("{}", serde_json::to_string(&measure(job)?)?);
    Ok(())
}

fn chosen(groups: Vec<Group>, only: Option<&str>) -> Result<Vec<Group>, Failure> {
    let Some(only) = only else { return Ok(groups) };
    let cases: BTreeSet<String> =
        groups.iter().flat_map(|group| [group.case.clone(), group.family.to_owned()]).collect();
    let chosen: Vec<_> = groups.into_iter().filter(|group| group.case == only || group.family == only).collect();
    if chosen.is_empty() {
        let cases = cases.into_iter().collect::<Vec<_>>().join(", ");
        return Err(format!("there is no case {only}; there are {cases}").into());
    }
    Ok(chosen)
}

fn jobs_of<S: Suite>(group: &Group, quick: bool) -> Vec<Job> {
    let jobs = group.subjects.iter().map(|subject| Job {
        suite: S::NAME.to_owned(),
        case: group.case.clone(),
        class: group.class,
        system: subject.name.to_owned(),
        recording: subject.recording,
        payload_bytes: group.payload_bytes,
        quick,
    });
    jobs.collect()
}

fn in_a_process(program: &Path, job: &Job) -> Result<Figures, Failure> {
    let arguments = job.arguments();
    let alone = || format!("{} {}", program.display(), arguments.join(" "));
    let mut command = process::Command::new(program);
    let run = command.args(&arguments).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        return Err(format!("a run failed ({}): {}\nto run it alone: {}", run.status, said.trim(), alone()).into());
    }
    serde_json::from_slice(&run.stdout)
        .map_err(|error| format!("a run printed no figures: {error}: {}", alone()).into())
}

fn rows<S: Suite>(group: &Group, figures: &[Vec<Figures>]) -> Vec<Row> {
    // The first value of each run is in the group's unit, and those that follow in its further ones.
    let units = iter::once(&group.unit).chain(group.also).copied().enumerate();
    let values = |subject: usize, at: usize| {
        let of_runs = figures[subject].iter();
        of_runs.map(move |of_run| at.checked_sub(1).map_or(of_run.value, |further| of_run.also[further]))
    };
    let median = |subject: usize, at: usize| spread(values(subject, at))[0];
    let row = |subject: usize, spread: [f64; 3], unit, limit: Option<f64>| {
        let of = &group.subjects[subject];
        let [value, min, max] = spread;
        Row {
            suite: S::NAME,
            case: group.case.clone(),
            class: group.class,
            system: of.system,
            version: of.version.clone(),
            recording: of.recording,
            payload_bytes: group.payload_bytes,
            value: rounded(value),
            min: rounded(min),
            max: rounded(max),
            unit,
            runs: figures[subject].len(),
            limit: limit.map(rounded),
            ratio: limit.filter(|limit| *limit > 0.0).map(|limit| rounded(value / limit)),
        }
    };
    let mut rows = Vec::new();
    for ((at, unit), (subject, of)) in units.flat_map(|unit| iter::repeat(unit).zip(group.subjects.iter().enumerate()))
    {
        let limit = match of.limit {
            LimitIs::Nothing => None,
            LimitIs::Subject(limit) => Some(median(limit, at)),
            LimitIs::OfItsOwnRun => {
                let limits: Vec<f64> = figures[subject].iter().filter_map(|of_run| of_run.limit).collect();
                (!limits.is_empty()).then(|| spread(limits)[0])
            }
        };
        rows.push(row(subject, spread(values(subject, at)), unit, limit));
        if let (Some(unit), LimitIs::Subject(limit), 0) = (group.more_than_limit, of.limit, at) {
            let more = values(subject, at).zip(values(limit, at)).map(|(value, limit)| value - limit);
            rows.push(row(subject, spread(more), unit, None));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Class, Recording, Subject};

    struct Percentiles;

    impl Suite for Percentiles {
        const NAME: &'static str = "percentiles";

        fn plan(_quick: bool) -> Vec<Group> {
            let subject =
                |name, limit| Subject { name, system: name, version: "1".to_owned(), recording: Recording::Off, limit };
            vec![Group {
                case: "trip".to_owned(),
                family: "trip",
                class: Class::OneThread,
                payload_bytes: 16,
                unit: "ns p50",
                also: &["ns p99"],
                subjects: vec![subject("ours", LimitIs::Subject(1)), subject("bare", LimitIs::Nothing)],
                more_than_limit: None,
            }]
        }

        fn measure(job: &Job) -> Result<Figures, Failure> {
            let value = if job.system == "ours" { 20.0 } else { 10.0 };
            Ok(Figures { value, also: vec![value * value], limit: None })
        }
    }

    #[test]
    fn each_further_value_is_a_row_that_is_held_against_the_same_of_the_limit() {
        let group = &Percentiles::plan(false)[0];
        let jobs = jobs_of::<Percentiles>(group, false);
        let figures = jobs.iter().map(|job| vec![Percentiles::measure(job).expect("measured"); 3]);
        let rows = rows::<Percentiles>(group, &figures.collect::<Vec<_>>());
        let rows = rows.iter().map(|row| (row.unit, row.system, row.value, row.limit, row.ratio));
        let expected = [
            ("ns p50", "ours", 20.0, Some(10.0), Some(2.0)),
            ("ns p50", "bare", 10.0, None, None),
            ("ns p99", "ours", 400.0, Some(100.0), Some(4.0)),
            ("ns p99", "bare", 100.0, None, None),
        ];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }
}
