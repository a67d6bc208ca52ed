//! How long a client waits while its node takes snapshots: the host asks an FSM, waits for the answer, and asks again, in a worker that
//! has many other FSMs, or large ones.
//!
//! What counts is what the client sees. That there were snapshots is told by their files, so that nothing here depends on how they
//! are taken.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use qnfsm::{
    Context, Fsm, Kinds, Limits, Next, NodeBuilder, ReplyTo,
    journal::{RealFiles, snapshots},
};
use serde::{Deserialize, Serialize};

use super::{
    load::{Blob, Load},
    tally::Tally,
};
use crate::{
    plan::{Failure, Figures, Recording},
    recorded::recorded,
};

/// How long anything may take that the host waits for.
const PATIENCE: Duration = Duration::from_secs(100);
/// How long it is from one snapshot to the next.
const EVERY: Duration = Duration::from_millis(500);
/// How long the client asks, and how many snapshots there are at least in that time.
const EXTENT: (Duration, usize) = (Duration::from_secs(2), 2);
const EXTENT_QUICK: (Duration, usize) = (Duration::from_millis(700), 1);
/// After how long there should have been some.
const EXTENT_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether there is one.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What the other FSMs of the worker are.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Crowd {
    /// How many.
    pub fsms: u32,
    /// How many bytes each has.
    pub bytes: u32,
}

/// Milliseconds from answer to answer: the longest, the 99.9th percentile, the median; and the longest pause by the library's count.
///
/// # Errors
/// When the node fails, or takes no snapshots though it should, or takes some though it shouldn't.
pub fn waits(crowd: Crowd, with_snapshots: bool, quick: bool) -> Result<Figures, Failure> {
    let limits =
        Limits { snapshot_every: with_snapshots.then_some(EVERY), snapshot_every_bytes: u64::MAX, ..Limits::default() };
    let kinds = Kinds::new().with::<Teller>().with::<Holder>().message::<u32>();
    let (builder, dir) = recorded(NodeBuilder::new("qnfsm-bench", kinds).limits(limits), Recording::Buffered)?;
    let dir = dir.ok_or("what is buffered has a directory")?;
    let node = builder.start(&Teller { crowd })?;
    let (host, teller) = (node.host(), node.root());
    let ask = || host.request(teller, PATIENCE, ToTeller::Ask);
    if ask()? != crowd.fsms {
        return Err("not all FSMs are there".into());
    }
    let (time, snapshots) = if quick { EXTENT_QUICK } else { EXTENT };
    let mut tally = Tally::begin();
    let mut seen = Seen::begin(dir.path())?;
    let mut answered = Instant::now();
    while tally.elapsed(answered) < time || (with_snapshots && seen.count < snapshots) {
        ask()?;
        let now = Instant::now();
        // From answer to answer: while the client does something else the worker may stand still as well.
        tally.answered(answered, now, 1);
        answered = now;
        seen.look(dir.path())?;
        if tally.elapsed(now) > EXTENT_MAX {
            return Err(format!("{} snapshots within {EXTENT_MAX:?}", seen.count).into());
        }
    }
    if !with_snapshots && seen.count > 0 {
        return Err("a snapshot was taken that should not be".into());
    }
    // The node counts a snapshot once it is marked, which may be after its file is there: the last one may be missing.
    let pauses = node.metrics().workers.into_iter().map(|worker| worker.snapshot_pauses.max_ns).max();
    node.stop()?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let also =
        vec![ms(tally.quantile(0.999)), ms(tally.quantile(0.5)), ms(Duration::from_nanos(pauses.unwrap_or_default()))];
    Ok(Figures { value: ms(tally.quantile(1.0)), also, limit: None })
}

/// The snapshots whose files were seen.
struct Seen {
    newest: Option<u64>,
    count: usize,
    looked: Instant,
}

impl Seen {
    fn begin(dir: &Path) -> Result<Seen, Failure> {
        Ok(Seen { newest: newest(dir)?, count: 0, looked: Instant::now() })
    }

    /// Looks, if it is time to.
    fn look(&mut self, dir: &Path) -> Result<(), Failure> {
        if self.looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        let newest = newest(dir)?;
        self.count += usize::from(newest > self.newest);
        (self.newest, self.looked) = (newest, Instant::now());
        Ok(())
    }
}

/// The round of the newest snapshot.
fn newest(dir: &Path) -> Result<Option<u64>, Failure> {
    Ok(snapshots::list(&RealFiles, dir)?.into_iter().map(|(_, round)| round).max())
}

/// The node's first FSM, which spawns the others and answers.
#[derive(Serialize, Deserialize)]
struct Teller {
    crowd: Crowd,
}

#[derive(Serialize, Deserialize)]
enum ToTeller {
    /// By the host: how many others are there?
    Ask(ReplyTo<u32>),
}

impl Fsm for Teller {
    const NAME: &'static str = "teller";
    type State = ();
    type Message = ToTeller;

    fn start(&mut self, cx: &mut Context<'_, Teller>) {
        for number in 0..self.crowd.fsms {
            cx.spawn(Holder { held: Blob::of(number, self.crowd.bytes) });
        }
    }

    fn handle(&mut self, (): (), ToTeller::Ask(reply): ToTeller, cx: &mut Context<'_, Teller>) -> Next<Teller> {
        cx.reply(reply, self.crowd.fsms);
        Next::Stay
    }
}

/// Has something, and does nothing.
#[derive(Serialize, Deserialize)]
struct Holder {
    held: Blob,
}

impl Fsm for Holder {
    const NAME: &'static str = "holder";
    type State = ();
    type Message = u32;

    fn start(&mut self, _cx: &mut Context<'_, Holder>) {}

    fn handle(&mut self, (): (), _message: u32, _cx: &mut Context<'_, Holder>) -> Next<Holder> {
        Next::Stay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_taken_where_they_should_be_and_nowhere_else() {
        let crowd = Crowd { fsms: 5_000, bytes: 16 };
        let Figures { value: longest, also, .. } = waits(crowd, true, true).expect("a snapshot is taken");
        assert!(longest >= also[0] && also[0] >= also[1] && also[1] > 0.0, "{longest} at most, and {also:?}");
        let Figures { also, .. } = waits(crowd, false, true).expect("none is taken");
        assert_eq!(also[2], 0.0, "there is no pause without snapshots");
    }
}
