//! What a bot does next: go where the nearest other player is, and shoot at who is in line.
//!
//! It doesn't know the walls; now and then it goes anywhere, which gets it round them.

use crate::wire::{Action, Cell, Direction, PlayerView, SHOT_RANGE};

/// One command in so many is a step in any direction.
const STRAY_ONE_IN: u32 = 6;

/// Chooses from the last view: the player himself, and the others, the nearest first.
pub(super) fn choose(you: &PlayerView, others: &[PlayerView], random: &mut impl FnMut(u32) -> u32) -> Action {
    let stray = random(STRAY_ONE_IN) == 0;
    match others.iter().find(|other| other.at != you.at) {
        Some(other) if !stray => {
            let across = other.at.x.abs_diff(you.at.x);
            let down = other.at.y.abs_diff(you.at.y);
            let direction = towards(you.at, other.at);
            if across.min(down) == 0 && across.max(down) <= SHOT_RANGE {
                Action::Shoot(direction)
            } else {
                Action::Move(direction)
            }
        }
        _ => {
            let any = usize::try_from(random(4)).unwrap_or(0);
            Action::Move(Direction::ALL.get(any).copied().unwrap_or(Direction::North))
        }
    }
}

/// The direction along the shorter way that isn't zero, so that one soon stands in line with the other.
fn towards(from: Cell, to: Cell) -> Direction {
    let across = to.x.abs_diff(from.x);
    let down = to.y.abs_diff(from.y);
    match down == 0 || (across > 0 && across <= down) {
        true if to.x > from.x => Direction::East,
        true => Direction::West,
        false if to.y > from.y => Direction::South,
        false => Direction::North,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::PlayerId;

    const YOU: PlayerView = player(30, 30);

    const fn player(x: u8, y: u8) -> PlayerView {
        PlayerView { player: PlayerId(1), at: Cell { x, y }, health: 4 }
    }

    /// What is chosen by a bot that doesn't stray.
    fn chosen(others: &[PlayerView]) -> Action {
        choose(&YOU, others, &mut |bound| bound - 1)
    }

    #[test]
    fn it_shoots_at_who_is_in_line_and_in_range() {
        assert_eq!(chosen(&[player(30, 14)]), Action::Shoot(Direction::North));
        assert_eq!(chosen(&[player(46, 30)]), Action::Shoot(Direction::East));
        assert_eq!(chosen(&[player(30, 31)]), Action::Shoot(Direction::South));
        assert_eq!(chosen(&[player(47, 30)]), Action::Move(Direction::East));
    }

    #[test]
    fn it_gets_in_line_by_the_shorter_way() {
        assert_eq!(chosen(&[player(28, 40)]), Action::Move(Direction::West));
        assert_eq!(chosen(&[player(40, 29)]), Action::Move(Direction::North));
    }

    #[test]
    fn it_wanders_when_it_sees_nobody_or_somebody_in_its_own_cell() {
        assert_eq!(chosen(&[]), Action::Move(Direction::West));
        assert_eq!(chosen(&[YOU]), Action::Move(Direction::West));
        assert_eq!(choose(&YOU, &[player(30, 31)], &mut |_| 0), Action::Move(Direction::North));
    }
}
