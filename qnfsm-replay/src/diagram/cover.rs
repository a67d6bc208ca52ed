//! Coverage: which messages FSMs of each kind were given in which state, and which never.

use std::collections::BTreeMap;

use serde::Serialize;

use super::observed::{Case, Kind, Node, Then, Trigger};

/// What of one kind was covered.
#[derive(Debug, Serialize)]
pub(crate) struct Cover {
    pub(crate) kind: String,
    pub(crate) states: Vec<String>,
    pub(crate) messages: Vec<String>,
    /// Each state with each message that was given to an FSM in it.
    pub(crate) seen: Vec<Pair>,
    /// How many pairs of a state and a message there are, and how many were seen.
    pub(crate) pairs: u64,
    pub(crate) pairs_seen: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) opaque: Option<String>,
    #[serde(skip)]
    counts: BTreeMap<(usize, usize), Counts>,
}

/// A state and a message that was given to FSMs in it.
#[derive(Debug, Serialize)]
pub(crate) struct Pair {
    pub(crate) state: String,
    pub(crate) message: String,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// How often, and what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// The handler took it.
    pub(crate) handled: u64,
    pub(crate) postponed: u64,
    /// The handler said that it is of no use there.
    pub(crate) unhandled: u64,
    /// The handler panicked, or was not run.
    pub(crate) failed: u64,
}

impl Cover {
    pub(crate) fn of(name: &str, kind: &Kind) -> Cover {
        let mut counts: BTreeMap<(usize, usize), Counts> = BTreeMap::new();
        for (Case { from, on, then }, count) in &kind.seen {
            let (Node::State(state), Trigger::Message(message) | Trigger::Timer(message)) = (from, on) else {
                continue;
            };
            let counts = counts.entry((*state, *message)).or_default();
            *match then {
                Then::Postpones => &mut counts.postponed,
                Then::Unhandled => &mut counts.unhandled,
                Then::Fails | Then::Skips => &mut counts.failed,
                Then::Goes(_) | Then::Stays | Then::Stops => &mut counts.handled,
            } += count;
        }
        let names = |names: &super::observed::Names| names.iter().map(str::to_owned).collect::<Vec<_>>();
        let (states, messages) = (names(&kind.states), names(&kind.messages));
        let pair = |(&(state, message), counts): (&(usize, usize), &Counts)| Pair {
            state: states[state].clone(),
            message: messages[message].clone(),
            counts: *counts,
        };
        let seen: Vec<_> = counts.iter().map(pair).collect();
        let (pairs, pairs_seen) = (states.len() as u64 * messages.len() as u64, seen.len() as u64);
        Cover { kind: name.to_owned(), states, messages, seen, pairs, pairs_seen, opaque: kind.opaque.clone(), counts }
    }

    /// How often a message was given to FSMs in a state; none, if never.
    pub(crate) fn counts(&self, state: usize, message: usize) -> Option<Counts> {
        self.counts.get(&(state, message)).copied()
    }

    /// The pairs that were never seen.
    pub(crate) fn never(&self) -> impl Iterator<Item = (&str, &str)> {
        let all =
            (0..self.states.len()).flat_map(|state| (0..self.messages.len()).map(move |message| (state, message)));
        all.filter(|pair| !self.counts.contains_key(pair))
            .map(|(state, message)| (self.states[state].as_str(), self.messages[message].as_str()))
    }
}

/// How many of a hundred pairs of these kinds were seen. Without any pair, nothing is missing.
pub(crate) fn percent(covers: &[Cover]) -> f64 {
    let (pairs, seen) = covers.iter().fold((0, 0), |sum, it| (sum.0 + it.pairs, sum.1 + it.pairs_seen));
    #[expect(clippy::cast_precision_loss, reason = "the names of so many pairs would have to be in the journal")]
    if pairs == 0 { 100.0 } else { seen as f64 * 100.0 / pairs as f64 }
}
