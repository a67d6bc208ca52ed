//! Where two runs part: what is said of it, and how the very delivery is named.

use std::fmt;

use crate::{
    fsm::Handler,
    id::WorkerId,
    worker::{Delivery, TableSchema, Worker},
};

/// A replay that does not do what was recorded: where, what was expected, and what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The worker.
    pub worker: WorkerId,
    /// The round.
    pub round: u64,
    /// The FSM and the message, where everything was recorded.
    pub delivery: Option<String>,
    /// What was recorded.
    pub expected: String,
    /// What this run did.
    pub found: String,
    /// It is the worker's image after the round that is another: some FSM's data, which may have been others for long before.
    pub is_of_image: bool,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} does not do in round {} what was recorded", self.worker, self.round)?;
        if let Some(delivery) = &self.delivery {
            write!(f, "\n  at:       {delivery}")?;
        }
        write!(f, "\n  expected: {}\n  found:    {}", self.expected, self.found)
    }
}

impl std::error::Error for Divergence {}

/// Says which delivery two runs part at, and in what.
pub(super) fn describe(
    worker: &Worker,
    at: u64,
    expected: Option<&Delivery>,
    found: Option<&Delivery>,
) -> (String, (String, String)) {
    let catalogue = worker.catalogue();
    let name = |delivery: &Delivery| {
        let kind = catalogue.kind_name(delivery.kind);
        let message = match delivery.handler {
            Handler::Start => "its start".to_owned(),
            Handler::Enter => "its enter action".to_owned(),
            Handler::Handle => format!("a message of type {}", catalogue.message_name(delivery.type_number)),
        };
        format!("delivery {at} of the round: kind {kind} ({}), {message} from {}", delivery.queue, delivery.sender)
    };
    match (expected, found) {
        (Some(expected), None) => (name(expected), ("this delivery".to_owned(), "none".to_owned())),
        (None, Some(found)) => (name(found), ("no further delivery".to_owned(), "this one".to_owned())),
        (None, None) => (format!("delivery {at}"), ("a delivery".to_owned(), "bytes that are none".to_owned())),
        (Some(expected), Some(found)) => {
            let same = (expected.queue, expected.type_number, expected.sender)
                == (found.queue, found.type_number, found.sender);
            let what = if !same {
                return (name(expected), ("this delivery".to_owned(), name(found)));
            } else if expected.payload != found.payload {
                "the message"
            } else if expected.state != found.state {
                "the state after it"
            } else if expected.data_digest != found.data_digest {
                "the FSM's data after it"
            } else if expected.effects_digest != found.effects_digest {
                "what the handler sent or asked for"
            } else {
                "the random numbers that it drew or the timers that it set"
            };
            let (expected_values, found_values) = (values(worker, expected), values(worker, found));
            let message = values_side_by_side(&expected_values.message, &found_values.message);
            let state = values_side_by_side(&expected_values.state, &found_values.state);
            let text = |delivery: &Delivery, message: &str, state: &str| {
                let Delivery { data_digest, effects_digest, .. } = delivery;
                format!(
                    "{what}: message {message}, state {state}, data {data_digest:016x}, effects {effects_digest:016x}"
                )
            };
            (name(expected), (text(expected, &message.0, &state.0), text(found, &message.1, &state.1)))
        }
    }
}

/// The most characters of a value that are looked at, and shown.
const LOOKED_AT_MAX: usize = 1 << 16;
const SHOWN_MAX: usize = 400;
/// How many characters are shown before the first that differs.
const SHOWN_BEFORE: usize = 100;
/// How many bytes are shown where only the bytes tell two values apart.
const PARTED_BYTES_MAX: usize = 16;

/// A value by the names of its fields, and its bytes.
struct Shown<'d> {
    text: String,
    bytes: &'d [u8],
    /// Of a value that holds a secret no bytes may be shown.
    holds_secret: bool,
}

impl<'d> Shown<'d> {
    fn new(schema: Option<&TableSchema>, bytes: &'d [u8]) -> Shown<'d> {
        let Some(schema) = schema else { return Shown::words("of no known type", bytes) };
        let printer = schema.printer();
        Shown { text: printer.text(bytes, LOOKED_AT_MAX), bytes, holds_secret: printer.holds_secret() }
    }

    fn words(text: &str, bytes: &'d [u8]) -> Shown<'d> {
        Shown { text: text.to_owned(), bytes, holds_secret: false }
    }
}

/// What a delivery took and left.
struct Values<'d> {
    message: Shown<'d>,
    state: Shown<'d>,
}

fn values<'d>(worker: &Worker, delivery: &'d Delivery) -> Values<'d> {
    let table = worker.catalogue().table();
    let message = match delivery.handler {
        Handler::Start | Handler::Enter => Shown::words("none", &delivery.payload),
        Handler::Handle => {
            let schema = table.messages.get(delivery.type_number as usize).map(|of| &of.schema);
            Shown::new(schema, &delivery.payload)
        }
    };
    // An FSM that stopped has none; nor is there anything to show of the only one that a kind has.
    let state = match &delivery.state[..] {
        [] => Shown::words("none", &[]),
        state => Shown::new(table.kinds.get(delivery.kind as usize).map(|of| &of.state), state),
    };
    Values { message, state }
}

