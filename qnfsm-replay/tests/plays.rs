//! Where a program parts from the record because of something outside its data, the step from which on it did is found, whichever play comes
//! to part first: the session's first one, one of two that are held against each other, or each. What is outside here are registers, so that
//! a test says what each play reads.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use qnfsm::{
    Context, Down, Fsm, Invariants, Kinds, Limits, Next, NodeBuilder, QueueId, Recording, Reply, ReplyTo,
    schema::Content,
};
use qnfsm_replay::{
    Options, ReplayError, Session,
    session::{Difference, Direction, FoundBy, Hint, PartOf},
};
use rig::PATIENCE;
use serde::{Deserialize, Serialize};

/// What is outside: what is read next, and how much more the next one reads.
static REGISTERS: [[AtomicU64; 2]; 4] = [const { [const { AtomicU64::new(0) }; 2] }; 4];
/// They are all tests'.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    (0..REGISTERS.len()).for_each(|register| set(register, 0, 0));
    alone
}

fn set(register: usize, next: u64, more: u64) {
    REGISTERS[register][0].store(next, Ordering::Relaxed);
    REGISTERS[register][1].store(more, Ordering::Relaxed);
}

fn outside(register: usize) -> u64 {
    let [next, more] = &REGISTERS[register];
    next.fetch_add(more.load(Ordering::Relaxed), Ordering::Relaxed)
}

/// What a cell does at one of its turns, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Plant {
    /// What a register has goes into its state.
    State(u64, usize),
    /// Likewise, at each of its turns.
    Always(usize),
    /// Into its data, where it stays.
    Kept(u64, usize),
    /// Into its data, of which nobody is ever told.
    Silent(u64, usize),
    /// What it has of that is given up.
    Quiet(u64),
    /// As the order of a list.
    Order(u64, usize),
    /// It tells of what it has kept.
    Tell(u64),
    /// It is woken soon, if a register is even, and in an hour, if it is odd.
    Wake(u64, usize),
    /// It has a wake more at once, if a register is odd.
    Nudge(u64, usize),
    /// It stops, if a register is odd.
    Stop(u64, usize),
    /// It is to keep what a register has: it tells itself so, or a timer does.
    Echo(u64, usize),
    Later(u64, usize),
    /// It has a child that starts in the state that a register has.
    Child(u64, usize),
    /// What a child does.
    Born,
    /// It wants to know when the first cell is gone.
    Watch(u64),
    /// It asks the first cell for what that has kept, and takes it for its state.
    Ask(u64),
    /// It keeps nothing any more.
    Forget(u64),
    /// It has the other cell keep what it has kept.
    Pass(u64),
}

#[derive(Serialize, Deserialize)]
struct Root {
    plants: [Vec<Plant>; 2],
    cells: Vec<QueueId<Turn>>,
}

#[derive(Serialize, Deserialize)]
enum Turn {
    Take(ReplyTo<u64>),
    Wake,
    Keep(u64),
    Ask(ReplyTo<u64>),
    Got(Reply<u64>),
    Gone(Down),
}

impl From<Down> for Turn {
    fn from(down: Down) -> Turn {
        Turn::Gone(down)
    }
}

impl From<Reply<u64>> for Turn {
    fn from(reply: Reply<u64>) -> Turn {
        Turn::Got(reply)
    }
}

