//! Claims about the world, by example and over random sequences of calls.

use proptest::prelude::*;

use super::*;
use crate::game::dice;

const WEST: Action = Action::Move(Direction::West);
const ONE: PlayerId = PlayerId(1);
const TWO: PlayerId = PlayerId(2);

/// A world in which the players stand in the given cells.
fn world(players: &[(PlayerId, Cell)]) -> World {
    let mut world = World::new(Plant::None);
    for &(id, at) in players {
        world.join(id, &mut |_| 0).expect("there is room");
        world.players.get_mut(&id).expect("he joined").at = at;
    }
    world
}

fn cell(x: u8, y: u8) -> Cell {
    Cell { x, y }
}

/// Ticks without a respawn.
fn tick(world: &mut World) -> Ticked {
    world.tick(&mut |_| 0)
}

#[test]
fn commands_are_applied_in_order_and_only_so_many_a_tick() {
    let mut world = world(&[(ONE, cell(30, 30))]);
    for number in 1..=3 {
        assert_eq!(world.command(ONE, number, WEST), CommandOutcome::Queued);
    }
    assert_eq!(tick(&mut world), Ticked { tick: 1, changed: vec![ONE], applied: 2, ..Ticked::default() });
    assert_eq!((world.standing(ONE).map(|told| told.last_applied), world.players[&ONE].at), (Some(2), cell(28, 30)));
    assert_eq!(tick(&mut world).applied, 1);
    assert_eq!(tick(&mut world), Ticked { tick: 3, ..Ticked::default() });
}

#[test]
fn duplicates_gaps_overflows_and_strangers_change_nothing() {
    let mut world = world(&[(ONE, cell(30, 30))]);
    let _ = world.command(ONE, 1, WEST);
    let before = world.clone();
    assert_eq!(world.command(ONE, 1, WEST), CommandOutcome::Duplicate);
    assert_eq!(world.command(ONE, 0, WEST), CommandOutcome::Duplicate);
    assert_eq!(world.command(ONE, 3, WEST), CommandOutcome::Gap { expected: 2 });
    assert_eq!(world.command(ONE, u64::MAX, WEST), CommandOutcome::Gap { expected: 2 });
    assert_eq!(world.command(TWO, 1, WEST), CommandOutcome::Stranger);
    assert_eq!(world, before);
    for number in 2..=16 {
        assert_eq!(world.command(ONE, number, WEST), CommandOutcome::Queued);
    }
    assert_eq!(world.command(ONE, 17, WEST), CommandOutcome::Full);
}

#[test]
fn who_returns_keeps_his_standing_and_sends_again_what_was_not_applied() {
    let mut world = world(&[(ONE, cell(30, 30))]);
    for number in 1..=5 {
        let _ = world.command(ONE, number, WEST);
    }
    let _ = tick(&mut world);
    world.leave(ONE);
    assert_eq!(world.command(ONE, 3, WEST), CommandOutcome::Stranger);
    assert_eq!(tick(&mut world), Ticked { tick: 2, ..Ticked::default() });
    let standing = world.join(ONE, &mut |_| 0).expect("he is known");
    assert_eq!((standing.last_applied, standing.odometer), (2, 2));
    assert_eq!(world.command(ONE, 3, WEST), CommandOutcome::Queued);
}

#[test]
fn a_shot_flies_until_it_hits_the_first_in_line() {
    let mut world = world(&[(ONE, cell(30, 30)), (TWO, cell(40, 30)), (PlayerId(3), cell(41, 30))]);
    let _ = world.command(ONE, 1, Action::Shoot(Direction::East));
    assert_eq!((tick(&mut world).hits, tick(&mut world).hits), (0, 0));
    let third = tick(&mut world);
    assert_eq!((third.hits, third.changed), (1, vec![ONE, TWO]));
    assert_eq!(world.players[&TWO].health, HEALTH_MAX - 1);
    assert_eq!(world.standing(ONE).map(|told| (told.score, told.events)), Some((1, 1)));
    assert!(world.shots.is_empty());
}

#[test]
fn shots_end_at_walls_and_at_their_range() {
    let mut world = world(&[(ONE, cell(30, 30)), (TWO, cell(47, 30)), (PlayerId(3), cell(30, 20))]);
    let _ = world.command(ONE, 1, Action::Shoot(Direction::East));
    let _ = world.command(ONE, 2, Action::Shoot(Direction::North));
    assert_eq!((0..5).map(|_| tick(&mut world).hits).sum::<u32>(), 1, "nothing stands between 30/30 and 30/20");
    let _ = world.command(PlayerId(3), 1, Action::Move(Direction::West));
    let _ = world.command(PlayerId(3), 2, Action::Shoot(Direction::South));
    world.players.get_mut(&ONE).expect("he joined").at = cell(29, 30);
    assert_eq!((0..5).map(|_| tick(&mut world).hits).sum::<u32>(), 0, "the wall at 29/24 is between them");
}

