//! What soaks: a bank whose branches, each on its own worker, hold accounts that are paid into and hand some of it on.

use std::time::Duration;

use qnfsm::{Context, Fsm, Kinds, Next, NodeId, NodeRequest, QueueId, Reply, ReplyTo, WorkerId};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(3600);

/// Opens a branch on each of so many further workers, and tells where all accounts are.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Bank {
    pub(crate) branches: u32,
    pub(crate) accounts: u32,
    opened: Vec<QueueId<Open>>,
    all: Vec<QueueId<Pay>>,
}

impl Bank {
    pub(crate) fn new(branches: u32, accounts: u32) -> Bank {
        Bank { branches, accounts, ..Bank::default() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Worker(Reply<WorkerId>),
    Branch(Reply<QueueId<Open>>),
    Accounts(Reply<Vec<QueueId<Pay>>>),
    /// Where all accounts are; none before all branches are open.
    All(ReplyTo<Vec<QueueId<Pay>>>),
}

impl From<Reply<WorkerId>> for Ask {
    fn from(reply: Reply<WorkerId>) -> Ask {
        Ask::Worker(reply)
    }
}

impl From<Reply<QueueId<Open>>> for Ask {
    fn from(reply: Reply<QueueId<Open>>) -> Ask {
        Ask::Branch(reply)
    }
}

impl From<Reply<Vec<QueueId<Pay>>>> for Ask {
    fn from(reply: Reply<Vec<QueueId<Pay>>>) -> Ask {
        Ask::Accounts(reply)
    }
}

impl Fsm for Bank {
    const NAME: &'static str = "bank";
    type State = ();
    type Message = Ask;

    fn start(&mut self, cx: &mut Context<'_, Bank>) {
        for _ in 0..self.branches {
            cx.request(NodeRequest::queue(NodeId(0)), PATIENCE, |reply| NodeRequest::StartWorker { reply });
        }
    }

    fn handle(&mut self, (): (), ask: Ask, cx: &mut Context<'_, Bank>) -> Next<Bank> {
        match ask {
            Ask::Worker(Reply { outcome, .. }) => {
                if let Ok(worker) = outcome {
                    cx.spawn_on(worker, Branch, PATIENCE);
                }
            }
            Ask::Branch(Reply { outcome, .. }) => {
                if let Ok(branch) = outcome {
                    self.opened.push(branch);
                    let accounts = self.accounts;
                    cx.request(branch, PATIENCE, |reply| Open { accounts, reply });
                }
            }
            Ask::Accounts(Reply { outcome, .. }) => self.all.extend(outcome.into_iter().flatten()),
            Ask::All(reply) => {
                let is_open = self.all.len() == (self.branches * self.accounts) as usize;
                cx.reply(reply, if is_open { self.all.clone() } else { Vec::new() });
            }
        }
        Next::Stay
    }
}

/// Opens accounts on its worker.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Branch;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Open {
    accounts: u32,
    reply: ReplyTo<Vec<QueueId<Pay>>>,
}

impl Fsm for Branch {
    const NAME: &'static str = "branch";
    type State = ();
    type Message = Open;

    fn start(&mut self, _: &mut Context<'_, Branch>) {}

    fn handle(&mut self, (): (), open: Open, cx: &mut Context<'_, Branch>) -> Next<Branch> {
        let accounts = (0..open.accounts).map(|_| cx.spawn(Account::default())).collect();
        cx.reply(open.reply, accounts);
        Next::Stay
    }
}

/// Counts payments, keeps the last ones, and hands each that names another account on.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    paid: u64,
    last: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Pay {
    In(u64),
    Through(u64, QueueId<Pay>),
    /// How many payments there were.
    Tell(ReplyTo<u64>),
}

impl Account {
    fn take(&mut self, amount: u64) {
        self.paid += 1;
        self.last.push(amount);
        if self.last.len() > 16 {
            self.last.remove(0);
        }
    }
}

impl Fsm for Account {
    const NAME: &'static str = "account";
    type State = ();
    type Message = Pay;

    fn start(&mut self, _: &mut Context<'_, Account>) {}

    fn handle(&mut self, (): (), pay: Pay, cx: &mut Context<'_, Account>) -> Next<Account> {
        match pay {
            Pay::In(amount) => self.take(amount),
            Pay::Through(amount, to) => {
                self.take(amount);
                cx.send(to, Pay::In(amount));
            }
            Pay::Tell(reply) => cx.reply(reply, self.paid),
        }
        Next::Stay
    }
}

/// The program's kinds.
pub(crate) fn kinds() -> Kinds {
    Kinds::new()
        .with::<Bank>()
        .with::<Branch>()
        .with::<Account>()
        .replies::<Ask, WorkerId>()
        .replies::<Ask, QueueId<Open>>()
        .replies::<Ask, Vec<QueueId<Pay>>>()
        .message::<u64>()
}