impl Fsm for Root {
    const NAME: &'static str = "root";
    type State = ();
    type Message = Turn;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        let cells = self.plants.clone().into_iter();
        let root = Some(cx.id());
        for plants in cells {
            let first = self.cells.first().copied();
            self.cells.push(cx.spawn(Cell { plants, root, first, ..Cell::default() }));
        }
    }

    fn handle(&mut self, (): (), turn: Turn, cx: &mut Context<'_, Self>) -> Next<Self> {
        match turn {
            Turn::Take(reply) => self.cells.iter().for_each(|cell| cx.send(*cell, Turn::Take(reply.clone()))),
            Turn::Keep(number) => cx.send(self.cells[1], Turn::Keep(number)),
            Turn::Ask(reply) => cx.send(self.cells[0], Turn::Ask(reply)),
            Turn::Wake | Turn::Got(_) | Turn::Gone(_) => {}
        }
        Next::Stay
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Cell {
    plants: Vec<Plant>,
    turns: u64,
    kept: u64,
    silent: u64,
    order: Vec<u64>,
    woken: u64,
    root: Option<QueueId<Turn>>,
    first: Option<QueueId<Turn>>,
}

/// By how much a wake changes a cell's state.
const WOKEN: u64 = 1000;

impl Fsm for Cell {
    const NAME: &'static str = "cell";
    type State = u64;
    type Message = Turn;

    fn start(&mut self, _: &mut Context<'_, Self>) -> u64 {
        if self.plants.contains(&Plant::Born) { self.kept } else { 0 }
    }

    fn handle(&mut self, state: u64, turn: Turn, cx: &mut Context<'_, Self>) -> Next<Self> {
        let reply = match turn {
            Turn::Take(reply) => reply,
            Turn::Wake => {
                self.woken += 1;
                return Next::Goto(state + WOKEN);
            }
            Turn::Keep(number) => {
                self.kept = number;
                return Next::Stay;
            }
            Turn::Ask(reply) => {
                cx.reply(reply, self.kept);
                return Next::Stay;
            }
            Turn::Gone(_) => return Next::Goto(state + WOKEN),
            Turn::Got(Reply { outcome, .. }) => return Next::Goto(outcome.unwrap_or_default()),
        };
        self.turns += 1;
        let mut next = state;
        for plant in self.plants.clone() {
            match plant {
                Plant::State(turn, register) if turn == self.turns => next = outside(register),
                Plant::Always(register) => next = outside(register),
                Plant::Kept(turn, register) if turn == self.turns => self.kept = outside(register),
                Plant::Silent(turn, register) if turn == self.turns => self.silent = outside(register),
                Plant::Quiet(turn) if turn == self.turns => self.silent = 0,
                Plant::Order(turn, register) if turn == self.turns => {
                    self.order = vec![3, 1, 2];
                    self.order.rotate_left(usize::try_from(outside(register) % 3).unwrap());
                    self.kept = self.order[0];
                }
                Plant::Tell(turn) if turn == self.turns => next = self.kept,
                Plant::Echo(turn, register) if turn == self.turns => cx.send_self(Turn::Keep(outside(register))),
                Plant::Later(turn, register) if turn == self.turns => {
                    cx.after(Duration::from_nanos(1), Turn::Keep(outside(register)));
                }
                Plant::Child(turn, register) if turn == self.turns => {
                    cx.spawn(Cell { plants: vec![Plant::Born], kept: outside(register), ..Cell::default() });
                }
                Plant::Watch(turn) if turn == self.turns => cx.monitor(self.first.expect("it isn't the first")),
                Plant::Ask(turn) if turn == self.turns => {
                    cx.request(self.root.expect("its root gave it"), PATIENCE, Turn::Ask);
                }
                Plant::Forget(turn) if turn == self.turns => self.kept = 0,
                Plant::Pass(turn) if turn == self.turns => {
                    cx.send(self.root.expect("its root gave it"), Turn::Keep(self.kept));
                }
                Plant::Wake(turn, register) if turn == self.turns => {
                    cx.after(Duration::from_nanos(1 + outside(register) % 2 * 3_600_000_000_000), Turn::Wake);
                }
                Plant::Nudge(turn, register) if turn == self.turns && outside(register) % 2 == 1 => {
                    cx.send_self(Turn::Wake);
                }
                _ => {}
            }
        }
        cx.reply(reply, self.turns);
        if self.plants.iter().any(
            |plant| matches!(plant, Plant::Stop(turn, register) if *turn == self.turns && outside(*register) % 2 == 1),
        ) {
            return Next::Stop;
        }
        Next::Goto(next)
    }
}

fn kinds() -> Kinds {
    Kinds::new().with::<Root>().with::<Cell>().message::<u64>().replies::<Turn, u64>().accepts::<Turn, Down>()
}

/// Lets both cells have so many turns, each in a round of its own.
fn turns(dir: &Path, plants: [&[Plant]; 2], recording: Recording, turns: u64) {
    turns_until(dir, plants, recording, turns, || {});
}

/// Likewise, and does something before the node is stopped.
fn turns_until(dir: &Path, plants: [&[Plant]; 2], recording: Recording, turns: u64, meanwhile: impl FnOnce()) {
    let node = NodeBuilder::new("cells", kinds()).dir(dir).recording(recording);
    let root = Root { plants: plants.map(<[Plant]>::to_vec), cells: Vec::new() };
    let node = node.start(&root).unwrap();
    (0..turns).for_each(|_| assert!(node.host().request::<_, u64>(node.root(), PATIENCE, Turn::Take).unwrap() > 0));
    meanwhile();
    node.stop().unwrap();
}

fn recorded(plants: [&[Plant]; 2]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    turns(dir.path(), plants, Recording::Inputs, 20);
    dir
}

fn opened(dir: &Path, stations_apart: Duration) -> Session {
    Session::open(dir, kinds(), &Options::new().stations_apart(stations_apart)).unwrap()
}

/// With one station, at the start, and with many.
const APART: [Duration; 2] = [Duration::from_secs(3600), Duration::ZERO];

/// Which turn of which cell a difference names, counted from 1 and from 0.
fn named(session: &Session, difference: &Difference) -> Option<(u64, u32)> {
    let step = difference.step.as_ref()?;
    assert_eq!(session.step(), Some(&step.step), "the session stands there");
    let value = &session.catalogue().table().kinds[step.step.kind as usize].value;
    let turns = value.printer().part(&step.step.after.data, &"turns".parse().unwrap()).unwrap();
    let Some(Content::Unsigned(turns)) = turns else { panic!("{turns:?}") };
    Some((u64::try_from(turns).unwrap(), step.step.queue.slot() - 1))
}

#[test]
fn who_keeps_what_differs_to_himself_is_not_blamed() {
    let _alone = alone();
    let dir = recorded([&[Plant::Silent(2, 0)], &[Plant::Silent(3, 0), Plant::Kept(5, 1), Plant::Tell(12)]]);
    set(0, 100, 1);
    set(1, 200, 1);
    for apart in APART {
        let mut session = opened(dir.path(), apart);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!(named(&session, &difference), Some((3, 1)), "the first that isn't alike of the one that told");
        assert_eq!((difference.found_by, difference.may_have_begun_before), (FoundBy::Repetition, false));
        // What it kept then may have come of that, or not.
        assert_eq!(difference.others.iter().map(|step| step.round - difference.begins.1).collect::<Vec<_>>(), [2]);
    }
    let dir = recorded([&[Plant::Silent(2, 0)], &[Plant::Kept(5, 1), Plant::Tell(12)]]);
    for apart in APART {
        let mut session = opened(dir.path(), apart);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!(named(&session, &difference), Some((5, 1)));
        assert!(difference.begins.0 < difference.ordinal && difference.agreed == Some(difference.begins.1 - 1));
    }
}

#[test]
fn what_was_given_up_again_is_not_blamed() {
    let _alone = alone();
    let dir = recorded([&[], &[Plant::Silent(3, 0), Plant::Quiet(5), Plant::State(11, 1)]]);
    set(0, 100, 1);
    set(1, 200, 1);
    for apart in APART {
        let mut session = opened(dir.path(), apart);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!(named(&session, &difference), Some((11, 1)));
        assert_eq!(difference.begins.0, difference.ordinal);
    }
    // What it told, and did not keep, nor did who was told.
    set(0, 0, 0);
    set(1, 0, 0);
    let told = [Plant::Kept(4, 0), Plant::Pass(4), Plant::Forget(4), Plant::State(5, 1)];
    let dir = recorded([&told, &[Plant::Forget(5)]]);
    set(0, 100, 1);
    set(1, 200, 1);
    for apart in APART {
        let mut session = opened(dir.path(), apart);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!(named(&session, &difference), Some((5, 0)));
    }
    // In its very last turn, where a snapshot tells that some data aren't alike.
    set(0, 0, 0);
    set(1, 0, 0);
    let dir = recorded([&[Plant::Silent(3, 0), Plant::Quiet(20)], &[Plant::Silent(9, 1)]]);
    set(0, 100, 1);
    set(1, 200, 1);
    for apart in APART {
        let mut session = opened(dir.path(), apart);
        let difference = session.difference().unwrap().unwrap();
        assert!(difference.diverged.divergence.is_of_image);
        assert_eq!(named(&session, &difference), Some((9, 1)));
    }
}

#[test]
fn a_play_that_parts_before_the_first_one_did_is_an_answer_and_no_error() {
    let _alone = alone();
    let dir = recorded([&[Plant::State(4, 0)], &[Plant::State(11, 1)]]);
    for (apart, more) in APART.into_iter().flat_map(|apart| [(apart, 0), (apart, 1)]) {
        set(0, 0, 0);
        set(1, 7, 0);
        let mut session = opened(dir.path(), apart);
        let Some(ReplayError::Diverged(first)) = session.stopped() else { panic!("{:?}", session.stopped()) };
        let first = first.divergence.round;
        set(0, 9, more);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!((difference.found_by, difference.diverged.divergence.round), (FoundBy::Repetition, first));
        assert_eq!((difference.begins.1, difference.agreed), (first - 7, Some(first - 8)), "seven turns before");
        // Where both plays do the same, the round is known.
        assert_eq!(named(&session, &difference), (more != 0).then_some((4, 0)));
        assert_eq!(session.spot().unwrap().round, difference.begins.1);
    }
}

#[test]
fn what_the_first_play_alone_did_is_not_told_to_come_each_time() {
    let _alone = alone();
    let dir = recorded([&[Plant::State(4, 0)], &[]]);
    set(0, 7, 0);
    let mut session = opened(dir.path(), Duration::ZERO);
    set(0, 0, 0);
    let difference = session.difference().unwrap().unwrap();
    assert_eq!((difference.found_by, &difference.hints[..]), (FoundBy::Once, &[Hint::Random][..]));
}

#[test]
fn what_began_before_each_delivery_was_recorded_is_found_there() {
    let _alone = alone();
    let plants: [&[Plant]; 2] = [&[], &[Plant::Kept(5, 1), Plant::Tell(30)]];
    // As a kill leaves it, before there is a snapshot: all that tells of data are the deliveries of the next run.
    let (dir, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    turns_until(dir.path(), plants, Recording::Inputs, 20, || rig::copy(dir.path(), killed.path()));
    turns(killed.path(), plants, Recording::Everything, 20);
    set(1, 200, 1);
    for apart in APART {
        let mut session = opened(killed.path(), apart);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!((named(&session, &difference), difference.found_by), (Some((5, 1)), FoundBy::Repetition));
    }
    set(1, 0, 0);
    let dir = tempfile::tempdir().unwrap();
    turns(dir.path(), plants, Recording::Inputs, 20);
    turns(dir.path(), plants, Recording::Everything, 20);
    set(1, 200, 1);
    for apart in APART {
        let mut session = opened(dir.path(), apart);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!((named(&session, &difference), difference.found_by), (Some((5, 1)), FoundBy::Repetition));
    }
    // Where it does the same each time it can't be found, and it is said that it may have begun before: a snapshot tells of data.
    set(1, 200, 0);
    let mut session = opened(dir.path(), Duration::ZERO);
    let difference = session.difference().unwrap().unwrap();
    assert_eq!((difference.found_by, difference.may_have_begun_before), (FoundBy::Image, true), "{difference:?}");
    assert_eq!(difference.hints, [Hint::Elsewhere], "{difference:?}");
}

#[test]
fn the_same_elements_in_another_order_look_like_the_order_of_a_map() {
    let _alone = alone();
    for recording in [Recording::Inputs, Recording::Everything] {
        set(0, 0, 0);
        let dir = tempfile::tempdir().unwrap();
        turns(dir.path(), [&[Plant::Order(4, 0), Plant::Tell(9)], &[]], recording, 12);
        set(0, 1, 1);
        let mut session = opened(dir.path(), Duration::ZERO);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!(named(&session, &difference), Some((4, 0)), "{recording:?}");
        let parts = &difference.step.as_ref().unwrap().parts;
        let order = parts.iter().find(|part| part.of == PartOf::Data && part.path.to_string() == "order");
        assert!(matches!(order.and_then(|part| part.found.as_ref()), Some(Content::Seq(_))), "{parts:?}");
        assert!(difference.hints.contains(&Hint::MapOrder), "{:?}", difference.hints);
    }
}

#[test]
fn who_sets_another_timer_is_named_and_not_where_it_fires() {
    let _alone = alone();
    set(0, 1, 0);
    let dir = tempfile::tempdir().unwrap();
    turns(dir.path(), [&[Plant::Wake(4, 0)], &[]], Recording::Inputs, 20);
    for (apart, first) in APART.into_iter().flat_map(|apart| [(apart, 0), (apart, 1)]) {
        set(0, 0, 0);
        let mut session = opened(dir.path(), apart);
        set(0, first, 1);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!(named(&session, &difference), Some((4, 0)), "{difference:?}");
    }
}

/// On whatever way it comes, and though whoever sent it is alike.
#[test]
fn what_an_fsm_was_given_is_led_back_to_who_made_it() {
    let _alone = alone();
    let ways: [[&[Plant]; 2]; 4] = [
        [&[Plant::Echo(4, 0), Plant::Tell(12)], &[]],
        [&[Plant::Later(4, 0), Plant::Tell(12)], &[]],
        [&[Plant::Child(4, 0)], &[]],
        [&[Plant::Kept(4, 0), Plant::Forget(8)], &[Plant::Ask(6)]],
    ];
    for plants in ways {
        set(0, 0, 0);
        let dir = recorded(plants);
        for apart in APART {
            set(0, 100, 1);
            let mut session = opened(dir.path(), apart);
            let difference = session.difference().unwrap().unwrap();
            assert_eq!(named(&session, &difference), Some((4, 0)), "{plants:?}: {difference:?}");
            let message = difference.step.as_ref().and_then(|step| step.step.message.as_ref()).unwrap();
            assert_eq!(message.bytes[0], 0, "it made that where it had its turn: {plants:?}: {difference:?}");
            assert_eq!((difference.others.len(), difference.agreed), (0, Some(difference.begins.1 - 1)));
        }
    }
}

#[test]
fn that_an_fsm_is_gone_is_led_back_to_where_it_stopped() {
    let _alone = alone();
    let dir = recorded([&[Plant::Stop(6, 0)], &[Plant::Watch(2)]]);
    for (apart, first) in APART.into_iter().flat_map(|apart| [(apart, 0), (apart, 1)]) {
        set(0, 1, 0);
        let mut session = opened(dir.path(), apart);
        set(0, first, 1);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!(named(&session, &difference), Some((6, 0)), "{difference:?}");
    }
}

#[test]
fn data_that_may_have_nothing_to_do_with_it_are_not_said_to_lead_there() {
    let _alone = alone();
    let dir = recorded([&[Plant::Silent(4, 0)], &[Plant::State(11, 1)]]);
    for apart in APART {
        set(0, 100, 1);
        set(1, 200, 0);
        let mut session = opened(dir.path(), apart);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!((named(&session, &difference), difference.found_by), (Some((4, 0)), FoundBy::Data));
        assert_eq!(difference.others.iter().map(|step| step.ordinal).collect::<Vec<_>>(), [difference.ordinal]);
    }
}

/// A coin that falls as it fell when it was recorded, each second time.
#[test]
fn where_each_delivery_was_recorded_chance_does_not_hide_it() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    turns(dir.path(), [&[Plant::Nudge(4, 0)], &[]], Recording::Everything, 12);
    for (apart, first) in APART.into_iter().flat_map(|apart| [(apart, 0), (apart, 1)]) {
        set(0, 1, 0);
        let mut session = opened(dir.path(), apart);
        set(0, first, 1);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!((named(&session, &difference), difference.found_by), (Some((4, 0)), FoundBy::Deliveries));
    }
}

/// Nobody has played the round before the first one behind a snapshot.
#[test]
fn no_round_before_a_beginning_is_said_to_have_agreed() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        segment_bytes: 1 << 13,
        snapshot_every_bytes: 1 << 11,
        retain_bytes: Some(1 << 17),
        ..Limits::default()
    };
    let node = NodeBuilder::new("cells", kinds()).dir(dir.path()).limits(limits);
    let node = node.start(&Root { plants: [vec![Plant::Always(0)], Vec::new()], cells: Vec::new() }).unwrap();
    let ask = || node.host().request::<_, u64>(node.root(), PATIENCE, Turn::Take).unwrap();
    (0..3000).for_each(|_| assert!(ask() > 0));
    node.stop().unwrap();
    for more in [0, 1] {
        set(0, 7, more);
        let mut session = opened(dir.path(), Duration::ZERO);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!(difference.begins, (difference.ordinal, difference.diverged.divergence.round));
        assert!(difference.begins.1 > 1000 && difference.agreed.is_none(), "{difference:?}");
    }
}

