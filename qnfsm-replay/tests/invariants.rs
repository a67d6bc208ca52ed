//! What must always hold of an FSM is asked when its step is whole: behind the enter action, where its state has changed.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::time::Duration;

use qnfsm::{Codec, Context, Fsm, Invariants, Kinds, Next, NodeBuilder, Trust};
use qnfsm_replay::{Options, Session};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(30);

/// Two numbers of which the second is made equal to the first when a state is entered.
#[derive(Serialize, Deserialize)]
struct Scales {
    left: u64,
    right: u64,
}

#[derive(Serialize, Deserialize)]
enum Load {
    Add(u64),
    Lose,
    Weigh(qnfsm::ReplyTo<u64>),
}

impl Fsm for Scales {
    const NAME: &'static str = "scales";
    type State = u64;
    type Message = Load;

    fn start(&mut self, _: &mut Context<'_, Self>) -> u64 {
        self.left = 1;
        0
    }

    fn enter(&mut self, _: Option<u64>, _: u64, _: &mut Context<'_, Self>) {
        self.right = self.left;
    }

    fn handle(&mut self, state: u64, load: Load, cx: &mut Context<'_, Self>) -> Next<Self> {
        match load {
            Load::Add(load) => {
                self.left += load;
                return Next::Goto(state + 1);
            }
            Load::Lose => self.right = 0,
            Load::Weigh(reply) => cx.reply(reply, self.left),
        }
        Next::Stay
    }
}

#[test]
fn an_fsm_is_checked_when_its_enter_action_has_run_and_not_before() {
    let kinds = || Kinds::new().with::<Scales>().message::<u64>();
    let run = |loads: Vec<Load>| {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeBuilder::new("scales", kinds()).dir(dir.path()).start(&Scales { left: 0, right: 0 }).unwrap();
        for load in loads {
            node.host().send(node.root(), &load).unwrap();
        }
        let _: u64 = node.host().request(node.root(), PATIENCE, Load::Weigh).unwrap();
        node.stop().unwrap();
        let mut session = Session::open(dir.path(), kinds(), &Options::new()).unwrap();
        let level = Invariants::new().state::<Scales>("level", |scales, _| {
            if scales.left == scales.right { Ok(()) } else { Err("it tips".to_owned()) }
        });
        (session.bisect(level, "level").unwrap(), session.step().cloned())
    };
    assert_eq!(
        run(vec![Load::Add(1), Load::Add(2)]).0,
        None,
        "its start and each load make it tip until it enters its state"
    );
    let (broken, step) = run(vec![Load::Add(1), Load::Lose, Load::Add(2)]);
    assert!(broken.is_some_and(|broken| broken.is_first), "that it is level again in the end hides nothing");
    let message = step.and_then(|step| step.message).unwrap();
    assert!(matches!(Codec::CURRENT.decode(&message.bytes, Trust::Node), Ok(Load::Lose)));
}
