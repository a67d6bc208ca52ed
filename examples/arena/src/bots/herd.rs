//! The herd: the node's first FSM. It spawns the bots and counts what they report.

use std::collections::BTreeMap;

use qnfsm::{Context, EdgeId, Fsm, Next, ReplyTo};
use serde::{Deserialize, Serialize};

use super::player::Player;
use crate::{bot::Fault, wire::PlayerId};

#[derive(Serialize, Deserialize)]
pub(super) struct Herd {
    tcp: EdgeId,
    bots: u32,
    reports: BTreeMap<PlayerId, Report>,
}

/// How one bot is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Report {
    /// It has a connection on which the server welcomed it.
    pub(super) plays: bool,
    /// Connections that it has had.
    pub(super) welcomes: u64,
    /// Commands of which it was told that they are applied.
    pub(super) applied: u64,
    /// Messages from the server.
    pub(super) messages: u64,
    pub(super) fault: Option<Fault>,
}

/// How all bots are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many there are.
    pub bots: u32,
    /// How many play at this moment.
    pub playing: u32,
    /// The fewest times that any of them was welcomed by the server.
    pub welcomes_min: u64,
    /// Commands of which they were told that they are applied.
    pub applied: u64,
    /// Messages from the server.
    pub messages: u64,
    /// Bots that were told less than they had been told before.
    pub lost: u32,
    /// Bots whose commands were applied more than once.
    pub doubled: u32,
    /// Bots that were told what can't be.
    pub invented: u32,
    /// What the first of those found.
    pub fault: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum HerdMessage {
    Report(PlayerId, Report),
    Summary(ReplyTo<Summary>),
}

impl Herd {
    pub(super) fn new(tcp: EdgeId, bots: u32) -> Herd {
        Herd { tcp, bots, reports: BTreeMap::new() }
    }

    fn summary(&self) -> Summary {
        let mut summary = Summary { bots: self.bots, ..Summary::default() };
        let welcomes = self.reports.values().map(|report| report.welcomes);
        summary.welcomes_min = welcomes.min().unwrap_or_default();
        for (player, report) in &self.reports {
            summary.playing += u32::from(report.plays && report.fault.is_none());
            summary.applied += report.applied;
            summary.messages += report.messages;
            match &report.fault {
                None => {}
                Some(Fault::Lost { .. }) => summary.lost += 1,
                Some(Fault::Doubled { .. }) => summary.doubled += 1,
                Some(_) => summary.invented += 1,
            }
            if let (Some(fault), None) = (&report.fault, &summary.fault) {
                summary.fault = Some(format!("{player}: {fault}"));
            }
        }
        summary
    }
}

impl Fsm for Herd {
    const NAME: &'static str = "herd";
    type State = ();
    type Message = HerdMessage;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        for number in 1..=self.bots {
            let herd = cx.id();
            cx.spawn(Player::new(PlayerId(number), self.tcp, herd));
        }
    }

    fn handle(&mut self, (): (), message: HerdMessage, cx: &mut Context<'_, Self>) -> Next<Self> {
        match message {
            HerdMessage::Report(player, report) => {
                self.reports.insert(player, report);
            }
            HerdMessage::Summary(reply) => cx.reply(reply, self.summary()),
        }
        Next::Stay
    }
}
