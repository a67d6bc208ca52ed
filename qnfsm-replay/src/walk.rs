//! Through a journal once, from its start to its end, and every round with all that happened in it is shown on the way.
//!
//! It holds no more of the journal than the rounds that have yet to be shown in their turn, in a given number of bytes.

use std::{collections::BTreeMap, fmt, ops::ControlFlow, path::Path, sync::Arc};

use qnfsm::{
    Catalogue, Kinds,
    journal::{Manifest, Reader},
    playback::Progress,
};

use crate::{
    NotBegun, Options, ReplayError, Seen,
    live::Again,
    recorded::{Recorded, Segments},
    scan::Scan,
    session::RoundLog,
};

/// How many bytes of rounds wait at most for an earlier one that has yet to end.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// How much is done between two reports of progress: records that are taken, and handlers that are run. A round may have very many of these.
const WORK_BETWEEN_REPORTS: usize = 256;

/// A journal that is gone through once.
///
/// ```
/// # use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Counter { count: u64 }
/// # #[derive(Serialize, Deserialize)] enum Tick { Tick }
/// # impl Fsm for Counter {
/// #     const NAME: &'static str = "counter";
/// #     type State = ();
/// #     type Message = Tick;
/// #     fn start(&mut self, _: &mut Context<'_, Self>) {}
/// #     fn handle(&mut self, _: (), _: Tick, _: &mut Context<'_, Self>) -> Next<Self> { self.count += 1; Next::Stay }
/// # }
/// # fn kinds() -> Kinds { Kinds::new().with::<Counter>() }
/// use std::ops::ControlFlow;
///
/// use qnfsm_replay::{Options, Walk};
///
/// # let dir = tempfile::tempdir()?;
/// # let node = NodeBuilder::new("counter", kinds()).dir(dir.path()).start(&Counter { count: 0 })?;
/// # node.host().send(node.root(), &Tick::Tick)?;
/// # node.stop()?;
/// let mut steps = 0;
/// let walked = Walk::open(dir.path(), kinds(), &Options::new())?.rounds(|log| {
///     steps += log.steps.len();
///     ControlFlow::Continue(())
/// })?;
/// # assert!(walked.rounds > 0 && steps > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Walk<'o> {
    recorded: Recorded,
    reader: Reader,
    options: &'o Options<'o>,
    waiting_bytes_max: usize,
}

/// What was gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Walked {
    /// The rounds that were shown.
    pub rounds: u64,
    /// Of these, rounds that were shown after a later one, because too much would have had to wait for them.
    pub late: u64,
}

impl fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("dir", &self.recorded.dir).finish_non_exhaustive()
    }
}

impl<'o> Walk<'o> {
    /// Opens the node's directory `dir`, to be played with a program's kinds. Nothing is changed there.
    ///
    /// # Errors
    /// As [`replay`](crate::replay), for what is known before the first record.
    pub fn open(dir: &Path, kinds: Kinds, options: &'o Options<'o>) -> Result<Walk<'o>, ReplayError> {
        Walk::open_sealed(dir, kinds.seal()?, options)
    }

    /// Likewise, with kinds that were sealed before.
    pub(crate) fn open_sealed(
        dir: &Path,
        catalogue: Arc<Catalogue>,
        options: &'o Options<'o>,
    ) -> Result<Walk<'o>, ReplayError> {
        let (program, storage) = (options.program.as_deref(), options.storage.clone());
        let (recorded, reader) = Recorded::open_sealed(dir, catalogue, program, storage, &Again::new(options.live))?;
        Ok(Walk::of(recorded, reader, options))
    }

    /// Of a directory that was opened, from its reader's place on.
    pub(crate) fn of(recorded: Recorded, reader: Reader, options: &'o Options<'o>) -> Walk<'o> {
        Walk { recorded, reader, options, waiting_bytes_max: WAITING_BYTES_MAX }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.recorded.dir
    }

    /// Whose directory it is.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.recorded.manifest
    }

    /// The kinds and message types, by whose table bytes are shown.
    #[must_use]
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.recorded.catalogue
    }

    /// Lets at most so many bytes of rounds wait for an earlier one that has yet to end; 64 MiB unless it is said.
    #[must_use]
    pub fn waiting_bytes(self, waiting_bytes_max: usize) -> Walk<'o> {
        Walk { waiting_bytes_max, ..self }
    }

    /// Plays the journal with every check of a replay, and shows each round to `see`, in the order of the journal, until it has seen enough.
    /// A round whose end would be waited for too long comes after later ones; its ordinal says so.
    ///
    /// # Errors
    /// As [`replay`](crate::replay). Every round that ran before is shown then, and the one in which the program parts from the record too.
    ///
    /// # Panics
    /// As [`replay`](crate::replay).
    pub fn rounds(mut self, mut see: impl FnMut(&RoundLog) -> ControlFlow<()>) -> Result<Walked, ReplayError> {
        let mut rounds = self.begin();
        while let Some(log) = rounds.next()? {
            if see(&log).is_break() {
                break;
            }
        }
        Ok(rounds.walked())
    }

    /// Begins to walk, for who asks for one round after another.
    pub(crate) fn begin(&mut self) -> Rounds<'_> {
        let Walk { recorded, reader, options, waiting_bytes_max } = self;
        let scan = Scan::new(recorded.player(), 0, None);
        let (segments, order) = (Segments::new(recorded), Order::new(*waiting_bytes_max));
        let again = Again::new(options.live);
        Rounds { recorded, reader, options, segments, scan, order, again, since_report: 0, ended: None }
    }
}

