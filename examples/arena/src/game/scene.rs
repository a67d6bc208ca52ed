//! What can be seen of the world at the end of a tick: views for players, and lines of text for people.
//!
//! A scene is a copy that is made once a tick; it is never kept in the world.

use super::{field, rules::VIEW_RADIUS};
use crate::wire::{Cell, FIELD_HEIGHT, FIELD_WIDTH, PlayerView, ServerMessage, ShotView, VIEW_ENTRIES_MAX};

/// How many rows of the field share a line of text, so that all of it fits on a small terminal.
const ROWS_PER_LINE: u8 = 4;

/// All players and shots on the field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scene {
    tick: u64,
    /// Those who are up, by row, column and ID.
    players: Vec<PlayerView>,
    /// By row and column.
    shots: Vec<ShotView>,
}

impl Scene {
    /// A scene of these players and shots, in any order. Those who lie on the ground are left out.
    #[must_use]
    pub fn new(tick: u64, mut players: Vec<PlayerView>, mut shots: Vec<ShotView>) -> Scene {
        players.retain(|player| player.health > 0);
        players.sort_by_key(|player| (player.at.y, player.at.x, player.player));
        shots.sort_by_key(|shot| (shot.at.y, shot.at.x, shot.heading));
        Scene { tick, players, shots }
    }

    /// What one player sees.
    #[must_use]
    pub fn view(&self, you: PlayerView) -> ServerMessage {
        let others = |player: &PlayerView| player.player != you.player;
        ServerMessage::View {
            tick: self.tick,
            you,
            players: near(&self.players, |player| player.at, you.at, others),
            shots: near(&self.shots, |shot| shot.at, you.at, |_| true),
        }
    }

    /// The field as lines of text, 17 lines of at most 64 characters: a head, and one line for four rows of cells.
    /// A letter is a player (his ID modulo 26), a digit several of them, `*` a shot, `#` a wall.
    #[must_use]
    pub fn render(&self) -> Vec<String> {
        let mut lines = Vec::with_capacity(usize::from(FIELD_HEIGHT / ROWS_PER_LINE) + 1);
        lines.push(format!("tick {}  players {}  shots {}", self.tick, self.players.len(), self.shots.len()));
        for top in (0..FIELD_HEIGHT).step_by(usize::from(ROWS_PER_LINE)) {
            let rows = top..top + ROWS_PER_LINE;
            let players = between_rows(&self.players, |player| player.at, rows.start, rows.end);
            let shots = between_rows(&self.shots, |shot| shot.at, rows.start, rows.end);
            let glyph = |x| {
                let mut here = players.iter().filter(|player| player.at.x == x);
                match (here.next(), u32::try_from(here.count()).unwrap_or(u32::MAX)) {
                    (Some(player), 0) => letter(player.player.0),
                    (Some(_), others) => char::from_digit(others.saturating_add(1).min(9), 10).unwrap_or('9'),
                    (None, _) if shots.iter().any(|shot| shot.at.x == x) => '*',
                    (None, _) if rows.clone().any(|y| field::is_wall(Cell { x, y })) => '#',
                    (None, _) => ' ',
                }
            };
            lines.push((0..FIELD_WIDTH).map(glyph).collect());
        }
        lines
    }
}

fn letter(id: u32) -> char {
    char::from(b'A' + u8::try_from(id % 26).expect("a remainder of 26 fits"))
}

/// The entries in rows `from..to` of a list that is sorted by rows.
fn between_rows<T>(sorted: &[T], at: impl Fn(&T) -> Cell, from: u8, to: u8) -> &[T] {
    let start = sorted.partition_point(|entry| at(entry).y < from);
    let end = sorted.partition_point(|entry| at(entry).y < to);
    &sorted[start..end.max(start)]
}

/// The entries that can be seen from `centre`, the nearest first, as many as a view may show.
fn near<T: Copy>(sorted: &[T], at: impl Fn(&T) -> Cell, centre: Cell, shown: impl Fn(&T) -> bool) -> Vec<T> {
    let (from, to) = (centre.y.saturating_sub(VIEW_RADIUS), centre.y.saturating_add(VIEW_RADIUS + 1));
    let mut near: Vec<T> = between_rows(sorted, &at, from, to)
        .iter()
        .filter(|entry| at(entry).x.abs_diff(centre.x) <= VIEW_RADIUS && shown(entry))
        .copied()
        .collect();
    near.sort_by_key(|entry| u16::from(at(entry).x.abs_diff(centre.x)) + u16::from(at(entry).y.abs_diff(centre.y)));
    near.truncate(VIEW_ENTRIES_MAX);
    near
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Direction, PlayerId};

    fn player(id: u32, x: u8, y: u8) -> PlayerView {
        PlayerView { player: PlayerId(id), at: Cell { x, y }, health: 1 }
    }

    #[test]
    fn a_view_shows_the_nearest_and_neither_the_viewer_nor_the_fallen_nor_the_far() {
        let fallen = PlayerView { health: 0, ..player(5, 31, 30) };
        let you = player(1, 30, 30);
        let scene = Scene::new(3, vec![player(4, 30, 47), player(3, 46, 30), player(2, 30, 33), you, fallen], vec![]);
        let ServerMessage::View { tick, players, .. } = scene.view(you) else { panic!("a view is a view") };
        assert_eq!((tick, players), (3, vec![player(2, 30, 33), player(3, 46, 30)]));
    }

    #[test]
    fn a_view_is_bounded() {
        let crowd = (1..=100).map(|id| player(id, 30, 30)).collect();
        let shots = vec![ShotView { at: Cell { x: 30, y: 31 }, heading: Direction::East }; 100];
        let ServerMessage::View { players, shots, .. } = Scene::new(1, crowd, shots).view(player(1, 30, 30)) else {
            panic!("a view is a view")
        };
        assert_eq!((players.len(), shots.len()), (24, 24));
    }

    #[test]
    fn the_field_is_drawn_in_seventeen_lines_of_sixty_four_characters() {
        let players = vec![player(0, 0, 0), player(27, 63, 63), player(2, 5, 5), player(3, 5, 6)];
        let shots = vec![ShotView { at: Cell { x: 2, y: 2 }, heading: Direction::East }];
        let lines = Scene::new(7, players, shots).render();
        assert_eq!(lines.len(), 17);
        assert!(lines[1..].iter().all(|line| line.chars().count() == 64));
        assert_eq!(lines[0], "tick 7  players 4  shots 1");
        assert!(lines[1].starts_with("A * ") && lines[2].starts_with("     2 "));
        assert!(lines[16].ends_with(" B") && lines[3].contains("####"));
    }
}
