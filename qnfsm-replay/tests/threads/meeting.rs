//! Workers run side by side: two that wait for each other meet.

use std::{
    num::NonZeroUsize,
    sync::{Condvar, Mutex},
    time::Duration,
};

use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder, NodeId, NodeRequest, QueueId, Reply, ReplyTo, WorkerId};
use qnfsm_replay::{Options, replay};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(60);

/// How many have come to a meeting of two.
static CAME: (Mutex<u32>, Condvar) = (Mutex::new(0), Condvar::new());

/// Comes, and waits for the other.
fn meet() {
    let mut came = CAME.0.lock().unwrap();
    *came += 1;
    let both = came.next_multiple_of(2);
    CAME.1.notify_all();
    let came = CAME.1.wait_timeout_while(came, PATIENCE, |came| *came < both).unwrap().0;
    assert!(*came >= both, "the other never came");
}

/// Puts a guest on each of two workers, and lets them meet.
#[derive(Serialize, Deserialize)]
struct Host(Option<ReplyTo<u64>>, Vec<QueueId<Meet>>);

#[derive(Serialize, Deserialize)]
enum Order {
    Meet(ReplyTo<u64>),
    Started(Reply<WorkerId>),
    Spawned(Reply<QueueId<Meet>>),
}

impl From<Reply<WorkerId>> for Order {
    fn from(reply: Reply<WorkerId>) -> Order {
        Order::Started(reply)
    }
}

impl From<Reply<QueueId<Meet>>> for Order {
    fn from(reply: Reply<QueueId<Meet>>) -> Order {
        Order::Spawned(reply)
    }
}

impl Fsm for Host {
    const NAME: &'static str = "host";
    type State = ();
    type Message = Order;

    fn start(&mut self, _: &mut Context<'_, Host>) {}

    fn handle(&mut self, (): (), order: Order, cx: &mut Context<'_, Host>) -> Next<Host> {
        match order {
            Order::Meet(reply) => {
                self.0 = Some(reply);
                for _ in 0..2 {
                    cx.request(NodeRequest::queue(NodeId(0)), PATIENCE, |reply| NodeRequest::StartWorker { reply });
                }
            }
            Order::Started(reply) => drop(cx.spawn_on(reply.outcome.unwrap(), Guest, PATIENCE)),
            Order::Spawned(reply) => {
                self.1.push(reply.outcome.unwrap());
                if self.1.len() == 2 {
                    self.1.iter().for_each(|guest| cx.send(*guest, Meet));
                    cx.reply(self.0.take().unwrap(), 0);
                }
            }
        }
        Next::Stay
    }
}

#[derive(Serialize, Deserialize)]
struct Guest;

#[derive(Serialize, Deserialize)]
struct Meet;

impl Fsm for Guest {
    const NAME: &'static str = "guest";
    type State = ();
    type Message = Meet;

    fn start(&mut self, _: &mut Context<'_, Guest>) {}

    fn handle(&mut self, (): (), _: Meet, _: &mut Context<'_, Guest>) -> Next<Guest> {
        meet();
        Next::Stay
    }
}

#[test]
fn workers_run_at_the_same_time() {
    let kinds = || {
        Kinds::new()
            .with::<Host>()
            .with::<Guest>()
            .message::<u64>()
            .replies::<Order, WorkerId>()
            .replies::<Order, QueueId<Meet>>()
    };
    let dir = tempfile::tempdir().unwrap();
    let node = NodeBuilder::new("meeting", kinds()).dir(dir.path()).start(&Host(None, vec![])).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Meet).unwrap();
    node.stop().unwrap();
    let threads = NonZeroUsize::new(3).unwrap();
    assert_eq!(replay(dir.path(), kinds(), &Options::new().threads(threads)).unwrap().workers, 3);
}
