//! Puts the rounds of several nodes in order: of each node the next one waits until all that it took in from the others has been put out.
//!
//! It holds one round of each node, and what [`Outgoing`] remembers. A wait ends with what is waited for, with the end of the sender's
//! journal, or when much has been put out since that isn't it. Where all wait for one another, the one goes on whose frame is the least
//! likely to be shown; the earliest, of several.

use std::collections::BTreeMap;

use qnfsm::{EdgeId, NodeId, Place, RawQueueId, Time, frame::Class};

use super::{
    CameIn, NodesWalked, Sending,
    outgoing::{Content, Doubt, Incoming, Outgoing},
};
use crate::{
    ReplayError, Walk,
    session::{RoundLog, frames},
    walk::Rounds,
};

/// The nodes, as they are merged.
pub(super) struct Merge<'w> {
    /// By number, which breaks ties.
    nodes: BTreeMap<NodeId, Node<'w>>,
    outgoing: Outgoing,
    window_bytes_max: usize,
    circles: u64,
    /// Why the first node could not be played to its end of which that is so.
    pub(super) failed: Option<ReplayError>,
}

/// One node.
struct Node<'w> {
    rounds: Rounds<'w>,
    /// The numbers of the names of its message types and kinds.
    messages: Vec<u32>,
    kinds: Vec<u32>,
    /// The beginning of its journal was given up.
    is_cut: bool,
    /// For how many bytes of outputs it waits, at most: for half as many after each wait in vain, so that all that is put out meanwhile is remembered.
    patience: u64,
    /// Its next round; none, if it has no more.
    head: Option<Head>,
}

/// A round that is the next of its node.
struct Head {
    log: RoundLog,
    /// What it took in from other nodes, and how much of that is told.
    incoming: Vec<Incoming>,
    came: Vec<CameIn>,
    /// How many bytes had been put out when it began to wait.
    waits_since: u64,
    /// It is not to wait for the frame that is told next.
    is_released: bool,
}

impl Head {
    fn awaited(&self) -> Option<&Incoming> {
        self.incoming.get(self.came.len())
    }
}

/// Numbers for the names of types, whichever node's table they stand in.
#[derive(Default)]
struct Names(BTreeMap<String, u32>);

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(name.to_owned()).or_insert(next)
    }
}

impl Node<'_> {
    /// What a frame is, by names that all nodes know.
    fn content(&self, class: Class, type_number: u32, payload: &[u8]) -> Content {
        let names = match class {
            Class::Message | Class::Reply => &self.messages,
            Class::Spawn => &self.kinds,
            _ => return Content::new(class, u32::MAX, payload),
        };
        Content::new(class, names.get(type_number as usize).copied().unwrap_or(u32::MAX), payload)
    }
}

