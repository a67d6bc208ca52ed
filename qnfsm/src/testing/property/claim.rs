//! What a property claims of each case, besides the user's invariants.

use std::fmt;

/// What can be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// What goes in comes back from the codec as it was.
    SurvivesTheCodec,
    /// A worker that is restored from a snapshot, at whatever point, does what the other does; and so does one that is given the same
    /// inputs from the beginning.
    IsDeterministic,
    /// No handler panics whose kind's policy is to stop the node, and nothing else keeps the worker from going on.
    GoesOn,
    /// The worker comes to rest after each input.
    ComesToRest,
    /// The invariant of that name holds.
    Invariant(String),
}

/// How often a candidate is run where a failure may show in one run and not in the next.
const RUNS_OF_CHANCE: u32 = 16;

impl Claim {
    /// How often a case is run before it counts as one that doesn't break the claim.
    pub(super) fn runs(&self) -> u32 {
        if *self == Claim::IsDeterministic { RUNS_OF_CHANCE } else { 1 }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claim::SurvivesTheCodec => f.write_str("what goes in survives the codec"),
            Claim::IsDeterministic => f.write_str("the same inputs give the same, also after a restore"),
            Claim::GoesOn => f.write_str("the worker can go on"),
            Claim::ComesToRest => f.write_str("the worker comes to rest"),
            Claim::Invariant(name) => write!(f, "invariant \"{name}\""),
        }
    }
}
