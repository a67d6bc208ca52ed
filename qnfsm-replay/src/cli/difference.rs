//! A difference as the subcommand `diff` shows it, in text and as JSON: between a program and a record, or between two records.

use serde::Serialize;

use super::step::StepText;
use crate::{
    Session,
    compare::{Apart, Spot},
    debug::asked_text,
    dump::Tables,
    session::{Difference, Hint, Part, PartOf, Parted},
};

/// The most characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 200;

#[derive(Serialize)]
pub(super) struct DifferenceView {
    worker: u32,
    round: u64,
    ordinal: u64,
    agreed_round: Option<u64>,
    /// The round in which it begins, as far as is known.
    begins_round: u64,
    begins_ordinal: u64,
    /// The delivery that the first pass named, where each was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_delivery: Option<String>,
    file: String,
    offset: u64,
    expected: String,
    found: String,
    /// The step's own round: what is known by two plays may have begun before it shows.
    step_round: Option<u64>,
    step_ordinal: Option<u64>,
    step: Option<usize>,
    delivery: Option<u32>,
    queue: Option<String>,
    kind: Option<String>,
    message: Option<String>,
    known_by: String,
    /// The other steps that may have led there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<OtherView>,
    /// True if it may have begun before, in what wasn't recorded.
    may_have_begun_before: bool,
    parts: Vec<PartView>,
    hints: Vec<String>,
    #[serde(flatten)]
    between: Option<BetweenView>,
    /// The step in words.
    #[serde(skip)]
    words: String,
}

/// What there is to say where two journals part.
#[derive(Serialize)]
struct BetweenView {
    differs_in: String,
    /// `first` or `other`, if the one has what the other misses.
    #[serde(skip_serializing_if = "Option::is_none")]
    only_in: Option<&'static str>,
    /// Which frame, or which delivery.
    of: Option<String>,
    other_file: String,
    other_offset: u64,
    other_round: u64,
    other_ordinal: u64,
    /// The last step of the round in which they agreed last, in words.
    agreed_step: Option<String>,
}

/// A step that may have led to a difference as well.
#[derive(Serialize)]
struct OtherView {
    round: u64,
    ordinal: u64,
    step: usize,
    delivery: u32,
    queue: String,
    kind: String,
    parts: Vec<PartView>,
    #[serde(skip)]
    words: String,
}

#[derive(Serialize)]
struct PartView {
    of: String,
    path: String,
    /// What the handler asked for there, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<String>,
    recorded: Option<String>,
    found: Option<String>,
    again: Option<String>,
}

impl PartView {
    fn new(part: &Part, asked: Option<String>) -> PartView {
        let value =
            |content: &Option<qnfsm::schema::Content>| content.as_ref().map(|content| content.text(VALUE_CHARS_MAX));
        PartView {
            of: of_text(part.of),
            path: part.path.to_string(),
            asked,
            recorded: value(&part.recorded),
            found: value(&part.found),
            again: value(&part.again),
        }
    }
}

fn of_text(of: PartOf) -> String {
    match of {
        PartOf::Message => "the message".to_owned(),
        PartOf::State => "the state after it".to_owned(),
        PartOf::Data => "the data after it".to_owned(),
        PartOf::Asked(number) => format!("what it asked for, {}", number + 1),
        PartOf::Output(queue) => format!("what it sent to {queue}"),
        PartOf::Input => "what entered".to_owned(),
    }
}

/// The parts of a step, each with what the handler asked for where it is of that.
fn parts_of(parted: &Parted, session: &Session) -> Vec<PartView> {
    let tables = Tables::new(session.catalogue().table().clone());
    let asked = |of: PartOf| match of {
        PartOf::Asked(number) => Some(match parted.step.asked.get(number) {
            Some(wish) => asked_text(&tables, wish, VALUE_CHARS_MAX),
            None => "nothing, where it once asked for more".to_owned(),
        }),
        _ => None,
    };
    parted.parts.iter().map(|part| PartView::new(part, asked(part.of))).collect()
}

