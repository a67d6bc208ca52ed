//! Which of what a journal says is shown, beside worker and round: of which FSMs, with which messages, at what time.
//!
//! All filters hold together. Those of this page are about parts: frames, deliveries, and the FSMs of a snapshot with what waits for
//! them. What they are parts of is shown before the first that is shown; other records aren't.

use std::{collections::BTreeMap, ops::RangeInclusive};

use qnfsm::{
    RawQueueId, Time, WorkerId,
    schema::{Content, Fields, Path},
};

use super::{Name, Value, What, tables::Tables};

/// What parts are shown of.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) kind: Option<String>,
    pub(super) queue: Option<RawQueueId>,
    pub(super) variant: Option<String>,
    pub(super) fields: Vec<FieldIs>,
}

/// A part of a value and what it is to be, such as `cents=50`. The way to it is a [`Path`], which leads through options, newtypes and
/// variants without a word for them. What it is to be is spelt as it is shown; a text needs no quotes, and of a variant that holds
/// something its name will do, and of a newtype what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldIs {
    pub(super) path: Path,
    is: String,
}

/// Why a text is no field with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no field with its value{why}; give its path, an equals sign and the value, such as cents=50")]
pub struct FieldIsError {
    text: String,
    why: String,
}

impl std::str::FromStr for FieldIs {
    type Err = FieldIsError;

    fn from_str(text: &str) -> Result<FieldIs, FieldIsError> {
        let error = |why: String| FieldIsError { text: text.to_owned(), why };
        let (path, len) = Path::front(text).map_err(|wrong| error(format!(": {wrong}")))?;
        match text[len..].strip_prefix('=') {
            Some(is) if !path.0.is_empty() => Ok(FieldIs { path, is: is.to_owned() }),
            _ => Err(error(String::new())),
        }
    }
}

impl FieldIs {
    /// True if the value has that part, and it is so.
    fn holds(&self, value: &Value<'_>) -> bool {
        value.part(&self.path).is_some_and(|part| self.is_it(&part))
    }

    fn is_it(&self, part: &Content) -> bool {
        match part {
            Content::Option(Some(content)) => self.is_it(content),
            Content::Struct(_, Fields::One(content)) if self.is_it(content) => true,
            Content::Text(text) => *text == self.is,
            Content::Char(letter) => self.is.chars().eq([*letter]),
            // Whether it is the one that is asked for would tell of it.
            Content::Secret => false,
            Content::Variant(name, _) if *name == self.is => true,
            // One character more than what is asked for tells them apart.
            part => part.text(self.is.len() + 1) == self.is,
        }
    }
}

/// Of which kind queues are, as far as snapshots and deliveries have said it.
#[derive(Debug, Default)]
pub(super) struct KindsOfQueues(BTreeMap<RawQueueId, bool>);

impl KindsOfQueues {
    /// Notes whether a queue is of the kind that is asked for.
    pub(super) fn note(&mut self, queue: RawQueueId, is_asked_for: bool) {
        self.0.insert(queue, is_asked_for);
    }
}

impl Filter {
    /// True if all parts are shown.
    pub(super) fn is_open(&self) -> bool {
        let Filter { kind, queue, variant, fields } = self;
        kind.is_none() && queue.is_none() && variant.is_none() && fields.is_empty()
    }

    /// True if that part is shown.
    pub(super) fn shows(&self, what: &What<'_>, tables: &Tables, kinds: &KindsOfQueues) -> bool {
        let of_kind = || self.kind.as_deref().is_none_or(|kind| is_of_kind(kind, what, tables, kinds));
        let of_queue = || self.queue.is_none_or(|queue| queues(what).contains(&Some(queue)));
        let of_variant = || {
            let is_it = |variant| values(what).flatten().any(|value| value.variant().as_deref() == Some(variant));
            self.variant.as_deref().is_none_or(is_it)
        };
        of_queue() && of_kind() && of_variant() && self.has_fields(what)
    }

    fn has_fields(&self, what: &What<'_>) -> bool {
        self.fields.iter().all(|field| values(what).flatten().any(|value| field.holds(value)))
    }
}

fn is_of_kind(asked: &str, what: &What<'_>, tables: &Tables, kinds: &KindsOfQueues) -> bool {
    match what {
        What::Delivery { kind: Name(kind), .. } | What::Fsm { kind: Name(kind), .. } => *kind == asked,
        What::Frame { class: "spawn", of, .. } => of.is_some_and(|Name(kind)| kind == asked),
        // Where nobody has said of which kind the queue is, it may well be of the one whose messages these are.
        What::Frame { to, of, .. } => kinds.0.get(&to.0).copied().unwrap_or_else(|| {
            let number = tables.table.kinds.iter().find(|kind| kind.name == asked).map(|kind| kind.message);
            number.is_some_and(|number| of.is_some_and(|Name(of)| tables.message_name(number).0 == of))
        }),
        What::Waiting { queue, .. }
        | What::Timer { queue, .. }
        | What::Request { queue, .. }
        | What::Monitors { queue, .. } => kinds.0.get(&queue.0) == Some(&true),
        _ => false,
    }
}

