//! An FSM whose handler takes as long as a test lets it.

use std::{
    sync::{Condvar, Mutex},
    time::Duration,
};

use qnfsm::{Context, Fsm, Kinds, Next, NodeRequest, QueueId, Reply, ReplyTo, WorkerId};
use serde::{Deserialize, Serialize};

/// Whether it is closed, and whether somebody went through all the same.
static CLOSED: Mutex<(bool, bool)> = Mutex::new((false, false));
static OPENED: Condvar = Condvar::new();
/// So long nobody waits who isn't forgotten.
const LONG: Duration = Duration::from_secs(60);

pub(crate) fn close() {
    CLOSED.lock().unwrap().0 = true;
}

pub(crate) fn open() {
    CLOSED.lock().unwrap().0 = false;
    OPENED.notify_all();
}

pub(crate) fn was_forced() -> bool {
    CLOSED.lock().unwrap().1
}

fn wait() {
    let (mut closed, waited) = OPENED.wait_timeout_while(CLOSED.lock().unwrap(), LONG, |closed| closed.0).unwrap();
    closed.1 |= waited.timed_out();
}

/// The root, which starts a worker with a walker on it and sends it through the gate.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Gate {
    asked: Option<ReplyTo<u64>>,
    walker: Option<QueueId<Walk>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Pass {
    Both(ReplyTo<u64>),
    Worker(Reply<WorkerId>),
    Walker(Reply<QueueId<Walk>>),
    Passed(Reply<u64>),
}

impl From<Reply<WorkerId>> for Pass {
    fn from(reply: Reply<WorkerId>) -> Pass {
        Pass::Worker(reply)
    }
}

impl From<Reply<QueueId<Walk>>> for Pass {
    fn from(reply: Reply<QueueId<Walk>>) -> Pass {
        Pass::Walker(reply)
    }
}

impl From<Reply<u64>> for Pass {
    fn from(reply: Reply<u64>) -> Pass {
        Pass::Passed(reply)
    }
}

impl Fsm for Gate {
    const NAME: &'static str = "gate";
    type State = ();
    type Message = Pass;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), came: Pass, cx: &mut Context<'_, Self>) -> Next<Self> {
        match came {
            Pass::Both(reply) => {
                self.asked = Some(reply);
                let node = NodeRequest::queue(cx.id().raw().node());
                cx.request(node, LONG, |reply| NodeRequest::StartWorker { reply });
            }
            Pass::Worker(reply) => _ = cx.spawn_on(reply.outcome.expect("it starts"), Walker, LONG),
            Pass::Walker(reply) => _ = cx.request(reply.outcome.expect("it is there"), LONG, Walk),
            Pass::Passed(reply) => {
                let asked = self.asked.take().expect("it was asked");
                cx.reply(asked, reply.outcome.expect("it answers"));
            }
        }
        Next::Stay
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Walker;

#[derive(Serialize, Deserialize)]
pub(crate) struct Walk(ReplyTo<u64>);

impl Fsm for Walker {
    const NAME: &'static str = "walker";
    type State = ();
    type Message = Walk;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), Walk(reply): Walk, cx: &mut Context<'_, Self>) -> Next<Self> {
        wait();
        cx.reply(reply, 1_u64);
        Next::Stay
    }
}

pub(crate) fn kinds() -> Kinds {
    Kinds::new()
        .with::<Gate>()
        .with::<Walker>()
        .message::<u64>()
        .replies::<Pass, WorkerId>()
        .replies::<Pass, QueueId<Walk>>()
        .replies::<Pass, u64>()
}
