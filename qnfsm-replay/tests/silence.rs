//! A replay traces nothing, on whichever thread an FSM runs: it was all said when it happened.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder, ReplyTo};
use qnfsm_replay::{Options, replay};
use serde::{Deserialize, Serialize};
use tracing::{Event, Metadata, Subscriber, span};

/// Counts what FSMs of these tests say, on any thread of the process.
struct Heard;

static HEARD: AtomicU64 = AtomicU64::new(0);

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "talker"
    }

    fn event(&self, _: &Event<'_>) {
        HEARD.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Serialize, Deserialize)]
struct Talker;

impl Fsm for Talker {
    const NAME: &'static str = "talker";
    type State = ();
    type Message = ReplyTo<u64>;

    fn start(&mut self, _: &mut Context<'_, Talker>) {}

    fn handle(&mut self, (): (), reply: ReplyTo<u64>, cx: &mut Context<'_, Talker>) -> Next<Talker> {
        tracing::info!(target: "talker", "asked");
        cx.reply(reply, 1);
        Next::Stay
    }
}

#[test]
fn fsms_are_silent_in_a_replay() {
    tracing::subscriber::set_global_default(Heard).unwrap();
    let kinds = || Kinds::new().with::<Talker>().message::<u64>();
    let dir = tempfile::tempdir().unwrap();
    let node = NodeBuilder::new("talk", kinds()).dir(dir.path()).start(&Talker).unwrap();
    let said: u64 =
        (0..3).map(|_| node.host().request(node.root(), Duration::from_secs(60), |reply| reply).unwrap()).sum();
    node.stop().unwrap();
    assert_eq!(HEARD.load(Ordering::Relaxed), said, "live, it is heard");
    for threads in [1, 2] {
        let threads = NonZeroUsize::new(threads).unwrap();
        let report = replay(dir.path(), kinds(), &Options::new().threads(threads)).unwrap();
        assert!(report.messages >= said);
        assert_eq!(HEARD.load(Ordering::Relaxed), said, "replayed, it is not");
    }
}