/// Whoever told it may be alike again since, or gone.
#[test]
fn what_was_told_is_led_back_to_where_it_came_from() {
    let _alone = alone();
    set(2, 1, 0);
    for then in [Plant::Stop(6, 2), Plant::Forget(7)] {
        set(0, 0, 0);
        let dir = recorded([&[Plant::Kept(3, 0), Plant::Pass(6), then], &[Plant::Tell(12)]]);
        for apart in APART {
            set(0, 100, 1);
            let mut session = opened(dir.path(), apart);
            let difference = session.difference().unwrap().unwrap();
            assert_eq!(named(&session, &difference), Some((3, 0)), "{difference:?}");
        }
    }
}

/// A step may be another in what none of its parts says.
#[test]
fn who_stops_in_one_play_alone_is_named_and_not_who_differs_in_data_before() {
    let _alone = alone();
    let dir = recorded([&[Plant::Silent(4, 0)], &[Plant::Stop(4, 1)]]);
    for (apart, first) in APART.into_iter().flat_map(|apart| [(apart, 0), (apart, 1)]) {
        set(1, 1, 0);
        let mut session = opened(dir.path(), apart);
        set(0, 100, 1);
        set(1, first, 1);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!(named(&session, &difference), Some((4, 1)), "{difference:?}");
    }
}

