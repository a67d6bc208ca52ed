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
    Options, ReplayError, Seen,
    recorded::{Recorded, Segments},
    scan::Scan,
    session::RoundLog,
};

/// How many bytes of rounds wait at most for an earlier one that has yet to end.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// How many records are taken between two reports of progress.
const RECORDS_BETWEEN_REPORTS: u64 = 256;

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
        let (recorded, reader) = Recorded::open(dir, kinds, options.program.as_deref(), options.storage.clone())?;
        Ok(Walk { recorded, reader, options, waiting_bytes_max: WAITING_BYTES_MAX })
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
    pub fn rounds(self, see: impl FnMut(&RoundLog) -> ControlFlow<()>) -> Result<Walked, ReplayError> {
        let Walk { recorded, mut reader, options, waiting_bytes_max } = self;
        let mut show =
            Show { see, kept: BTreeMap::new(), bytes: 0, bytes_max: waiting_bytes_max, shown: 0, late: 0, rounds: 0 };
        let mut scan = Scan::new(recorded.player(), 0, None);
        let gone = go(&recorded, &mut reader, &mut scan, options, &mut show);
        show.finish(gone)
    }
}

/// Plays to the journal's end, or to where it can't be played on, or where enough was seen.
fn go(
    recorded: &Recorded,
    reader: &mut Reader,
    scan: &mut Scan,
    options: &Options<'_>,
    show: &mut Show<impl FnMut(&RoundLog) -> ControlFlow<()>>,
) -> Result<ControlFlow<()>, ReplayError> {
    let mut segments = Segments::new(recorded);
    let report = |progress: Progress, bytes| {
        let seen = Seen { rounds: progress.rounds, messages: progress.messages, bytes, bytes_total: recorded.bytes() };
        options.on_progress.iter().for_each(|on_progress| on_progress(seen));
    };
    let mut records = 0;
    while let Some(entry) = reader.next()? {
        let position = entry.position;
        segments.note(&entry);
        let (logs, taken) = scan.take(&entry);
        if show.take(logs, scan.upto()).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        taken.map_err(|stopped| segments.error(stopped))?;
        segments.check(reader, position)?;
        records += 1;
        if records % RECORDS_BETWEEN_REPORTS == 0 {
            report(scan.player.progress(), recorded.bytes_before(position));
        }
    }
    let (logs, taken) = scan.finish(reader.position(), segments.segment);
    let shown = show.take(logs, scan.upto());
    taken.map_err(|stopped| segments.error(stopped))?;
    report(scan.player.progress(), recorded.bytes());
    Ok(shown)
}

/// Shows rounds in their order, as far as what waits is little enough.
struct Show<S> {
    see: S,
    /// The rounds that wait for earlier ones, by ordinal.
    kept: BTreeMap<u64, RoundLog>,
    bytes: usize,
    bytes_max: usize,
    /// One past the highest ordinal that was shown.
    shown: u64,
    late: u64,
    rounds: u64,
}

impl<S: FnMut(&RoundLog) -> ControlFlow<()>> Show<S> {
    /// Takes rounds that ran; all before the one with ordinal `upto` have.
    fn take(&mut self, logs: Vec<RoundLog>, upto: u64) -> ControlFlow<()> {
        for log in logs {
            self.bytes += log.bytes();
            self.kept.insert(log.ordinal, log);
        }
        self.upto(upto)?;
        while self.bytes > self.bytes_max && self.first()? {}
        ControlFlow::Continue(())
    }

    /// Shows those before that ordinal.
    fn upto(&mut self, upto: u64) -> ControlFlow<()> {
        while self.kept.first_key_value().is_some_and(|(ordinal, _)| *ordinal < upto) {
            self.first()?;
        }
        ControlFlow::Continue(())
    }

    /// Shows the first one that waits; false, if there is none.
    fn first(&mut self) -> ControlFlow<(), bool> {
        let Some((ordinal, log)) = self.kept.pop_first() else { return ControlFlow::Continue(false) };
        self.bytes -= log.bytes();
        self.rounds += 1;
        self.late += u64::from(ordinal < self.shown);
        self.shown = self.shown.max(ordinal + 1);
        match (self.see)(&log) {
            ControlFlow::Continue(()) => ControlFlow::Continue(true),
            ControlFlow::Break(()) => ControlFlow::Break(()),
        }
    }

    /// Ends with what ran and waits still, before it is said why no more did.
    fn finish(mut self, gone: Result<ControlFlow<()>, ReplayError>) -> Result<Walked, ReplayError> {
        let is_enough = matches!(gone, Ok(ControlFlow::Break(()))) || self.upto(u64::MAX).is_break();
        match gone {
            Err(error) if !is_enough => Err(error),
            _ => Ok(Walked { rounds: self.rounds, late: self.late }),
        }
    }
}

#[cfg(test)]
mod tests {
    use qnfsm::{Time, WorkerId, journal::Position};

    use super::*;

    fn log(ordinal: u64) -> RoundLog {
        let (position, now) = (Position::default(), Time::ZERO);
        let (batches, steps, outputs) = (Vec::new(), Vec::new(), Vec::new());
        RoundLog { ordinal, worker: WorkerId(0), round: 1, position, now, fed_at: 0, batches, steps, outputs }
    }

    /// What is shown of rounds that run in this order, each with how far all have run then, before an error.
    fn shown(ran: &[(u64, u64)], bytes_max: usize) -> Vec<u64> {
        let mut shown = Vec::new();
        let see = |log: &RoundLog| {
            shown.push(log.ordinal);
            ControlFlow::Continue(())
        };
        let mut show = Show { see, kept: BTreeMap::new(), bytes: 0, bytes_max, shown: 0, late: 0, rounds: 0 };
        for (ordinal, upto) in ran {
            assert!(show.take(vec![log(*ordinal)], *upto).is_continue());
        }
        let ended = show.finish(Err(ReplayError::Misuse("it ended".to_owned())));
        assert!(matches!(ended, Err(ReplayError::Misuse(_))));
        shown
    }

    #[test]
    fn rounds_wait_for_earlier_ones_and_what_waits_comes_before_an_error() {
        assert_eq!(shown(&[(1, 0), (2, 0), (0, 3), (4, 3)], 1 << 20), [0, 1, 2, 4]);
    }

    #[test]
    fn with_no_room_to_wait_rounds_come_as_they_run() {
        assert_eq!(shown(&[(1, 0), (2, 0), (0, 3), (4, 3)], 0), [1, 2, 0, 4]);
    }
}
