//! What a worker has put out, on its way: to other workers at once, and kept until they have recorded it; to edges, in a durable
//! node, once it is on disk. Requests to edges are held until they are answered.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use super::{
    in_loop::InLoop,
    inbox::Inbox,
    retained::{DriverImage, Held, Unacknowledged},
    shared::Shared,
    withheld::Withheld,
};
use crate::{
    frame::Batch,
    id::{EdgeId, Place, WorkerId},
    journal::Position,
    worker::Worker,
};

/// One worker's.
pub(super) struct Outbox {
    worker: WorkerId,
    /// The ways to workers, as they were found.
    ways: BTreeMap<WorkerId, Inbox>,
    pub(super) unacknowledged: Unacknowledged,
    pub(super) held: Held,
    /// What may not leave before the journal is on disk, and up to where it was asked to be.
    withheld: Withheld,
    asked: Position,
}

/// The edges in a worker's loop, and the batches of its next round, among which goes what these put in.
pub(super) struct Loop<'a> {
    pub(super) reactors: &'a mut [InLoop],
    pub(super) gathered: &'a mut Vec<Arc<Batch>>,
}

impl Outbox {
    pub(super) fn new(worker: WorkerId) -> Outbox {
        Outbox {
            worker,
            ways: BTreeMap::new(),
            unacknowledged: Unacknowledged::default(),
            held: Held::default(),
            withheld: Withheld::default(),
            asked: Position::default(),
        }
    }

    /// Lets out what a round put out that has ended, and whose records end at `recorded`; what leaves the node, in a durable
    /// one, once these are on disk.
    pub(super) fn let_out(&mut self, worker: &mut Worker, recorded: Position, shared: &Shared, edges: &mut Loop<'_>) {
        let was_waiting = self.is_waiting();
        let Outbox { ways, unacknowledged, held, withheld, .. } = self;
        let here = Place::worker(worker.id());
        worker.drain_outputs(|to, batch| match (to.as_worker(), to.as_edge()) {
            (Some(receiver), _) => {
                unacknowledged.keep(to, batch, |frames| put(shared, ways, receiver, frames));
            }
            (_, Some(edge)) => {
                held.keep(to, &batch.as_ref());
                // What the node's own edge does stays in the node, and stands in the journal behind what asked for it.
                if shared.commits.is_some() && edge != EdgeId::NODE {
                    withheld.keep(recorded, edge, batch);
                } else {
                    edges.put(shared, here, edge, batch);
                }
            }
            (None, None) => unreachable!("a place is a worker or an edge"),
        });
        held.prune(worker);
        if was_waiting {
            // Who has a round after another doesn't come to rest, where it would ask.
            self.ask_for_sync(shared);
        } else if self.is_waiting() {
            shared.work_begins();
        }
    }

    /// Lets out what waited until it was on disk.
    pub(super) fn let_out_synced(&mut self, shared: &Shared, edges: &mut Loop<'_>) {
        let (Some(journal), true) = (&shared.journal, self.is_waiting()) else { return };
        let (here, synced) = (Place::worker(self.worker), journal.synced());
        while let Some((edge, batch)) = self.withheld.take(synced) {
            edges.put(shared, here, edge, &batch);
            self.withheld.give_back(batch);
        }
        if !self.is_waiting() {
            shared.work_ends(1);
        }
    }

    /// Asks for all to be brought to disk that outputs wait for, unless it was asked before. The worker is told to look then.
    pub(super) fn ask_for_sync(&mut self, shared: &Shared) {
        let (Some(commits), Some(recorded)) = (&shared.commits, self.withheld.recorded()) else { return };
        if recorded <= self.asked {
            return;
        }
        if let Some(inbox) = way(shared, &mut self.ways, self.worker) {
            self.asked = recorded;
            commits.ask(self.worker, inbox);
        }
    }

    /// True while something waits until it is on disk.
    pub(super) fn is_waiting(&self) -> bool {
        !self.withheld.is_empty()
    }

    /// Bytes that wait here for edges.
    pub(super) fn bytes(&self) -> u64 {
        self.held.bytes() + self.withheld.bytes()
    }

    /// What of it stands in a snapshot. What is withheld is lost with the connections that it was for.
    pub(super) fn image(&mut self, worker: &Worker) -> DriverImage {
        DriverImage::of(&mut self.unacknowledged, &mut self.held, worker)
    }
}

impl Loop<'_> {
    /// Puts frames on their way to an edge: into this loop, or elsewhere.
    fn put(&mut self, shared: &Shared, here: Place, edge: EdgeId, batch: &Batch) {
        match self.reactors.iter_mut().find(|in_loop| in_loop.edge == edge) {
            Some(in_loop) => {
                in_loop.take_frames(batch, shared);
                in_loop.take_inputs(shared, self.gathered, here);
            }
            None => shared.put_for_edge(edge, batch),
        }
    }
}

/// Puts frames into another worker's inbox.
fn put(shared: &Shared, ways: &mut BTreeMap<WorkerId, Inbox>, to: WorkerId, frames: Arc<Batch>) {
    match way(shared, ways, to) {
        Some(inbox) => shared.put_into(inbox, frames),
        None => shared.put(to, frames),
    }
}

/// The way to a worker. What all workers share is asked only for the first look.
fn way<'a>(shared: &Shared, ways: &'a mut BTreeMap<WorkerId, Inbox>, to: WorkerId) -> Option<&'a Inbox> {
    match ways.entry(to) {
        Entry::Occupied(known) => Some(known.into_mut()),
        Entry::Vacant(unknown) => shared.inbox(to).map(|inbox| &*unknown.insert(inbox)),
    }
}
