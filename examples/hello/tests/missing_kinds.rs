//! What hello's commands make of a journal that was recorded with a kind which hello doesn't register: they say which, and go through what
//! can be played without it.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder, NodeId, NodeRequest, QueueId, Reply, ReplyTo, WorkerId};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(30);

/// Hello's own turnstile, as a later build of hello has it.
#[derive(Serialize, Deserialize)]
struct Turnstile {
    coins: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Gate {
    Locked,
    Unlocked,
}

#[derive(Serialize, Deserialize)]
enum Event {
    Coin,
    Push,
    Expired,
    Count(ReplyTo<u64>),
}

impl Fsm for Turnstile {
    const NAME: &'static str = "turnstile";
    type State = Gate;
    type Message = Event;

    fn start(&mut self, _: &mut Context<'_, Self>) -> Gate {
        Gate::Locked
    }

    fn handle(&mut self, gate: Gate, event: Event, cx: &mut Context<'_, Self>) -> Next<Self> {
        match (gate, event) {
            (Gate::Locked, Event::Coin) => {
                self.coins += 1;
                cx.state_timeout(Duration::from_secs(5), Event::Expired);
                Next::Goto(Gate::Unlocked)
            }
            (Gate::Unlocked, Event::Push | Event::Expired) => Next::Goto(Gate::Locked),
            (_, Event::Count(reply)) => {
                cx.reply(reply, self.coins);
                Next::Stay
            }
            (_, other) => Next::Unhandled(other),
        }
    }
}

/// What that build has beside it: it opens a turnstile on a worker of its own, and pays.
#[derive(Serialize, Deserialize)]
struct Attendant {
    asked: Option<ReplyTo<u64>>,
}

#[derive(Serialize, Deserialize)]
enum Duty {
    Worker(Reply<WorkerId>),
    Opened(Reply<QueueId<Event>>),
    Counted(Reply<u64>),
    Tell(ReplyTo<u64>),
}

impl From<Reply<WorkerId>> for Duty {
    fn from(reply: Reply<WorkerId>) -> Duty {
        Duty::Worker(reply)
    }
}

impl From<Reply<QueueId<Event>>> for Duty {
    fn from(reply: Reply<QueueId<Event>>) -> Duty {
        Duty::Opened(reply)
    }
}

impl From<Reply<u64>> for Duty {
    fn from(reply: Reply<u64>) -> Duty {
        Duty::Counted(reply)
    }
}

impl Fsm for Attendant {
    const NAME: &'static str = "attendant";
    type State = ();
    type Message = Duty;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        cx.request(NodeRequest::queue(NodeId(0)), PATIENCE, |reply| NodeRequest::StartWorker { reply });
    }

    fn handle(&mut self, (): (), duty: Duty, cx: &mut Context<'_, Self>) -> Next<Self> {
        match duty {
            Duty::Worker(reply) => {
                cx.spawn_on(reply.outcome.expect("nodes start workers"), Turnstile { coins: 0 }, PATIENCE);
            }
            Duty::Opened(reply) => {
                let turnstile = reply.outcome.expect("it takes FSMs");
                [Event::Coin, Event::Push, Event::Coin].into_iter().for_each(|event| cx.send(turnstile, event));
                cx.request(turnstile, PATIENCE, Event::Count);
            }
            Duty::Counted(reply) => {
                let asked = self.asked.take().expect("somebody waits");
                cx.reply(asked, reply.outcome.expect("it answers"));
            }
            Duty::Tell(reply) => self.asked = Some(reply),
        }
        Next::Stay
    }
}

/// The attendant's kinds stand first: nothing has the number that it has in hello.
fn later_kinds() -> Kinds {
    let kinds = Kinds::new().with::<Attendant>().with::<Turnstile>().message::<u64>();
    let kinds = kinds.replies::<Duty, WorkerId>().replies::<Duty, QueueId<Event>>().replies::<Duty, u64>();
    kinds.message_named::<Event>("hello::Event")
}

fn hello(args: &[&str], dir: &Path) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_hello")).arg(args[0]).arg(dir).args(&args[1..]).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn every_command_that_runs_says_which_kind_is_missing_and_runs_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let node = NodeBuilder::new("hello", later_kinds()).dir(dir).start(&Attendant { asked: None }).unwrap();
    assert_eq!(node.host().request(node.root(), PATIENCE, Duty::Tell).unwrap(), 2);
    node.stop().unwrap();

    let says_which = |err: &str| {
        assert!(err.contains("doesn't register: kind attendant, message type missing_kinds::Duty, "), "{err}");
        let left = "w0 round 1: it is to start an FSM of kind attendant, which isn't registered";
        assert!(err.contains(left) && !err.contains("w1 round"), "{err}");
    };
    let (status, out, err) = hello(&["replay"], dir);
    assert_eq!(status, 16, "{err}");
    says_which(&err);
    assert!(out.contains("1 worker\n") && out.contains("equal: ") && out.contains("0 unproved"), "{out}");

    let (status, out, err) = hello(&["replay", "--json", "--quiet"], dir);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &json["exit_status"], &json["error"]), (16, &16.into(), &"partly".into()), "{out}");
    assert_eq!((&json["equal"], &json["workers"]), (&false.into(), &1.into()), "{out}");
    assert_eq!((&json["left"][0]["worker"], &json["left"][0]["round"]), (&0.into(), &1.into()), "{out}");
    says_which(&err);

    let lines = ["debug", "--command", "find message is Count", "--command", "back"];
    let (status, out, err) = hello(&lines, dir);
    assert!(status == 16 && out.contains("w1/0.1 turnstile: enter"), "{status} {out} {err}");
    says_which(&err);

    let (status, _, err) = hello(&["diff"], dir);
    assert_eq!(status, 16, "{err}");
    says_which(&err);

    for (drawing, shows) in [("seq", "turnstile"), ("states", "Unlocked"), ("cover", "turnstile")] {
        let (status, out, err) = hello(&[drawing], dir);
        assert!(status == 16 && out.contains(shows), "{drawing}: {status} {out} {err}");
        says_which(&err);
    }
}
