//! What is measured of a stream: what a message takes at saturation and a GiB of large ones, what a million a second cost, and how
//! many bytes are left of them.

use std::time::Duration;

use qnfsm::Limits;
use tempfile::TempDir;

use super::{
    feed::{Pace, Running, Stream, UNDER_WAY},
    load::Load,
    store::{self, Store, files_bytes},
    system::System,
};
use crate::{
    pace::{self, Lap, counted},
    plan::{Failure, Figures, Recording},
    usage,
};

const GIB: f64 = 1_073_741_824.0;

/// A million messages a second, a batch of so many each millisecond.
const IN_A_MS: u32 = 1_000;
/// How long that goes on, and before it, to get warm.
const COST_MS: u32 = 2_000;
const WARM_UP_MS: u32 = 100;
/// How much longer it may take than it should.
const LATE_MAX: f64 = 1.25;

/// How many bytes of payload go through for the bandwidth; for a look, and before that, to get warm, a part of them.
const BANDWIDTH_BYTES: u32 = 1 << 30;
/// How many of them are in a batch.
const BANDWIDTH_BATCH_BYTES: u32 = 1 << 20;

/// How many batches' bytes are counted, at least and at most; as many as hold so many messages between these.
const KEPT_BATCHES: std::ops::RangeInclusive<u32> = 100..=2_000;
const KEPT_MESSAGES: u32 = 400_000;

const PART: u32 = 8;

/// Ours or a store, to which streams are put in.
enum Keeper<L: Load> {
    Ours(Box<Running<L>>),
    Store(Box<dyn Store>),
}

impl<L: Load> Keeper<L> {
    fn start(system: System, recording: Recording, like: Stream) -> Result<Keeper<L>, Failure> {
        match system {
            System::Ours => Ok(Keeper::Ours(Box::new(Running::start(recording, Limits::default())?))),
            other => Ok(Keeper::Store(store::empty::<L>(other, like.into())?)),
        }
    }

    fn put_in(&mut self, stream: Stream) -> Result<Duration, Failure> {
        match self {
            Keeper::Ours(running) => running.put_in(stream),
            Keeper::Store(keeper) => store::put_in::<L>(&mut **keeper, stream),
        }
    }

    /// What was written of ours.
    fn journal_bytes(&self) -> Option<u64> {
        match self {
            Keeper::Ours(running) => Some(running.journal_bytes()),
            Keeper::Store(_) => None,
        }
    }

    fn end(self) -> Result<Option<TempDir>, Failure> {
        match self {
            Keeper::Ours(running) => running.stop(),
            Keeper::Store(keeper) => keeper.close().map(Some),
        }
    }
}

fn only(value: f64) -> Figures {
    Figures { value, also: Vec::new(), limit: None }
}

/// Nanoseconds for each message, when the next batches always wait.
///
/// # Errors
/// When the system doesn't do what it should.
pub fn saturation<L: Load>(
    system: System,
    recording: Recording,
    in_a_batch: u32,
    bytes: u32,
    quick: bool,
) -> Result<Figures, Failure> {
    let stream = |messages| Stream { messages, in_a_batch, bytes, pace: Pace::UnderWay(UNDER_WAY) };
    let mut keeper = Keeper::<L>::start(system, recording, stream(0))?;
    let (last, _) = pace::timed(quick, |messages| {
        // Whole batches, as many as may be under way at least.
        let batches = u32::try_from(messages)?.div_ceil(in_a_batch).max(UNDER_WAY);
        let messages = batches * in_a_batch;
        Ok(Lap { messages: messages.into(), took: keeper.put_in(stream(messages))? })
    })?;
    keeper.end()?;
    Ok(only(last.ns_each()))
}

/// Seconds for a GiB of payloads of so many bytes.
///
/// # Errors
/// When the system doesn't do what it should.
pub fn bandwidth<L: Load>(system: System, recording: Recording, bytes: u32, quick: bool) -> Result<Figures, Failure> {
    let (in_all, in_a_batch) = (BANDWIDTH_BYTES / bytes, BANDWIDTH_BATCH_BYTES / bytes);
    let stream = |messages| Stream { messages, in_a_batch, bytes, pace: Pace::UnderWay(UNDER_WAY) };
    let mut keeper = Keeper::<L>::start(system, recording, stream(0))?;
    keeper.put_in(stream(in_all / PART / PART))?;
    let messages = if quick { in_all / PART } else { in_all };
    let took = keeper.put_in(stream(messages))?;
    keeper.end()?;
    let of_all = f64::from(messages) * f64::from(bytes) / GIB;
    Ok(only(took.as_secs_f64() / of_all))
}