impl OtherView {
    fn new(parted: &Parted, session: &Session) -> OtherView {
        let words = StepText { step: &parted.step, catalogue: session.catalogue() };
        OtherView {
            round: parted.round,
            ordinal: parted.ordinal,
            step: parted.number,
            delivery: parted.step.delivery,
            queue: parted.step.queue.to_string(),
            kind: words.kind(),
            parts: parts_of(parted, session),
            words: words.to_string(),
        }
    }
}

impl DifferenceView {
    /// Where the program of a session parts from its record.
    pub(super) fn of(difference: &Difference, session: &Session) -> DifferenceView {
        let Difference { diverged, ordinal, begins, agreed, step, others, may_have_begun_before, found_by, hints } =
            difference;
        let divergence = &diverged.divergence;
        let view = DifferenceView {
            worker: divergence.worker.0,
            round: divergence.round,
            ordinal: *ordinal,
            agreed_round: *agreed,
            begins_round: begins.1,
            begins_ordinal: begins.0,
            recorded_delivery: divergence.delivery.clone(),
            file: diverged.file.display().to_string(),
            offset: diverged.offset,
            expected: divergence.expected.clone(),
            found: divergence.found.clone(),
            step_round: None,
            step_ordinal: None,
            step: None,
            delivery: None,
            queue: None,
            kind: None,
            message: None,
            known_by: found_by.to_string(),
            parts: Vec::new(),
            others: Vec::new(),
            may_have_begun_before: *may_have_begun_before,
            hints: hints.iter().map(Hint::to_string).collect(),
            between: None,
            words: String::new(),
        };
        let others = others.iter().map(|step| OtherView::new(step, session)).collect();
        DifferenceView { others, ..view.with_step(step.as_ref(), Some(session)) }
    }

    /// Where two journals part. With a session of the first one, if there is one, by which the step is shown; and the last step in which they agreed.
    pub(super) fn between(apart: &Apart, session: Option<&Session>, agreed_step: Option<String>) -> DifferenceView {
        let Apart { worker, at: [at, other], agreed, aspect, only_in, what, expected, found, parts, step, found_by } =
            apart;
        let Spot { file, offset, round, ordinal } = at;
        let view = DifferenceView {
            worker: worker.0,
            round: *round,
            ordinal: *ordinal,
            agreed_round: *agreed,
            begins_round: *round,
            begins_ordinal: *ordinal,
            recorded_delivery: None,
            file: file.display().to_string(),
            offset: *offset,
            expected: expected.clone(),
            found: found.clone(),
            step_round: None,
            step_ordinal: None,
            step: None,
            delivery: None,
            queue: None,
            kind: None,
            message: None,
            known_by: found_by.to_string(),
            parts: parts.iter().map(|part| PartView::new(part, None)).collect(),
            others: Vec::new(),
            may_have_begun_before: false,
            hints: Vec::new(),
            between: Some(BetweenView {
                differs_in: aspect.to_string(),
                only_in: only_in.map(|side| ["first", "other"][side]),
                of: what.clone(),
                other_file: other.file.display().to_string(),
                other_offset: other.offset,
                other_round: other.round,
                other_ordinal: other.ordinal,
                agreed_step,
            }),
            words: String::new(),
        };
        view.with_step(step.as_ref(), session)
    }

    fn with_step(mut self, parted: Option<&Parted>, session: Option<&Session>) -> DifferenceView {
        let (Some(parted), Some(session)) = (parted, session) else { return self };
        let words = StepText { step: &parted.step, catalogue: session.catalogue() };
        if parted.ordinal < self.begins_ordinal {
            (self.begins_ordinal, self.begins_round) = (parted.ordinal, parted.round);
        }
        self.step_round = Some(parted.round);
        self.step_ordinal = Some(parted.ordinal);
        self.step = Some(parted.number);
        self.delivery = Some(parted.step.delivery);
        self.queue = Some(parted.step.queue.to_string());
        self.kind = Some(words.kind());
        self.message = words.message();
        self.words = words.to_string();
        self.parts = parts_of(parted, session);
        self
    }