#[test]
fn a_message_that_comes_in_one_play_alone_leads_to_who_sent_it() {
    let _alone = alone();
    let dir = recorded([&[Plant::Nudge(4, 0)], &[]]);
    for (apart, first) in APART.into_iter().flat_map(|apart| [(apart, 0), (apart, 1)]) {
        set(0, 1, 0);
        let mut session = opened(dir.path(), apart);
        set(0, first, 1);
        let difference = session.difference().unwrap().unwrap();
        assert_eq!(named(&session, &difference), Some((4, 0)), "{difference:?}");
    }
}

#[test]
fn where_a_later_play_parts_a_search_is_not_ended_in_silence() {
    let _alone = alone();
    let dir = recorded([&[Plant::State(4, 0)], &[]]);
    for apart in APART {
        set(0, 0, 0);
        let mut session = opened(dir.path(), apart);
        assert!(session.stopped().is_none(), "{:?}", session.stopped());
        assert!(!session.find(Direction::Forward, |_, _| false).unwrap());
        set(0, 7, 0);
        let few =
            || {
                Invariants::new().state::<Cell>("few turns", |cell: &Cell, _| {
                    if cell.turns < 18 { Ok(()) } else { Err("many".to_owned()) }
                })
            };
        // What comes before is found.
        let many_turns = |turns: u64| {
            Invariants::new().state::<Cell>("few turns", move |cell: &Cell, _| {
                if cell.turns < turns { Ok(()) } else { Err("many".to_owned()) }
            })
        };
        let broken = session.check(many_turns(3)).unwrap().unwrap();
        assert_eq!((broken.ordinal, session.spot().unwrap().ordinal), (2, 2));
        assert_eq!(session.bisect(many_turns(3), "few turns").unwrap().map(|broken| broken.ordinal), Some(2));
        session.go_to(0).unwrap();
        assert!(session.find(Direction::Forward, |log, _| log.ordinal == 2).unwrap());
        let found = session.find(Direction::Forward, |_, _| false);
        assert!(matches!(found, Err(ReplayError::Diverged(_))), "{found:?}");
        let checked = session.check(few());
        assert!(matches!(checked, Err(ReplayError::Diverged(_))), "{:?}", checked.map(|it| it.map(|it| it.ordinal)));
    }
}