#[test]
fn who_is_hit_often_enough_falls_can_do_nothing_and_rises_elsewhere() {
    let mut world = world(&[(ONE, cell(30, 30)), (TWO, cell(31, 30))]);
    for number in 1..=u64::from(HEALTH_MAX) {
        let _ = world.command(ONE, number, Action::Shoot(Direction::East));
    }
    assert_eq!(tick(&mut world).deaths, 0);
    assert_eq!(tick(&mut world).deaths, 1);
    let _ = world.command(TWO, 1, WEST);
    assert_eq!(tick(&mut world).applied, 1);
    assert_eq!((world.players[&TWO].at, world.players[&TWO].health), (cell(31, 30), 0));
    assert_eq!(world.standing(TWO).map(|told| (told.odometer, told.deaths)), Some((1, 1)));
    while world.players[&TWO].health == 0 {
        let _ = tick(&mut world);
    }
    assert_eq!((world.now(), world.players[&TWO].at), (2 + TICKS_DOWN, cell(0, 0)));
}

#[test]
fn a_full_world_refuses_strangers_and_takes_back_its_own() {
    let mut world = World::new(Plant::None);
    for id in 0..4096 {
        world.join(PlayerId(id), &mut |_| 0).expect("there is room");
    }
    world.leave(ONE);
    assert_eq!(world.join(PlayerId(4096), &mut |_| 0), Err(WorldFull));
    assert_eq!(world.join(ONE, &mut |_| 0), Ok(Standing::default()));
}

#[derive(Debug, Clone, Copy)]
enum Call {
    Join(u32),
    Leave(u32),
    /// A command whose number is so much above, or below, the one that follows the last accepted.
    Command(u32, i8, Action),
    Tick,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let action = (0..4_usize, any::<bool>()).prop_map(|(direction, shoots)| {
        let direction = Direction::ALL[direction];
        if shoots { Action::Shoot(direction) } else { Action::Move(direction) }
    });
    let call = prop_oneof![
        2 => (0..6_u32).prop_map(Call::Join),
        1 => (0..6_u32).prop_map(Call::Leave),
        20 => (0..6_u32, prop_oneof![8 => Just(0), 1 => -2..3_i8], action).prop_map(|(id, off, action)| Call::Command(id, off, action)),
        8 => Just(Call::Tick),
    ];
    prop::collection::vec(call, 0..400)
}

/// Makes the calls, checks after each of them what must always hold, and returns the world.
fn run(calls: &[Call], seed: u64, plant: Plant) -> World {
    let mut random = dice(seed);
    // All stand close together at first, so that they hit each other.
    let close: Vec<_> = (0..6_u8).map(|id| (PlayerId(id.into()), cell(30 + id % 3, 30 + id / 3))).collect();
    let mut world = World { plant, ..world(&close) };
    for &call in calls {
        let before = world.clone();
        match call {
            Call::Join(id) => {
                let standing = world.join(PlayerId(id), &mut random).expect("there is room");
                assert_eq!(Some(standing), world.standing(PlayerId(id)));
            }
            Call::Leave(id) => world.leave(PlayerId(id)),
            Call::Command(id, off, action) => {
                let next = world.players[&PlayerId(id)].accepted + 1;
                let number = next.saturating_add_signed(i64::from(off));
                let outcome = world.command(PlayerId(id), number, action);
                assert_eq!(outcome == CommandOutcome::Queued, world != before, "only what is queued changes the world");
            }
            Call::Tick => {
                let ticked = world.tick(&mut random);
                let differs = |id: &PlayerId| world.players[id].present && world.standing(*id) != before.standing(*id);
                let changed: Vec<_> = world.players.keys().copied().filter(|id| differs(id)).collect();
                assert_eq!(ticked.changed, changed);
            }
        }
        for (id, player) in &world.players {
            let (now, then) = (player.standing, before.players[id].standing);
            assert!(now.applied == now.last_applied && now.odometer + now.shots_fired == now.applied);
            assert!(now.score <= now.shots_fired && now.events >= now.score + now.deaths);
            assert!(now.last_applied >= then.last_applied && now.score >= then.score && now.events >= then.events);
            assert_eq!(player.accepted, now.last_applied + player.queued.len() as u64, "each number once");
            assert!(player.queued.len() <= COMMANDS_QUEUED_MAX && player.health <= HEALTH_MAX);
            assert!(!field::is_wall(player.at));
        }
    }
    let sum = |fact: fn(&Standing) -> u64| world.players.values().map(|player| fact(&player.standing)).sum::<u64>();
    assert!(sum(|told| told.score) >= sum(|told| told.deaths) * u64::from(HEALTH_MAX));
    world
}

proptest! {
    #[test]
    fn whatever_is_called_the_rules_hold_and_the_same_calls_make_the_same_world(calls in calls(), seed: u64) {
        prop_assert_eq!(run(&calls, seed, Plant::None), run(&calls, seed, Plant::None));
    }
}

#[test]
#[should_panic(expected = "each number once")]
fn the_check_above_notices_a_double() {
    run(&[Call::Command(1, 0, WEST), Call::Command(1, -1, WEST), Call::Tick], 0, Plant::Double);
}

#[test]
#[should_panic(expected = "now.applied == now.last_applied")]
fn the_check_above_notices_a_loss() {
    let two = [Call::Command(1, 0, WEST), Call::Tick];
    run(&two.repeat(50), 0, Plant::Lose);
}
