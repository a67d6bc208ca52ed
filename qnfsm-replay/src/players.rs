//! Players on several threads: hands each record to the player of its worker, in excerpts that come back for reuse, and
//! joins what the players have in the end.
//!
//! Workers depend on their own recorded inputs alone, so players don't wait for one another. What always holds:
//!
//! - A worker's records go to one player, in the journal's order.
//! - What is reported doesn't depend on how far each thread came: where players stop, every record before theirs has been
//!   played by the others, and the first in the journal's order counts. What stands behind it isn't begun any more, so that a
//!   program that does something else from there on doesn't run on for ever.
//! - A player has at most [`UNDER_WAY_MAX`] excerpts and [`UNDER_WAY_BYTES_MAX`] bytes to play; then whoever reads waits.
//!   A player never waits for the reader but for records, so the two can't wait for each other.
//! - No thread outlives its scope: a player ends when nothing more can come, also where the reader panics.
//!
//! Where one thread is to do, or the system gives no further one, a single player works on the caller's, without excerpts.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    num::NonZeroUsize,
    ops::ControlFlow,
    panic::resume_unwind,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread::{Builder, Scope, ScopedJoinHandle},
    time::Duration,
};

use qnfsm::{
    WorkerId,
    journal::{Entry, Excerpt, Position},
    playback::Progress,
};

use crate::player::{Player, Stopped};

/// An excerpt of that many bytes is handed over.
const EXCERPT_BYTES: usize = 256 << 10;

/// The most excerpts that a player has to play.
const UNDER_WAY_MAX: usize = 8;

/// The most bytes that a player has to play, unless a single excerpt is longer.
const UNDER_WAY_BYTES_MAX: usize = 4 << 20;

/// How often progress is reported.
pub(crate) const BETWEEN_REPORTS: Duration = Duration::from_millis(50);

/// How many records are taken at most before players that have nothing to do are looked for.
const RECORDS_BETWEEN_LOOKS: u32 = 1024;

/// The players of a node's workers.
pub(crate) enum Players<'scope, 'env> {
    /// One, on the caller's thread; and why it stopped, if it did.
    Here(Box<Player>, Option<Stopped>),
    /// Each on its own thread.
    Apart(Apart<'scope, 'env>),
}

impl<'scope, 'env> Players<'scope, 'env> {
    /// As many players as there are workers, each on a thread within `scope`, and at most so many.
    pub(crate) fn new(
        scope: &'scope Scope<'scope, 'env>,
        threads: NonZeroUsize,
        player: &'env (dyn Fn() -> Player + Sync),
    ) -> Players<'scope, 'env> {
        let mut apart = Apart {
            scope,
            threads,
            player,
            seats: Vec::new(),
            by_worker: BTreeMap::new(),
            unlooked: 0,
            first: Arc::default(),
        };
        if threads.get() == 1 || !apart.add() {
            return Players::Here(Box::new(player()), None);
        }
        Players::Apart(apart)
    }

    /// Takes a record. Breaks if a player has stopped: then nothing that follows counts.
    pub(crate) fn take(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
        match self {
            Players::Here(player, stopped) => match player.take(entry) {
                Ok(()) => ControlFlow::Continue(()),
                Err(why) => {
                    *stopped = Some(why);
                    ControlFlow::Break(())
                }
            },
            Players::Apart(apart) => apart.take(entry),
        }
    }

    /// How far they have come, as far as they have said.
    pub(crate) fn progress(&mut self) -> Progress {
        match self {
            Players::Here(player, _) => player.progress(),
            Players::Apart(apart) => apart.progress(),
        }
    }

    /// How many bytes of records were taken and have yet to be played.
    pub(crate) fn bytes_waiting(&self) -> u64 {
        match self {
            Players::Here(..) => 0,
            Players::Apart(apart) => apart.bytes_waiting(),
        }
    }

