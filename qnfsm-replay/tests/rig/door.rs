//! A door that postpones who comes before it is open: what a queue holds at a step doesn't depend on how fast anything was.

use std::path::Path;

use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Door {
    inside: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Leaf {
    Shut,
    Ajar,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Knock {
    Enter(u64),
    Open,
    Break,
}

impl Fsm for Door {
    const NAME: &'static str = "door";
    const ON_PANIC: qnfsm::OnPanic = qnfsm::OnPanic::StopFsm;
    type State = Leaf;
    type Message = Knock;

    fn start(&mut self, _: &mut Context<'_, Self>) -> Leaf {
        Leaf::Shut
    }

    fn handle(&mut self, leaf: Leaf, knock: Knock, _: &mut Context<'_, Self>) -> Next<Self> {
        match (leaf, knock) {
            (Leaf::Shut, Knock::Open) => return Next::Goto(Leaf::Ajar),
            (Leaf::Shut, knock @ Knock::Enter(_)) => return Next::Postpone(knock),
            (Leaf::Ajar, Knock::Enter(who)) => self.inside.push(who),
            (_, Knock::Break) => panic!("the hinges gave way"),
            (Leaf::Ajar, Knock::Open) => {}
        }
        Next::Stay
    }
}

pub(crate) fn kinds() -> Kinds {
    Kinds::new().with::<Door>()
}

/// A directory in which two of one name and a third knocked before the door was opened, and a fourth broke it.
pub(crate) fn recorded(dir: &Path) {
    let node = NodeBuilder::new("house", kinds()).dir(dir).start(&Door::default()).expect("the directory is new");
    for knock in [Knock::Enter(7), Knock::Enter(7), Knock::Enter(8), Knock::Open, Knock::Enter(9), Knock::Break] {
        node.host().send(node.root(), &knock).expect("the node runs");
    }
    node.stop().expect("one FSM's panic stops no node");
}