    pub(super) fn text(&self) -> String {
        let DifferenceView { worker, round, ordinal, file, offset, expected, found, .. } = self;
        let mut text = match &self.between {
            None => format!(
                "w{worker} parts from the record in round {round} (round {ordinal} of the journal)\n  \
                 recorded: {file} at byte {offset}\n"
            ),
            Some(BetweenView { differs_in, only_in, other_file, other_offset, other_round, other_ordinal, .. }) => {
                let spot = |round, ordinal| format!("round {round} (round {ordinal} of the journal)");
                let (first, other) = (spot(round, ordinal), spot(other_round, other_ordinal));
                let spots = match only_in {
                    None => format!("in {first}; in the other one it is {other}"),
                    Some("first") => format!("in {first}; the other one went on without it, to {other}"),
                    Some(_) => format!("in {other} of the other one; the first went on without it, to {first}"),
                };
                format!(
                    "w{worker} parts in {differs_in}, {spots}\n  first:    {file} at byte {offset}\n  other:    {other_file} at byte {other_offset}\n"
                )
            }
        };
        match self.agreed_round {
            Some(agreed) => text.push_str(&format!("  agreed:   up to its round {agreed}\n")),
            None if self.between.is_some() => text.push_str("  agreed:   in nothing of that before\n"),
            None if self.may_have_begun_before => text.push_str("  agreed:   in nothing that is known\n"),
            None => text.push_str("  agreed:   in nothing: it is the first of its rounds\n"),
        }
        if self.begins_ordinal < self.ordinal {
            let (round, ordinal) = (self.begins_round, self.begins_ordinal);
            text.push_str(&format!(
                "  began:    in its round {round} (round {ordinal} of the journal), before it showed\n"
            ));
        }
        if let Some(step) = self.between.as_ref().and_then(|between| between.agreed_step.as_ref()) {
            text.push_str("  whose last step was\n");
            step.lines().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
        if let Some(of) = self.between.as_ref().and_then(|between| between.of.as_ref()) {
            text.push_str(&format!("  at:       {of}\n"));
        }
        text.push_str(&format!("  expected: {expected}\n  found:    {found}\n"));
        if let (Some(delivery), None) = (&self.recorded_delivery, self.step) {
            text.push_str(&format!("  delivery: {delivery}\n"));
        }
        text.push_str(&self.words);
        self.parts.iter().for_each(|part| self.part(part, &mut text));
        for other in &self.others {
            let OtherView { round, ordinal, words, parts, .. } = other;
            text.push_str(&format!("  or it is, in its round {round} (round {ordinal} of the journal)\n{words}"));
            parts.iter().for_each(|part| self.part(part, &mut text));
        }
        // What is read in both isn't known by anything else.
        if self.between.is_none() || self.step.is_some() {
            text.push_str(&format!("  known by: {}\n", self.known_by));
        }
        if self.may_have_begun_before {
            text.push_str(
                "  before:   it may have begun earlier: data were not recorded, and a round's digest doesn't tell of them; \
                 record with `Recording::Everything` to be told\n",
            );
        }
        self.hints.iter().for_each(|hint| text.push_str(&format!("  hint:     {hint}\n")));
        text
    }

    fn part(&self, part: &PartView, text: &mut String) {
        let PartView { of, path, asked, recorded, found, again } = part;
        let at = if path.is_empty() { String::new() } else { format!(", {path}") };
        let asked = asked.as_ref().map_or_else(String::new, |asked| format!(": {asked}"));
        text.push_str(&format!("  differs:  {of}{at}{asked}\n"));
        let labels = match self.between {
            Some(_) => ["first", "other", "once more"],
            None => ["recorded", "now", "once more"],
        };
        for (label, value) in labels.into_iter().zip([recorded, found, again]) {
            if let Some(value) = value {
                text.push_str(&format!("    {label:<10} {value}\n"));
            }
        }
    }
}