    /// Waits until all that was taken is played; then one player has all workers. `on_progress` is told meanwhile how far they have come, and
    /// how many bytes of records have yet to be played.
    ///
    /// # Errors
    /// Where players stopped: the first of them in the journal's order.
    pub(crate) fn join(self, on_progress: &mut dyn FnMut(Progress, u64)) -> Result<Player, Stopped> {
        match self {
            Players::Here(player, None) => Ok(*player),
            Players::Here(_, Some(stopped)) => Err(stopped),
            Players::Apart(apart) => apart.join(on_progress),
        }
    }
}

/// Players on threads of their own.
pub(crate) struct Apart<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    /// The most threads; fewer, when the system gives no more.
    threads: NonZeroUsize,
    player: &'env (dyn Fn() -> Player + Sync),
    seats: Vec<Seat<'scope>>,
    /// The seat of each worker's player.
    by_worker: BTreeMap<WorkerId, usize>,
    /// Records that were taken since players that have nothing to do were looked for.
    unlooked: u32,
    first: Arc<FirstStop>,
}

impl<'scope, 'env> Apart<'scope, 'env> {
    /// Adds a player. False, if the system has no thread for it.
    fn add(&mut self) -> bool {
        // Neither side ever finds its channel full: there are no more excerpts than that.
        let (work, to_play) = sync_channel(UNDER_WAY_MAX);
        let (played, done) = sync_channel(UNDER_WAY_MAX);
        let (player, first) = (self.player, self.first.clone());
        let name = format!("qnfsm-replay-{}", self.seats.len());
        let thread =
            Builder::new().name(name).spawn_scoped(self.scope, move || play(player(), &to_play, &played, &first));
        let Ok(thread) = thread else { return false };
        self.seats.push(Seat {
            open: Excerpt::default(),
            spare: Vec::new(),
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            workers: 0,
            progress: Progress::default(),
            work,
            done,
            thread,
        });
        true
    }

    /// The seat of a worker's player. A worker that is new gets a player of its own while there are threads; else one of
    /// those with the fewest workers.
    fn seat_of(&mut self, worker: WorkerId) -> usize {
        if let Some(&seat) = self.by_worker.get(&worker) {
            return seat;
        }
        let all_have_work = self.seats.iter().all(|seat| seat.workers > 0);
        if all_have_work && self.seats.len() < self.threads.get() && !self.add() {
            self.threads = NonZeroUsize::new(self.seats.len()).expect("there is a first player");
        }
        let fewest = self.seats.iter().enumerate().min_by_key(|(_, seat)| seat.workers);
        let (seat, _) = fewest.expect("there is a first player");
        self.seats[seat].workers += 1;
        self.by_worker.insert(worker, seat);
        seat
    }

    fn take(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
        // Playbacks make nothing of other records.
        let Some(worker) = entry.record.worker() else { return ControlFlow::Continue(()) };
        let seat = self.seat_of(worker);
        self.seats[seat].open.push(entry);
        self.unlooked += 1;
        if self.seats[seat].open.bytes() >= EXCERPT_BYTES {
            if !self.seats[seat].has_room() {
                self.look()?;
            }
            self.seats[seat].hand_over()?;
        }
        if self.unlooked >= RECORDS_BETWEEN_LOOKS { self.look() } else { ControlFlow::Continue(()) }
    }

    /// Gives players that have nothing to do what there is for them.
    fn look(&mut self) -> ControlFlow<()> {
        self.unlooked = 0;
        for seat in &mut self.seats {
            seat.take_back()?;
            if seat.under_way.is_empty() {
                seat.hand_over()?;
            }
        }
        ControlFlow::Continue(())
    }

    fn progress(&mut self) -> Progress {
        let mut all = Progress::default();
        for seat in &mut self.seats {
            // Whether it has stopped is seen with the next record.
            let _ = seat.take_back();
            let Progress { rounds, rounds_unproved, messages, workers, rounds_passed_over, rounds_not_begun } =
                seat.progress;
            all.rounds += rounds;
            all.rounds_unproved += rounds_unproved;
            all.messages += messages;
            all.workers += workers;
            all.rounds_passed_over += rounds_passed_over;
            all.rounds_not_begun += rounds_not_begun;
        }
        all
    }

    fn bytes_waiting(&self) -> u64 {
        self.seats.iter().map(|seat| (seat.under_way_bytes + seat.open.bytes()) as u64).sum()
    }

