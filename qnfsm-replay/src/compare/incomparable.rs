//! Two journals that have nothing in common: that nothing of them could be held against each other, which is another thing than that nothing
//! differs, and why.

use std::fmt;

use super::{comparison::Comparison, side::Side};

/// Why two journals have nothing in common.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incomparable {
    /// They are of two programs, with these names.
    Programs([String; 2]),
    /// They are of one node, and that one of them, 0 or 1, has given up all that the other has.
    Behind {
        /// The one that begins behind the other's end.
        later: usize,
        /// The segment that it begins with.
        begins_with: u64,
        /// The segment that the other ends in.
        other_ends_in: u64,
    },
    /// Whether they are of one node or of two: nothing that is left of both is of the same worker and source.
    Nothing {
        /// They are of one node.
        is_same_node: bool,
        /// Whose beginning was given up.
        given_up: [bool; 2],
    },
}

impl Incomparable {
    /// Why nothing was compared; none, if something was, or if there was nothing: a whole journal that holds nothing yet is the beginning
    /// of any other. `unshared` is how much each has that the other doesn't.
    pub(super) fn of(comparison: &Comparison, unshared: [u64; 2]) -> Option<Incomparable> {
        let Comparison { sides, same, .. } = comparison;
        let given_up = sides.each_ref().map(Side::has_lost_its_beginning);
        let is_beginning = unshared.contains(&0) && given_up == [false, false];
        if *same > 0 || unshared == [0, 0] || is_beginning {
            return None;
        }
        let [one, other] = sides.each_ref().map(|side| &side.manifest);
        if one.program != other.program {
            return Some(Incomparable::Programs([one.program.clone(), other.program.clone()]));
        }
        let is_same_node = one.identity == other.identity;
        let begins_with = [one, other].map(|manifest| manifest.oldest_segment);
        let ends_in = sides.each_ref().map(|side| side.reached.segment);
        let later = (0..2).find(|side| is_same_node && begins_with[*side] > ends_in[1 - side]);
        Some(match later {
            Some(later) => {
                Incomparable::Behind { later, begins_with: begins_with[later], other_ends_in: ends_in[1 - later] }
            }
            None => Incomparable::Nothing { is_same_node, given_up },
        })
    }
}

impl fmt::Display for Incomparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Incomparable::Programs([one, other]) => {
                write!(f, "they are of two programs, `{}` and `{}`", one.escape_debug(), other.escape_debug())
            }
            Incomparable::Behind { later, begins_with, other_ends_in } => {
                let [later, earlier] = if *later == 0 { ["first", "other"] } else { ["other", "first"] };
                write!(
                    f,
                    "they are of one node, and the {later} one has given up all that the {earlier} one has: it begins with segment \
                     {begins_with}, and the {earlier} one ends in segment {other_ends_in}"
                )
            }
            Incomparable::Nothing { is_same_node, given_up } => {
                let nodes = if *is_same_node { "one node" } else { "two nodes" };
                let left = match given_up {
                    [false, false] => "neither has anything of a worker and a source that the other has",
                    [true, false] => "the beginning of the first one was given up, and nothing that is left is in both",
                    [false, true] => "the beginning of the other one was given up, and nothing that is left is in both",
                    [true, true] => "the beginnings of both were given up, and nothing that is left is in both",
                };
                write!(f, "they are of {nodes}, and {left}")
            }
        }
    }
}