/// Whose it is, and who sent it.
fn queues(what: &What<'_>) -> [Option<RawQueueId>; 2] {
    match what {
        What::Frame { to, from, .. } => [Some(to.0), Some(from.0)],
        What::Delivery { queue, from, .. } | What::Waiting { queue, from, .. } => {
            [Some(queue.0), from.map(|from| from.0)]
        }
        What::Fsm { queue, .. }
        | What::Timer { queue, .. }
        | What::Request { queue, .. }
        | What::Monitors { queue, .. } => [Some(queue.0), None],
        _ => [None; 2],
    }
}

/// The messages in it; of an FSM its data and its state.
fn values<'w, 'l>(what: &'w What<'l>) -> impl Iterator<Item = Option<&'w Value<'l>>> {
    let both = match what {
        What::Frame { value, .. } => [value.as_ref(), None],
        What::Delivery { message, .. } => [message.as_ref(), None],
        What::Waiting { message, .. } | What::Timer { message, .. } => [Some(message), None],
        What::Fsm { data, state, .. } => [Some(data), state.as_ref()],
        _ => [None; 2],
    };
    both.into_iter()
}

/// When it happened, as far as rounds say: what is said of a worker is of the time of its last round.
#[derive(Debug, Default)]
pub(super) struct Times(BTreeMap<WorkerId, Time>);

impl Times {
    pub(super) fn note(&mut self, worker: WorkerId, now: Time) {
        self.0.insert(worker, now);
    }

    /// True if what is said of a worker now is of that span. What is said of none is of no time.
    pub(super) fn is_within(&self, worker: Option<WorkerId>, span: &RangeInclusive<Time>) -> bool {
        *span == ALL_TIME || worker.and_then(|worker| self.0.get(&worker)).is_some_and(|now| span.contains(now))
    }
}

/// Any time.
pub(super) const ALL_TIME: RangeInclusive<Time> = Time::ZERO..=Time::from_nanos(u64::MAX);

#[cfg(test)]
mod tests {
    use qnfsm::{
        Codec, Secret,
        schema::{Printer, Schema},
    };
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize)]
    enum Move {
        West,
        To(i8, i8),
    }

    #[derive(Serialize, Deserialize)]
    struct Player(u32);

    #[derive(Serialize, Deserialize)]
    enum Order {
        Command { player: Player, moves: Vec<Move>, name: Option<String>, key: Secret<u8> },
        Rest,
    }

    #[test]
    fn a_field_is_found_by_its_path_and_compared_as_it_is_shown() {
        let printer = Schema::of::<Order>(&[]).map(|schema| Printer::new(schema.json())).expect("it is plain");
        let (moves, name) = (vec![Move::West, Move::To(1, -1)], Some("a=b".to_owned()));
        let mut bytes = Vec::new();
        let order = Order::Command { player: Player(7), moves, name, key: Secret::new(5) };
        Codec::CURRENT.encode(&order, &mut bytes).expect("it is plain");
        let value = Value::new(Some(&printer), &bytes, 10);
        assert_eq!(value.variant().as_deref(), Some("Command"));
        let holds = |text: &str| text.parse::<FieldIs>().map(|field| field.holds(&value));
        for text in [
            "player=7",
            "player=Player(7)",
            "moves[0]=West",
            "moves[1]=To",
            "moves[1].1=-1",
            "name=a=b",
            "moves[1]=To(1, -1)",
        ] {
            assert_eq!(holds(text), Ok(true), "{text}");
        }
        for text in
            ["player=8", "player=70", "player=", "moves[2]=West", "other=7", "player.x=7", "key=5", "key=(secret)"]
        {
            assert_eq!(holds(text), Ok(false), "{text}");
        }
        bytes.clear();
        Codec::CURRENT.encode(&Order::Rest, &mut bytes).expect("it is plain");
        assert!(!"player=7".parse::<FieldIs>().is_ok_and(|field| field.holds(&Value::new(Some(&printer), &bytes, 10))));
        for text in ["player", "=7", "a..b=7", "moves[=7"] {
            let error = text.parse::<FieldIs>().expect_err("it is none").to_string();
            assert!(error.contains(text) && error.contains("cents=50"), "{error}");
        }
    }
}