    fn join(mut self, on_progress: &mut dyn FnMut(Progress, u64)) -> Result<Player, Stopped> {
        // Players that have stopped say so below; the others need theirs all the same.
        let _ = self.look();
        for seat in &mut self.seats {
            let _ = seat.hand_over();
        }
        while let Some(seat) = self.seats.iter_mut().find(|seat| !seat.under_way.is_empty()) {
            match seat.done.recv_timeout(BETWEEN_REPORTS) {
                Ok(played) => seat.keep(played),
                // Others may have come further.
                Err(RecvTimeoutError::Timeout) => {}
                // It has stopped: nothing more comes back.
                Err(RecvTimeoutError::Disconnected) => {
                    seat.under_way.clear();
                    seat.under_way_bytes = 0;
                }
            }
            let progress = self.progress();
            on_progress(progress, self.bytes_waiting());
        }
        // Without the other end of its channel a player ends; the channels go before the threads are waited for.
        let threads: Vec<_> = self.seats.into_iter().map(|seat| seat.thread).collect();
        let (mut players, mut stopped) = (Vec::new(), Vec::new());
        for thread in threads {
            match thread.join().unwrap_or_else(|panic| resume_unwind(panic)) {
                Ok(player) => players.push(player),
                Err(why) => stopped.push(why),
            }
        }
        if let Some(first) = stopped.into_iter().min_by_key(|stopped| stopped.noticed_at) {
            return Err(first);
        }
        let joined = players.into_iter().reduce(|mut joined, player| {
            joined.absorb(player);
            joined
        });
        Ok(joined.expect("there is a first player"))
    }
}

/// A player on its thread, as whoever reads sees it.
struct Seat<'scope> {
    /// What is being filled for it.
    open: Excerpt,
    /// Excerpts that came back.
    spare: Vec<Excerpt>,
    /// The lengths in bytes of the excerpts that it has, in order.
    under_way: VecDeque<usize>,
    under_way_bytes: usize,
    /// How many workers are its.
    workers: usize,
    /// How far it had come when an excerpt came back last.
    progress: Progress,
    work: SyncSender<Excerpt>,
    done: Receiver<(Excerpt, Progress)>,
    thread: ScopedJoinHandle<'scope, Result<Player, Stopped>>,
}