/// The CPU time of a million messages a second in percent of one core: that of this process, and that of the kernel's own threads.
///
/// Ours fails if it can't keep up; a store which can't is not waited for, so that this is what so many would take.
///
/// # Errors
/// When the system doesn't do what it should.
pub fn recording_cost<L: Load>(
    system: System,
    recording: Recording,
    bytes: u32,
    quick: bool,
) -> Result<Figures, Failure> {
    let stream = |ms: u32| Stream { messages: ms * IN_A_MS, in_a_batch: IN_A_MS, bytes, pace: Pace::EachMillisecond };
    let mut keeper = Keeper::<L>::start(system, recording, stream(0))?;
    keeper.put_in(stream(WARM_UP_MS))?;
    let ms = if quick { COST_MS / PART } else { COST_MS };
    let before = [usage::cpu()?, usage::kernel_threads_cpu()?];
    let took = keeper.put_in(stream(ms))?;
    let after = [usage::cpu()?, usage::kernel_threads_cpu()?];
    keeper.end()?;
    let late = took.as_secs_f64() * 1e3 / f64::from(ms);
    if late > LATE_MAX && system == System::Ours {
        let why = "this machine is too slow or too busy for a million messages a second";
        return Err(format!("{why}: what should take {ms} ms took {took:?}").into());
    }
    let percent = |which: usize| (after[which].saturating_sub(before[which])).as_secs_f64() * 1e5 / f64::from(ms);
    Ok(Figures { value: percent(0), also: vec![percent(1)], limit: None })
}

/// Bytes of a message beside its payload: those of all files that are left, and those that were written. Of ours that is the journal
/// alone, without the zeros that `Durable` makes segments of beforehand: as many again in the long run, and far more than a run has.
///
/// # Errors
/// When the system doesn't do what it should.
pub fn bytes_beside<L: Load>(
    system: System,
    recording: Recording,
    in_a_batch: u32,
    bytes: u32,
    quick: bool,
) -> Result<Figures, Failure> {
    let batches = (KEPT_MESSAGES / in_a_batch).clamp(*KEPT_BATCHES.start(), *KEPT_BATCHES.end());
    let messages = if quick { batches / PART } else { batches } * in_a_batch;
    // One under way, so that no two batches are written down as one.
    let stream = Stream { messages, in_a_batch, bytes, pace: Pace::UnderWay(1) };
    let before = usage::written_bytes()?;
    let mut keeper = Keeper::<L>::start(system, recording, stream)?;
    keeper.put_in(stream)?;
    let of_journal = keeper.journal_bytes();
    let dir = keeper.end()?.ok_or("nothing was recorded")?;
    let written = of_journal.map_or_else(|| Ok(usage::written_bytes()? - before), Ok::<_, Failure>)?;
    let beside = |all: u64| counted(all) / f64::from(messages) - f64::from(bytes);
    Ok(Figures { value: beside(files_bytes(dir.path())?), also: vec![beside(written)], limit: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{journal::load::Blob, messaging::message::Small};

    const KEEPERS: &[(System, Recording)] = &[
        (System::Ours, Recording::Off),
        (System::Ours, Recording::Memory),
        (System::Ours, Recording::Buffered),
        (System::Ours, Recording::Durable),
        (System::Write, Recording::Buffered),
        (System::WriteBehind, Recording::Buffered),
        (System::WriteSyncZeros, Recording::Durable),
        (System::SqliteNormal, Recording::Buffered),
        (System::SqliteFull, Recording::Durable),
        (System::Redb, Recording::Durable),
    ];

    #[test]
    fn every_system_takes_streams_of_every_pace() {
        for &(system, recording) in KEEPERS {
            let stream = |pace| Stream { messages: 1_001, in_a_batch: 100, bytes: 16, pace };
            let each_ms = stream(Pace::EachMillisecond);
            let mut keeper = Keeper::<Small>::start(system, recording, each_ms).expect("it starts");
            let paced = keeper.put_in(each_ms).expect("all messages come");
            assert!(paced >= Duration::from_millis(10), "{system:?}: eleven batches in {paced:?}");
            keeper.put_in(stream(Pace::UnderWay(3))).expect("all messages come");
            keeper.end().expect("in order");
        }
    }

    #[test]
    fn a_record_weighs_less_the_more_messages_share_it() {
        let beside = |in_a_batch, bytes| {
            let figures = bytes_beside::<Blob>(System::Ours, Recording::Buffered, in_a_batch, bytes, false);
            let Figures { value, also, .. } = figures.expect("it is recorded");
            assert!((value - also[0]).abs() < 5.0, "{value} are kept and {also:?} were written");
            value
        };
        let (alone, together) = (beside(1, 16), beside(4_096, 16));
        assert!(together > 0.0 && together + 30.0 < alone, "{alone} alone, {together} together");
        assert!((beside(4_096, 64) - together).abs() < 1.0, "the payload doesn't count");
    }
}
