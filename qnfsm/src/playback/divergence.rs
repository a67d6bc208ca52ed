//! Where two runs part: what is said of it, and how the very delivery is named.

use std::fmt;

use crate::{
    fsm::Handler,
    id::WorkerId,
    worker::{Delivery, Worker},
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
            let text = |delivery: &Delivery| {
                format!(
                    "{what}: message {}, state {}, data {:016x}, effects {:016x}",
                    hex(&delivery.payload),
                    hex(&delivery.state),
                    delivery.data_digest,
                    delivery.effects_digest
                )
            };
            (name(expected), (text(expected), text(found)))
        }
    }
}

/// The first bytes, for a person to compare.
pub(super) fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 24;
    let shown: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > SHOWN { format!("{shown}… ({} bytes)", bytes.len()) } else { format!("[{shown}]") }
}