impl Seat<'_> {
    /// True if it may be given the open excerpt.
    fn has_room(&self) -> bool {
        let bytes = self.under_way_bytes + self.open.bytes();
        self.under_way.is_empty() || (self.under_way.len() < UNDER_WAY_MAX && bytes <= UNDER_WAY_BYTES_MAX)
    }

    /// Gives it the open excerpt, once it has room. Breaks if it has stopped.
    fn hand_over(&mut self) -> ControlFlow<()> {
        self.take_back()?;
        if self.open.is_empty() {
            return ControlFlow::Continue(());
        }
        while !self.has_room() {
            let Ok(played) = self.done.recv() else { return ControlFlow::Break(()) };
            self.keep(played);
        }
        let bytes = self.open.bytes();
        let next = self.spare.pop().unwrap_or_default();
        match self.work.send(mem::replace(&mut self.open, next)) {
            Ok(()) => {
                self.under_way.push_back(bytes);
                self.under_way_bytes += bytes;
                ControlFlow::Continue(())
            }
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// Takes back what it has played by now. Breaks if it has stopped.
    fn take_back(&mut self) -> ControlFlow<()> {
        loop {
            match self.done.try_recv() {
                Ok(played) => self.keep(played),
                Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
                Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
            }
        }
    }

    fn keep(&mut self, (mut excerpt, progress): (Excerpt, Progress)) {
        self.under_way_bytes -= self.under_way.pop_front().expect("what comes back was given");
        self.progress = progress;
        excerpt.clear();
        self.spare.push(excerpt);
    }
}

/// The first record, in the journal's order, with which a player stopped so far.
#[derive(Debug, Default)]
struct FirstStop {
    /// There is one. Looked at before each record, and not behind a lock.
    is_known: AtomicBool,
    noticed_at: Mutex<Option<Position>>,
}

impl FirstStop {
    fn note(&self, noticed_at: Position) {
        // It guards one value, which nobody can leave half done.
        let mut first = self.noticed_at.lock().unwrap_or_else(PoisonError::into_inner);
        *first = Some(first.map_or(noticed_at, |first| first.min(noticed_at)));
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// True if what a record shows may still come first.
    fn allows(&self, position: Position) -> bool {
        if !self.is_known.load(Ordering::Relaxed) {
            return true;
        }
        let first = *self.noticed_at.lock().unwrap_or_else(PoisonError::into_inner);
        first.is_none_or(|first| position <= first)
    }
}

/// What a player's thread does: plays what comes, until nothing more can come.
fn play(
    mut player: Player,
    to_play: &Receiver<Excerpt>,
    played: &SyncSender<(Excerpt, Progress)>,
    first: &FirstStop,
) -> Result<Player, Stopped> {
    for excerpt in to_play {
        let taken = player.take_all(&excerpt, |position| first.allows(position));
        taken.inspect_err(|stopped| first.note(stopped.noticed_at))?;
        // Where nobody reads any more, nobody wants it back.
        let _ = played.send((excerpt, player.progress()));
    }
    Ok(player)
}

#[cfg(test)]
mod tests {
    use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder, NodeId, journal::Reader};
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Adder(u64);

    #[derive(Serialize, Deserialize)]
    enum Add {
        Number(u64),
        Tell(qnfsm::ReplyTo<u64>),
    }

    impl Fsm for Adder {
        const NAME: &'static str = "adder";
        type State = ();
        type Message = Add;

        fn start(&mut self, _: &mut Context<'_, Adder>) {}

        fn handle(&mut self, (): (), add: Add, cx: &mut Context<'_, Adder>) -> Next<Adder> {
            match add {
                Add::Number(number) => self.0 += number,
                Add::Tell(reply) => cx.reply(reply, self.0),
            }
            Next::Stay
        }
    }

    fn kinds() -> Kinds {
        Kinds::new().with::<Adder>().message::<u64>()
    }

    /// A recorded run, and where its records stand.
    fn recorded() -> (Excerpt, Vec<Position>) {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeBuilder::new("players", kinds()).dir(dir.path()).start(&Adder(0)).unwrap();
        for number in 0..20 {
            node.host().send(node.root(), &Add::Number(number)).unwrap();
            let _: u64 = node.host().request(node.root(), Duration::from_secs(60), Add::Tell).unwrap();
        }
        node.stop().unwrap();
        let mut reader = Reader::open(Arc::new(qnfsm::journal::RealFiles), dir.path()).unwrap();
        let (mut excerpt, mut positions) = (Excerpt::default(), Vec::new());
        while let Some(entry) = reader.next().unwrap() {
            excerpt.push(&entry);
            positions.push(entry.position);
        }
        (excerpt, positions)
    }

    /// How many rounds a player plays of all of it, where others have stopped there.
    fn rounds(excerpt: Excerpt, stops: &[Position]) -> u64 {
        let first = FirstStop::default();
        stops.iter().for_each(|stop| first.note(*stop));
        let (work, to_play) = sync_channel(1);
        let (played, _done) = sync_channel(1);
        work.send(excerpt).unwrap();
        drop(work);
        let player = Player::new(kinds().seal().unwrap(), NodeId(0), None, Arc::default());
        let Ok(player) = play(player, &to_play, &played, &first) else { panic!("it does what was recorded") };
        player.progress().rounds
    }

    #[test]
    fn what_stands_behind_the_first_stop_is_not_begun() {
        // Each run is another one, of twenty rounds at least.
        let played = |stops: fn(&[Position]) -> Vec<Position>| {
            let (excerpt, positions) = recorded();
            rounds(excerpt, &stops(&positions))
        };
        assert!(played(|_| vec![]) >= 20);
        assert_eq!(played(|_| vec![Position::default()]), 0);
        assert!((1..20).contains(&played(|at| vec![at[at.len() - 1], at[at.len() / 4], at[at.len() / 2]])));
        assert!(played(|at| vec![at[at.len() - 1]]) >= 20);
    }
}