impl<'w> Merge<'w> {
    pub(super) fn new(walks: &'w mut [Walk<'_>], window_bytes_max: usize) -> Merge<'w> {
        let (mut names, mut nodes) = (Names::default(), BTreeMap::new());
        for walk in walks {
            let (id, catalogue) = (walk.manifest().node, walk.catalogue().clone());
            let messages = catalogue.table().messages.iter().map(|message| names.number(&message.name)).collect();
            let kinds = catalogue.table().kinds.iter().map(|kind| names.number(&kind.name)).collect();
            let is_cut = walk.manifest().oldest_segment > 1;
            nodes.insert(
                id,
                Node {
                    rounds: walk.begin(),
                    messages,
                    kinds,
                    is_cut,
                    patience: window_bytes_max as u64 / 2,
                    head: None,
                },
            );
        }
        let outgoing = Outgoing::new(window_bytes_max);
        let mut merge = Merge { nodes, outgoing, window_bytes_max, circles: 0, failed: None };
        merge.nodes.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| merge.advance(id));
        merge
    }

    /// The next round, with where what it took in from other nodes comes from.
    pub(super) fn next(&mut self) -> Option<(NodeId, RoundLog, Vec<CameIn>)> {
        loop {
            self.tell_all();
            let heads = self.nodes.iter().filter_map(|(id, node)| Some((*id, node.patience, node.head.as_ref()?)));
            let (waiting, ready): (Vec<_>, Vec<_>) = heads.partition(|(.., head)| head.awaited().is_some());
            let ever = self.outgoing.bytes_ever;
            let overdue = waiting.iter().find(|(_, patience, head)| ever - head.waits_since > *patience);
            let ready = ready.iter().min_by_key(|(id, _, head)| (head.log.now, *id));
            match (overdue.map(|(id, ..)| *id), ready.map(|(id, ..)| *id)) {
                (Some(id), _) => {
                    self.release(id);
                    self.nodes.entry(id).and_modify(|node| node.patience /= 2);
                }
                (None, Some(id)) => {
                    let head = self.nodes.get_mut(&id).and_then(|node| node.head.take());
                    let Head { log, came, .. } = head.expect("it was ready");
                    self.note(id, &log);
                    self.advance(id);
                    return Some((id, log, came));
                }
                (None, None) => {
                    let id = self.least_likely()?;
                    self.release(id);
                }
            }
        }
    }

    /// Tells what was found of the rounds so far.
    pub(super) fn tell(&self, walked: &mut NodesWalked) {
        for (id, node) in &self.nodes {
            let own = node.rounds.walked();
            let (rounds, not_begun) = node.rounds.not_begun();
            walked.passed_over.extend(Some((*id, rounds)).filter(|_| rounds > 0));
            walked.not_begun.extend(not_begun.into_iter().map(|not_begun| (*id, not_begun)));
            (walked.rounds, walked.late) = (walked.rounds + own.rounds, walked.late + own.late);
        }
        // A round that was read ahead was not shown.
        walked.rounds -= self.nodes.values().filter(|node| node.head.is_some()).count() as u64;
        let Outgoing { forgotten, lost, .. } = self.outgoing;
        (walked.forgotten, walked.lost, walked.circles) = (forgotten, lost, self.circles);
    }

    /// Has the next round of a node played.
    fn advance(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let log = node.rounds.next().unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            None
        });
        let waits_since = self.outgoing.bytes_ever;
        let head = log.map(|log| {
            let incoming = self.incoming(id, &log);
            Head { log, incoming, came: Vec::new(), waits_since, is_released: false }
        });
        if let Some(node) = self.nodes.get_mut(&id) {
            node.head = head;
        }
    }

    /// What a round took in from queues of the other nodes.
    fn incoming(&self, id: NodeId, log: &RoundLog) -> Vec<Incoming> {
        let here = Place::worker(log.worker);
        let is_elsewhere = |sender: RawQueueId| sender.node() != id && self.nodes.contains_key(&sender.node());
        let came = frames(&log.batches).filter(|(source, ..)| source.as_edge().is_some());
        let came = came.filter(|(.., frame)| is_elsewhere(frame.header.sender));
        came.map(|(source, number, frame)| {
            let header = frame.header;
            let target = RawQueueId::new(id, here, header.slot, header.generation);
            let content = self.nodes[&id].content(header.class, header.type_number, frame.payload);
            Incoming { source, number, sender: header.sender, target, content }
        })
        .collect()
    }

    /// Remembers what a round put out for edges.
    fn note(&mut self, id: NodeId, log: &RoundLog) {
        let node = &self.nodes[&id];
        for (to, batch) in &log.outputs {
            // The library's own edges lead to no other node.
            if to.as_edge().is_none_or(|edge| edge < EdgeId::FIRST_OF_USER) || self.nodes.len() < 2 {
                continue;
            }
            for (_, number, frame) in frames([batch]) {
                let header = frame.header;
                let by = RawQueueId::new(id, *to, header.slot, header.generation);
                let content = node.content(header.class, header.type_number, frame.payload);
                let (ordinal, worker, round) = (log.ordinal, log.worker, log.round);
                let sending = Sending { node: id, ordinal, worker, round, to: *to, number };
                self.outgoing.put(header.sender, by, content, sending);
            }
        }
    }

    /// Tells of all rounds that are next where what they took in comes from, as far as that is known by now.
    fn tell_all(&mut self) {
        let more: BTreeMap<NodeId, bool> = self.nodes.iter().map(|(id, node)| (*id, node.head.is_some())).collect();
        for Node { head, patience, .. } in self.nodes.values_mut() {
            let Some(head) = head else { continue };
            while let Some(frame) = head.awaited() {
                // What an edge of the other node says of itself is none of its workers' outputs.
                let may_come =
                    frame.sender.place().as_worker().is_some() && more.get(&frame.sender.node()) == Some(&true);
                let Some(whence) = self.outgoing.whence(frame, may_come && !head.is_released) else { break };
                let Incoming { source, number, sender, target, .. } = *frame;
                head.came.push(CameIn { source, number, sender, target, whence });
                head.waits_since = self.outgoing.bytes_ever;
                if !std::mem::replace(&mut head.is_released, false) {
                    *patience = self.window_bytes_max as u64 / 2;
                }
            }
        }
    }

    /// The node whose frame is the least likely to be shown, where all wait.
    fn least_likely(&mut self) -> Option<NodeId> {
        let doubt = |(id, node): (&NodeId, &Node<'_>)| -> Option<(Doubt, Time, NodeId)> {
            let head = node.head.as_ref()?;
            let frame = head.awaited()?;
            let is_cut = self.nodes.get(&frame.sender.node()).is_some_and(|sender| sender.is_cut);
            Some((self.outgoing.doubt(frame, is_cut), head.log.now, *id))
        };
        let (doubt, _, id) = self.nodes.iter().filter_map(doubt).min()?;
        self.circles += u64::from(doubt >= Doubt::Other);
        Some(id)
    }

    fn release(&mut self, id: NodeId) {
        if let Some(head) = self.nodes.get_mut(&id).and_then(|node| node.head.as_mut()) {
            head.is_released = true;
        }
    }
}
