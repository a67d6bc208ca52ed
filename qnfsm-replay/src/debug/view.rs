//! What a debugger shows, by the names of its parts: what a text is written from, and a JSON object. [`text`](super::text) puts it in words.
//!
//! Values are shown through printers alone, so what a secret holds isn't in it.

use qnfsm::schema::{Content, Printer};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{
    dump::{Instant, Number, Value},
    nodes::{NodeCause, Whence},
    session::Spot,
};

/// Something that is shown, as one line of JSON or as text.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(super) enum View {
    /// The step, wholly.
    Step(Box<StepView>),
    /// Its place.
    Where(SpotView),
    /// A round without a step.
    NoStep { at: SpotView },
    /// The journal has no round.
    NoRound,
    /// How it was come to.
    Arrived { by: String, stop: Option<usize>, expression: Option<String>, step: Box<View> },
    /// The stops.
    Stops { stops: Vec<StopView> },
    /// What led to the step.
    Causes { causes: Vec<CauseView>, more: bool },
    /// An FSM's state and data.
    State { queue: String, kind: String, state: Option<Shown>, data: Shown },
    /// What this step asked for.
    Sent {
        asked: Vec<AskedView>,
        #[serde(skip)]
        more: usize,
    },
    /// What a round was fed with, or put out.
    Frames {
        direction: &'static str,
        frames: Vec<Shown>,
        #[serde(skip)]
        more: usize,
    },
    /// The FSMs of a worker.
    Fsms {
        worker: u32,
        after_round: Number,
        /// The round is under way, and this is after that of its steps, of so many.
        #[serde(skip_serializing_if = "Option::is_none")]
        after_step: Option<(usize, usize)>,
        fsms: Vec<FsmRow>,
        #[serde(skip)]
        more: usize,
    },
    /// Lines as `dump` has them: an FSM, and what waits for it.
    Fsm {
        lines: Vec<Shown>,
        #[serde(skip)]
        more: usize,
    },
    /// The kinds of a program.
    Kinds { kinds: Vec<KindView> },
    /// The fields of one kind.
    Kind(Box<KindFields>),
    /// A sentence.
    Said { text: String },
}

impl View {
    /// What fits into so many lines of text. Of lists it is told how many lines are left out.
    pub(super) fn at_most(self, lines_max: usize, chars_max: usize) -> View {
        fn cut<T>(mut list: Vec<T>, lines_max: usize) -> (Vec<T>, usize) {
            let more = list.len().saturating_sub(lines_max);
            list.truncate(lines_max);
            (list, more)
        }
        match self {
            View::Step(mut step) => {
                step.cut_values(chars_max);
                View::Step(Box::new(StepView { in_debugger: true, ..step.at_most(lines_max * 2 / 3, lines_max / 3) }))
            }
            View::Arrived { by, stop, expression, step } => {
                View::Arrived { by, stop, expression, step: Box::new(step.at_most(lines_max, chars_max)) }
            }
            View::Sent { asked, .. } => {
                let (asked, more) = cut(asked, lines_max);
                View::Sent { asked, more }
            }
            View::Frames { direction, frames, .. } => {
                let (frames, more) = cut(frames, lines_max);
                View::Frames { direction, frames, more }
            }
            View::Fsm { lines, .. } => {
                let (lines, more) = cut(lines, lines_max);
                View::Fsm { lines, more }
            }
            View::Fsms { worker, after_round, after_step, fsms, .. } => {
                let (fsms, more) = cut(fsms, lines_max);
                View::Fsms { worker, after_round, after_step, fsms, more }
            }
            other => other,
        }
    }
}

/// A value, in both forms.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) text: String,
    json: Box<RawValue>,
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl Shown {
    /// Cuts its text.
    fn cut(&mut self, chars_max: usize) {
        if let Some((end, _)) = self.text.char_indices().nth(chars_max) {
            self.text.truncate(end);
            self.text.push('…');
        }
    }

    pub(super) fn new(text: String, json: String) -> Shown {
        let json = RawValue::from_string(json).expect("printers write well-formed JSON");
        Shown { text, json }
    }

    pub(super) fn value(value: &Value<'_>) -> Shown {
        Shown::new(value.text(), value.json())
    }

    pub(super) fn bytes(printer: Option<&Printer>, bytes: &[u8], chars_max: usize) -> Shown {
        Shown::value(&Value::new(printer, bytes, chars_max))
    }

    pub(super) fn content(content: &Content, chars_max: usize) -> Shown {
        Shown::new(content.text(chars_max), content.json(chars_max))
    }
}

/// Where a session stands.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SpotView {
    pub(super) ordinal: Number,
    pub(super) rounds: Number,
    pub(super) worker: u32,
    pub(super) round: Number,
    /// From 1.
    pub(super) step: usize,
    pub(super) steps: usize,
    pub(super) time: Instant,
    pub(super) segment: Number,
    pub(super) offset: Number,
}

impl SpotView {
    pub(super) fn new(spot: &Spot, rounds: u64) -> SpotView {
        SpotView {
            ordinal: Number(spot.ordinal),
            rounds: Number(rounds),
            worker: spot.worker.0,
            round: Number(spot.round),
            step: (spot.step + 1).min(spot.steps),
            steps: spot.steps,
            time: Instant(spot.now),
            segment: Number(spot.position.segment),
            offset: Number(spot.position.offset),
        }
    }
}

