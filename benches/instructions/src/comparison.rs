//! What is made of two sets of counts: a table, and a verdict.

use std::fmt;

use crate::{baseline::Baseline, callgrind::Counts};

/// A change of so much is told; a rise of so much fails. In percent.
const TOLD_PERCENT: f64 = 2.0;

/// Whether a change may go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No path takes much more than before.
    Fine,
    /// One does.
    Rise,
}

/// Counts of before and of now, by path.
pub struct Comparison(Vec<Row>);

struct Row {
    path: String,
    before: Option<f64>,
    now: Option<f64>,
}

/// By how much a count changed.
#[must_use]
pub fn change_percent(before: f64, now: f64) -> f64 {
    (now - before) / before * 100.0
}

impl Row {
    fn change_percent(&self) -> Option<f64> {
        Some(change_percent(self.before?, self.now?))
    }

    /// A path that the baseline doesn't have is as bad as a rise: nobody said what it may take.
    fn is_rise(&self) -> bool {
        self.now.is_some() && self.change_percent().is_none_or(|change| change > TOLD_PERCENT)
    }

    fn note(&self) -> &'static str {
        match self.change_percent() {
            None if self.before.is_none() => "not in the baseline",
            None => "no longer there: accept a baseline without it",
            Some(change) if change > TOLD_PERCENT => "RISE",
            Some(change) if change < -TOLD_PERCENT => "fall: accept it, so that it isn't lost again",
            Some(_) => "",
        }
    }
}

impl Comparison {
    /// Compares.
    #[must_use]
    pub fn of(baseline: &Baseline, counts: &Counts) -> Comparison {
        let now = |path: &str| counts.iter().find(|(of, _)| *of == path).map(|(_, count)| count);
        let known = baseline.paths.iter().map(|(path, entry)| Row {
            path: path.clone(),
            before: Some(entry.instructions),
            now: now(path),
        });
        let new = counts.iter().filter(|(path, _)| !baseline.paths.contains_key(*path));
        let new = new.map(|(path, count)| Row { path: path.to_owned(), before: None, now: Some(count) });
        Comparison(known.chain(new).collect())
    }

    /// Whether the change may go in.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.0.iter().any(Row::is_rise) { Verdict::Rise } else { Verdict::Fine }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<f64>| number.map_or("-".to_owned(), |number| format!("{number:.2}"));
        writeln!(f, "{:<10} {:>12} {:>12} {:>10}", "path", "baseline", "now", "change")?;
        for row in &self.0 {
            let change = row.change_percent().map_or("-".to_owned(), |change| format!("{change:+.2} %"));
            let line = format!(
                "{:<10} {:>12} {:>12} {change:>10}  {}",
                row.path,
                number(row.before),
                number(row.now),
                row.note()
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::{Entry, Setting};

    fn verdict(before: f64, now: f64) -> Verdict {
        let entry = Entry { instructions: before, reason: "a test".to_owned() };
        let baseline = Baseline { setting: Setting::default(), paths: [("deliver".to_owned(), entry)].into() };
        Comparison::of(&baseline, &Counts::new([("deliver".to_owned(), now)])).verdict()
    }

    #[test]
    fn a_rise_over_two_percent_fails_and_a_fall_does_not() {
        assert_eq!(verdict(100.0, 102.1), Verdict::Rise);
        assert_eq!(verdict(100.0, 101.9), Verdict::Fine);
        assert_eq!(verdict(100.0, 50.0), Verdict::Fine);
    }

    #[test]
    fn a_path_that_the_baseline_does_not_have_fails() {
        let counts = Counts::new([("new".to_owned(), 1.0)]);
        assert_eq!(Comparison::of(&Baseline::default(), &counts).verdict(), Verdict::Rise);
    }

    #[test]
    fn a_reason_stays_until_its_count_changes() {
        let first = Baseline::default().accepting(
            &Counts::new([("a".to_owned(), 100.0), ("b".to_owned(), 100.0)]),
            Setting::default(),
            "first",
        );
        let counts = Counts::new([("a".to_owned(), 100.01), ("b".to_owned(), 90.0)]);
        let second = first.accepting(&counts, Setting::default(), "second");
        let of = |path: &str| (second.paths[path].reason.as_str(), second.paths[path].instructions);
        assert_eq!((of("a"), of("b")), (("first", 100.0), ("second", 90.0)));
    }
}
