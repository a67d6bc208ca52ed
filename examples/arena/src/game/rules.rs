//! The numbers of the rules, how a command changes a standing, and the faults that can be planted there.

use serde::{Deserialize, Serialize};

use crate::wire::{Action, COMMANDS_QUEUED_MAX, SHOT_RANGE, Standing};

/// How many commands of one player a tick applies.
pub(super) const COMMANDS_PER_TICK_MAX: usize = 2;
/// How many cells a shot flies in a tick.
pub(super) const SHOT_CELLS_PER_TICK: u8 = 4;
/// How long a fallen player lies on the ground: one second.
pub(super) const TICKS_DOWN: u64 = 20;
/// How far players see, in cells along each axis.
pub(super) const VIEW_RADIUS: u8 = 16;
/// With [`Plant::Lose`], a command whose number is divisible by this is lost.
const LOST_ONE_IN: u64 = 50;

const _: () = assert!(COMMANDS_PER_TICK_MAX <= COMMANDS_QUEUED_MAX, "a tick takes what it applies from the queue");
const _: () = assert!(SHOT_RANGE.is_multiple_of(SHOT_CELLS_PER_TICK), "a shot's flight ends with a tick");
const _: () = assert!(SHOT_RANGE <= VIEW_RADIUS, "who is hit could see who shot");

/// A fault that is put into the world on purpose, to show that the clients notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "WorldPlant")]
pub enum Plant {
    /// No fault.
    #[default]
    None,
    /// Numbers aren't checked: a command that comes twice is applied twice.
    Double,
    /// One command in fifty is acknowledged and not applied.
    Lose,
}

/// Counts a command into the standing of who gave it. False if a planted fault ate it.
pub(super) fn count(standing: &mut Standing, number: u64, action: Action, plant: Plant) -> bool {
    standing.last_applied = standing.last_applied.max(number);
    if plant == Plant::Lose && number.is_multiple_of(LOST_ONE_IN) {
        return false;
    }
    let code = match action {
        Action::Move(direction) => {
            standing.odometer += 1;
            direction as u64
        }
        Action::Shoot(direction) => {
            standing.shots_fired += 1;
            4 + direction as u64
        }
    };
    standing.applied += 1;
    let mixed = standing.check.rotate_left(7) ^ number.wrapping_mul(8).wrapping_add(code);
    standing.check = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Direction;

    #[test]
    fn the_checksum_is_frozen() {
        let mut standing = Standing::default();
        assert!(count(&mut standing, 1, Action::Move(Direction::West), Plant::None));
        assert!(count(&mut standing, 2, Action::Shoot(Direction::East), Plant::None));
        assert_eq!(
            standing,
            Standing {
                last_applied: 2,
                applied: 2,
                odometer: 1,
                shots_fired: 1,
                check: 0x09e3_edc2_bc63_36ef,
                ..Standing::default()
            }
        );
    }
}