/// Two values for a person to compare, each as a text and in bytes. Where the texts end before the values part, which
/// they do if the values are long, of an opaque type or differ in a secret, it is told where the bytes part.
fn values_side_by_side(one: &Shown<'_>, other: &Shown<'_>) -> (String, String) {
    let (shown_one, shown_other) = side_by_side(&one.text, &other.text);
    if one.text != other.text || one.bytes == other.bytes {
        return (shown_one, shown_other);
    }
    let at = one.bytes.iter().zip(other.bytes).take_while(|(one, other)| one == other).count();
    let chars = one.text.chars().count();
    let from_there = |value: &Shown<'_>| {
        let rest = &value.bytes[at..];
        let hex: String = rest.iter().take(PARTED_BYTES_MAX).map(|byte| format!("{byte:02x}")).collect();
        match rest {
            _ if value.holds_secret => format!("differs from byte {at} on, in a secret maybe, so not shown"),
            [] => format!("ends after byte {at}"),
            [_, ..] => format!("goes on from byte {at} with {hex}"),
        }
    };
    let text = |shown: String, value: &Shown<'_>| {
        format!("{shown} (equal in the first {chars} characters, {})", from_there(value))
    };
    (text(shown_one, one), text(shown_other, other))
}

/// Two texts for a person to compare: of long ones the parts where they begin to differ.
fn side_by_side(one: &str, other: &str) -> (String, String) {
    let same = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    let is_long = |text: &str| text.chars().nth(SHOWN_MAX).is_some();
    let from = if is_long(one) || is_long(other) { same.saturating_sub(SHOWN_BEFORE) } else { 0 };
    let part = |text: &str| {
        let before = if from > 0 { "…" } else { "" };
        let behind = if text.chars().nth(from + SHOWN_MAX).is_some() { "…" } else { "" };
        let shown: String = text.chars().skip(from).take(SHOWN_MAX).collect();
        format!("{before}{shown}{behind}")
    };
    (part(one), part(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shown_from_where_they_begin_to_differ() {
        assert_eq!(side_by_side("ab", "ac"), ("ab".to_owned(), "ac".to_owned()));
        let text = |end: &str| format!("{}é{end}{}", "x".repeat(5000), "y".repeat(5000));
        let (one, other) = side_by_side(&text("1"), &text("2"));
        let shown = |end: &str| format!("…{}é{end}{}…", "x".repeat(SHOWN_BEFORE - 1), "y".repeat(SHOWN_MAX - 101));
        assert_eq!((one, other), (shown("1"), shown("2")));
        let long = "z".repeat(5000);
        let (one, other) = side_by_side(&long, &long);
        assert_eq!(one, other);
        assert!(one.chars().count() <= SHOWN_MAX + 2);
    }

    fn pair(one: (&str, &[u8]), other: (&str, &[u8])) -> (String, String) {
        values_side_by_side(&Shown::words(one.0, one.1), &Shown::words(other.0, other.1))
    }

    #[test]
    fn values_that_part_after_what_is_looked_at_are_not_shown_as_equal() {
        let text = "x".repeat(5000);
        let (one, other) = pair((&text, &[7, 7, 1, 255]), (&text, &[7, 7, 2]));
        assert!(one.ends_with("x (equal in the first 5000 characters, goes on from byte 2 with 01ff)"), "{one}");
        assert!(other.ends_with("x (equal in the first 5000 characters, goes on from byte 2 with 02)"), "{other}");
        let (one, other) = pair(("a", &[7; 100]), ("a", &[7; 50]));
        assert_eq!(one, format!("a (equal in the first 1 characters, goes on from byte 50 with {})", "07".repeat(16)));
        assert_eq!(other, "a (equal in the first 1 characters, ends after byte 50)");
    }

    #[test]
    fn of_values_that_part_in_a_secret_no_byte_is_shown() {
        let secret = |bytes| Shown { holds_secret: true, ..Shown::words("Secret(…)", bytes) };
        let (one, other) = values_side_by_side(&secret(&[7, 0xab, 0xcd]), &secret(&[7, 0xef]));
        let says =
            "Secret(…) (equal in the first 9 characters, differs from byte 1 on, in a secret maybe, so not shown)";
        assert_eq!((one.as_str(), other.as_str()), (says, says));
    }

    #[test]
    fn values_that_are_told_apart_by_their_texts_or_not_at_all_have_no_bytes_beside_them() {
        let texts = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(pair(("a", &[1]), ("b", &[2])), texts("a", "b"));
        assert_eq!(pair(("a", &[1]), ("a", &[1])), texts("a", "a"));
    }
}
