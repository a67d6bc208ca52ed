//! The field: which cells are walls, which cell lies beside which, and where a player can be put.
//!
//! It is fixed, so it stands in no snapshot and on no wire. What lies outside it counts as wall.

use crate::wire::{Cell, Direction, FIELD_HEIGHT, FIELD_WIDTH};

/// A wall of some cells: x, y, width, height.
struct Wall(u8, u8, u8, u8);

const WALLS: [Wall; 10] = [
    Wall(8, 8, 12, 2),
    Wall(44, 8, 12, 2),
    Wall(8, 54, 12, 2),
    Wall(44, 54, 12, 2),
    Wall(14, 20, 2, 24),
    Wall(48, 20, 2, 24),
    Wall(24, 24, 6, 2),
    Wall(34, 24, 6, 2),
    Wall(24, 38, 6, 2),
    Wall(34, 38, 6, 2),
];

/// For each row from the north its walls, the western cell in the lowest bit.
const ROWS: [u64; FIELD_HEIGHT as usize] = rows();

const FREE_CELLS: u32 = free_cells();

const _: () = assert!(FIELD_WIDTH as u32 == u64::BITS, "a row has one bit for each of its cells");

const fn rows() -> [u64; FIELD_HEIGHT as usize] {
    let mut rows = [0; FIELD_HEIGHT as usize];
    let mut i = 0;
    while i < WALLS.len() {
        let Wall(x, y, width, height) = WALLS[i];
        let mut row = y;
        while row < y + height {
            rows[row as usize] |= ((1 << width) - 1) << x;
            row += 1;
        }
        i += 1;
    }
    rows
}

const fn free_cells() -> u32 {
    let mut free = 0;
    let mut row = 0;
    while row < ROWS.len() {
        free += ROWS[row].count_zeros();
        row += 1;
    }
    free
}

/// True if the cell is a wall or lies outside the field.
pub(super) fn is_wall(cell: Cell) -> bool {
    cell.x >= FIELD_WIDTH || ROWS.get(usize::from(cell.y)).is_none_or(|row| row >> cell.x & 1 == 1)
}

/// The cell beside this one, unless that is a wall.
pub(super) fn beside(cell: Cell, direction: Direction) -> Option<Cell> {
    let Cell { x, y } = cell;
    let next = match direction {
        Direction::North => Cell { x, y: y.checked_sub(1)? },
        Direction::East => Cell { x: x.checked_add(1)?, y },
        Direction::South => Cell { x, y: y.checked_add(1)? },
        Direction::West => Cell { x: x.checked_sub(1)?, y },
    };
    if is_wall(next) { None } else { Some(next) }
}

/// A free cell, each as likely as any other; draws one random number.
pub(super) fn free_cell(random: &mut impl FnMut(u32) -> u32) -> Cell {
    let mut left = random(FREE_CELLS);
    let cells = (0..FIELD_HEIGHT).flat_map(|y| (0..FIELD_WIDTH).map(move |x| Cell { x, y }));
    for cell in cells.filter(|&cell| !is_wall(cell)) {
        if left == 0 {
            return cell;
        }
        left -= 1;
    }
    panic!("the random source returned {left} too much: what it returns must be below its bound, {FREE_CELLS}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_free_cell_can_be_drawn_and_no_wall() {
        let mut drawn: Vec<Cell> = (0..FREE_CELLS).map(|n| free_cell(&mut |_| n)).collect();
        assert!(drawn.iter().all(|&cell| !is_wall(cell)));
        drawn.sort();
        drawn.dedup();
        assert_eq!(drawn.len(), 64 * 64 - (4 * 24 + 2 * 48 + 4 * 12));
    }

    #[test]
    fn nobody_walks_through_walls_or_off_the_field() {
        let corner = Cell { x: 63, y: 0 };
        assert_eq!(beside(corner, Direction::North), None);
        assert_eq!(beside(corner, Direction::East), None);
        assert_eq!(beside(corner, Direction::West), Some(Cell { x: 62, y: 0 }));
        assert_eq!(beside(corner, Direction::South), Some(Cell { x: 63, y: 1 }));
        assert_eq!(beside(Cell { x: 8, y: 7 }, Direction::South), None);
        assert_eq!(beside(Cell { x: 7, y: 8 }, Direction::East), None);
        assert!(is_wall(Cell { x: 0, y: 64 }) && is_wall(Cell { x: 255, y: 255 }));
    }
}