/// A step.
#[derive(Debug, Serialize)]
pub(super) struct StepView {
    /// Unless it is told otherwise where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<SpotView>,
    pub(super) queue: String,
    pub(super) kind: String,
    pub(super) handler: &'static str,
    pub(super) message: Option<MessageView>,
    pub(super) state_before: Option<Shown>,
    pub(super) state_after: Option<Shown>,
    pub(super) changed: Vec<ChangeView>,
    pub(super) changed_more: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) changed_note: Option<String>,
    pub(super) asked: Vec<AskedView>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) asked_more: usize,
    /// It is told by which of a debugger's commands the rest is seen.
    #[serde(skip)]
    pub(super) in_debugger: bool,
    pub(super) ended: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<String>,
}

impl StepView {
    /// With so many fields that changed, and things that were asked for, at most; of the rest it is told how many there are.
    pub(super) fn at_most(mut self, changed_max: usize, asked_max: usize) -> StepView {
        self.changed_more += self.changed.len().saturating_sub(changed_max);
        self.changed.truncate(changed_max);
        self.asked_more += self.asked.len().saturating_sub(asked_max);
        self.asked.truncate(asked_max);
        self
    }

    /// Cuts the texts of values in lists.
    fn cut_values(&mut self, chars_max: usize) {
        let changed = self.changed.iter_mut().flat_map(|change| [&mut change.before, &mut change.after]);
        let asked = self.asked.iter_mut().map(|asked| &mut asked.value);
        changed.chain(asked).flatten().for_each(|shown| shown.cut(chars_max));
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A message that was handled.
#[derive(Debug, Serialize)]
pub(super) struct MessageView {
    pub(super) of: String,
    pub(super) value: Shown,
    pub(super) from: String,
    pub(super) came: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) beats: Option<Number>,
}

/// A field that changed.
#[derive(Debug, Serialize)]
pub(super) struct ChangeView {
    pub(super) path: String,
    pub(super) before: Option<Shown>,
    pub(super) after: Option<Shown>,
}

/// Something that a handler asked for.
#[derive(Debug, Default, Serialize)]
pub(super) struct AskedView {
    pub(super) ask: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) worker: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deadline: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) every_ns: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Shown>,
}

/// A stop.
#[derive(Debug, Serialize)]
pub(super) struct StopView {
    pub(super) number: usize,
    pub(super) expression: String,
}

/// One step on the way back.
#[derive(Debug, Serialize)]
pub(super) struct CauseView {
    /// The node, where several are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<u32>,
    pub(super) ordinal: Number,
    pub(super) worker: u32,
    pub(super) round: Number,
    /// From 1.
    pub(super) step: usize,
    pub(super) queue: String,
    pub(super) kind: String,
    pub(super) handler: &'static str,
    pub(super) message: Option<MessageView>,
    /// Where that comes from: `step`, `outside` or `unknown`.
    pub(super) origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<Number>,
    /// Of one that came from another node that is looked at: where it was put out there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) came: Option<CameView>,
}

/// Where another node put something out.
#[derive(Debug, Serialize)]
pub(super) struct CameView {
    /// `sent`, `doubled`, `alike` or `not_shown`.
    pub(super) whence: &'static str,
    pub(super) node: u32,
    pub(super) sender: String,
    /// Its worker and round there, if they are known.
    pub(super) worker: Option<u32>,
    pub(super) round: Option<Number>,
}

impl CauseView {
    /// Names the node, and the one from which it came.
    pub(super) fn of_node(self, cause: &NodeCause) -> CauseView {
        let came = cause.came.map(|came| {
            let whence = match came.whence {
                Whence::Sent(_) => "sent",
                Whence::Doubled(_) => "doubled",
                Whence::Alike => "alike",
                Whence::NotShown => "not_shown",
            };
            let (worker, round) = came.whence.sending().map(|it| (it.worker.0, Number(it.round))).unzip();
            CameView { whence, node: came.sender.node().0, sender: came.sender.to_string(), worker, round }
        });
        CauseView { node: Some(cause.node.0), came, ..self }
    }
}

/// An FSM in a list.
#[derive(Debug, Serialize)]
pub(super) struct FsmRow {
    pub(super) queue: String,
    pub(super) kind: String,
    pub(super) state: Option<Shown>,
    pub(super) waiting: usize,
    pub(super) timers: usize,
    pub(super) requests: usize,
}

/// A kind in a list.
#[derive(Debug, Serialize)]
pub(super) struct KindView {
    pub(super) kind: String,
    pub(super) message: String,
    pub(super) states: Vec<String>,
}

/// What can be asked of a kind.
#[derive(Debug, Serialize)]
pub(super) struct KindFields {
    pub(super) kind: String,
    pub(super) message: String,
    pub(super) variants: Vec<String>,
    pub(super) message_fields: Vec<String>,
    pub(super) states: Vec<String>,
    pub(super) data_fields: Vec<String>,
}