/// A walk under way.
pub(crate) struct Rounds<'w> {
    recorded: &'w Recorded,
    reader: &'w mut Reader,
    options: &'w Options<'w>,
    segments: Segments<'w>,
    scan: Scan,
    order: Order,
    again: Again,
    /// What was done since progress was reported.
    since_report: usize,
    /// Nothing more is read; and why, until that was told.
    ended: Option<Result<(), ReplayError>>,
}

impl Rounds<'_> {
    /// The next round; none behind the last one. What ran and waits still comes before it is said why no more did.
    pub(crate) fn next(&mut self) -> Result<Option<RoundLog>, ReplayError> {
        loop {
            let upto = if self.ended.is_some() { u64::MAX } else { self.scan.upto() };
            if let Some(log) = self.order.next(upto) {
                return Ok(Some(log));
            }
            match self.ended.replace(Ok(())) {
                Some(told) => return told.map(|()| None),
                None => {
                    let read = self.read();
                    self.ended = read.map_or_else(|error| Some(Err(error)), |is_end| is_end.then_some(Ok(())));
                }
            }
        }
    }

    /// What was given so far.
    pub(crate) fn walked(&self) -> Walked {
        Walked { rounds: self.order.rounds, late: self.order.late }
    }

    /// How many rounds were passed over because they stand before the first snapshots to go on from, and the snapshots that could not be begun with.
    pub(crate) fn not_begun(&self) -> (u64, Vec<NotBegun>) {
        let player = &self.scan.player;
        (player.progress().rounds_passed_over, self.recorded.left_out(&player.playback).not_begun)
    }

    /// Plays one record on; true, if the journal has ended.
    fn read(&mut self) -> Result<bool, ReplayError> {
        let recorded = self.recorded;
        let Rounds { reader, segments, scan, order, again, .. } = self;
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                let (logs, taken) = scan.finish(reader.position(), segments.segment);
                order.take(logs);
                taken.map_err(|stopped| segments.error(stopped))?;
                self.report(recorded.bytes());
                let left_out = recorded.left_out(&self.scan.player.playback);
                return left_out.error(&recorded.dir, None).map_or(Ok(true), Err);
            }
            Err(error) if again.may(&error) => {
                reader.look_again()?;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let position = entry.position;
        segments.note(&entry);
        let (logs, taken) = scan.take(&entry);
        let handlers: usize = logs.iter().map(|log| log.steps.len()).sum();
        order.take(logs);
        taken.map_err(|stopped| segments.error(stopped))?;
        segments.check(reader, position)?;
        self.since_report += 1 + handlers;
        if self.since_report >= WORK_BETWEEN_REPORTS {
            self.since_report = 0;
            self.report(recorded.bytes_before(position));
        }
        Ok(false)
    }

    fn report(&self, bytes: u64) {
        let Progress { rounds, messages, .. } = self.scan.player.progress();
        let seen = Seen { rounds, messages, bytes, bytes_total: self.recorded.bytes() };
        self.options.on_progress.iter().for_each(|on_progress| on_progress(seen));
    }
}

/// Gives rounds in their order, as far as what waits is little enough.
struct Order {
    /// The rounds that wait for earlier ones, by ordinal.
    kept: BTreeMap<u64, RoundLog>,
    bytes: usize,
    bytes_max: usize,
    /// One past the highest ordinal that was given.
    given: u64,
    late: u64,
    rounds: u64,
}

impl Order {
    fn new(bytes_max: usize) -> Order {
        Order { kept: BTreeMap::new(), bytes: 0, bytes_max, given: 0, late: 0, rounds: 0 }
    }

    /// Takes rounds that ran.
    fn take(&mut self, logs: Vec<RoundLog>) {
        for log in logs {
            self.bytes += log.bytes();
            self.kept.insert(log.ordinal, log);
        }
    }

    /// The next one, if all before the one with ordinal `upto` have run, or too much waits.
    fn next(&mut self, upto: u64) -> Option<RoundLog> {
        let first = self.kept.first_entry().filter(|first| *first.key() < upto || self.bytes > self.bytes_max)?;
        let (ordinal, log) = first.remove_entry();
        self.bytes -= log.bytes();
        self.rounds += 1;
        self.late += u64::from(ordinal < self.given);
        self.given = self.given.max(ordinal + 1);
        Some(log)
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use qnfsm::{Time, WorkerId, journal::Position};

    use super::*;

    fn log(ordinal: u64) -> RoundLog {
        let (position, now) = (Position::default(), Time::ZERO);
        let (batches, steps, outputs) = (Vec::new(), Vec::new(), Vec::new());
        RoundLog { ordinal, worker: WorkerId(0), round: 1, position, now, fed_at: 0, batches, steps, outputs }
    }

    /// What is given of rounds that run in this order, each with how far all have run then, before the end.
    fn given(ran: &[(u64, u64)], bytes_max: usize) -> Vec<u64> {
        let (mut given, mut order) = (Vec::new(), Order::new(bytes_max));
        let mut take =
            |order: &mut Order, upto| given.extend(iter::from_fn(|| order.next(upto)).map(|log| log.ordinal));
        for (ordinal, upto) in ran {
            order.take(vec![log(*ordinal)]);
            take(&mut order, *upto);
        }
        take(&mut order, u64::MAX);
        given
    }

    #[test]
    fn rounds_wait_for_earlier_ones_and_what_waits_comes_before_the_end() {
        assert_eq!(given(&[(1, 0), (2, 0), (0, 3), (4, 3)], 1 << 20), [0, 1, 2, 4]);
    }

    #[test]
    fn with_no_room_to_wait_rounds_come_as_they_run() {
        assert_eq!(given(&[(1, 0), (2, 0), (0, 3), (4, 3)], 0), [1, 2, 0, 4]);
    }
}
