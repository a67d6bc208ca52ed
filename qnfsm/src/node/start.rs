//! Starts a node, or brings it back: takes the directory, reads what it was, begins an epoch there, opens the edges, and
//! only then lets workers run and edges speak.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use super::{
    Durability, Files, Node, NodeBuilder, OnOtherBuild, OnPoison, RunOn, StartError,
    builder::{EdgeSpec, build_identity},
    clock::Clock,
    commits::Commits,
    directory::{Directory, Retention},
    driver::Driver,
    edge::{Inputs, Policies},
    edge_thread::EdgeThread,
    facade::Facade,
    gauges::Gauges,
    host::Host,
    in_loop::InLoop,
    inlet::{Inlet, Numbers},
    poison::LastRounds,
    recovery::{self, OwnBuild, Recovered},
    shared::{Shared, Way},
    starter::Starter,
};
use crate::{
    codec::Codec,
    frame::{Batch, Class, Header, edge_queue, put_varint},
    fsm::Fsm,
    id::{EdgeId, Epoch, NodeId, Place, QueueId, RawQueueId, WorkerId},
    journal::{
        self, GivenUp, GivingUp, Journal, JournalError, JournalOptions, Manifest, NodeLock, OpenError, Record,
        SegmentInfo, Tail, holdings::remove_snapshot, snapshots,
    },
    message::{DownReason, NoReply, ReplyTo},
    playback::{Playback, PlaybackError},
    random::GENERATOR,
    time::Time,
    worker::{Catalogue, WorkerConfig},
};

/// What begins with a node's start: its epoch, and what it comes from.
struct Beginning {
    epoch: Epoch,
    files: Option<Files>,
    recovered: Option<Recovered>,
    given_up: Option<GivenUp>,
    journal: Option<Journal>,
    config: WorkerConfig,
}

impl NodeBuilder {
    /// Starts the node, or goes on from its directory. `root` is the node's first FSM, in worker 0; it spawns all
    /// others. A directory that has one already keeps the one that it has.
    ///
    /// # Errors
    /// When something is not in order; nothing has left the node then.
    pub fn start<F: Fsm>(self, root: &F) -> Result<Node<F::Message>, StartError> {
        let facade = Facade::new(&self.program, self.node);
        self.bring_up(root, facade.clone()).inspect_err(|error| {
            if matches!(error, StartError::Playback { source: PlaybackError::Diverged(_), .. }) {
                facade.diverged();
            }
        })
    }

    fn bring_up<F: Fsm>(mut self, root: &F, facade: Facade) -> Result<Node<F::Message>, StartError> {
        if cfg!(panic = "abort") {
            tracing::warn!("this build aborts on a panic: panic policies don't apply, a panic ends the process");
        }
        if let Some(misuse) = self.misuse.take() {
            return Err(StartError::Misuse(misuse));
        }
        let recorder = self.record_in_memory()?;
        self.limits.check()?;
        if self.config.fsms_max == 0 {
            return Err(StartError::Misuse("`fsms_max` is 0: no room for the node's first FSM; raise it".to_owned()));
        }
        let catalogue = std::mem::take(&mut self.kinds).seal()?;
        let kind = catalogue.numbers().kind::<F>().ok_or(StartError::UnregisteredRoot(F::NAME))?;
        let root_frame = root_frame(self.node, kind, root)?;
        self.limits.check_room_for(&catalogue)?;
        self.limits = self.limits.fitted(self.durability);
        let Beginning { epoch, files, recovered, given_up, journal, config } = self.begin(&catalogue)?;
        let is_durable = journal.is_some() && self.durability == Durability::Durable;
        let latest = recovered.as_ref().map_or(Time::ZERO, |recovered| recovered.playback.latest());
        let shared = Arc::new(Shared::new(
            self.node,
            epoch,
            catalogue.clone(),
            Clock::start(latest),
            journal,
            is_durable.then(Commits::default),
            files.as_ref().map(|files| files.directory.clone()),
            recorder,
            self.on_poison != OnPoison::TryAgain,
            config,
            self.limits,
            std::mem::take(&mut self.ports),
            Gauges::new(facade),
        ));
        let opening = Opening { shared: shared.clone(), is_open: false };
        let shared = &shared;
        let mut kept = recovery::Kept::default();
        let mut playback = Playback::new(catalogue.clone(), self.node);
        let (mut started_for, mut restored) = (recovery::StartedFor::new(), BTreeMap::new());
        let (mut skips, mut ran_others) = (BTreeMap::new(), BTreeSet::new());
        if let Some(recovered) = recovered {
            (kept, playback, started_for) = (recovered.kept, recovered.playback, recovered.started_for);
            (restored, skips, ran_others) = (recovered.restored, recovered.skips, recovered.ran_others);
        }
        let mut ran_anew = Vec::new();
        if let Some(files) = &files {
            let again = || self.read_again(files, &catalogue);
            let last = LastRounds { shared, on_poison: self.on_poison, skips, again: &again };
            (playback, kept, ran_anew) = last.finish(playback, kept)?;
        }
        if is_durable {
            // External values of the last rounds were asked just now, and requests that follow from them go out below.
            shared.sync()?;
        }
        let own = Inlet::new(shared.clone(), EdgeId::NODE);
        shared.set_own_inlet(own.clone());
        let starter = Starter::new(shared.clone(), own.clone(), started_for);
        let host = Host::new(shared.clone(), Inlet::new(shared.clone(), EdgeId::HOST));
        shared.add_edge(EdgeId::NODE, Way::Outlet(starter.clone()));
        shared.add_edge(EdgeId::HOST, Way::Outlet(host.waiting()));

        let policies = self.policies();
        let Edges { in_loop, apart } = open_edges(std::mem::take(&mut self.edges), shared)?;
        let mut drivers = bring_back(playback, shared, &starter, in_loop)?;
        for driver in &mut drivers {
            driver.newest.mark = restored.remove(&driver.worker.id());
            put_in_again(driver, &mut kept, shared, &own, &policies);
            if ran_others.contains(&driver.worker.id()) {
                // What another build recorded is not to be run by this one again.
                driver.snapshot()?;
            }
        }
        drivers.iter_mut().for_each(|driver| driver.resume(latest));
        shared.put(WorkerId(0), Arc::new(root_frame));
        shared.budget.set_brought_back();

        let root = QueueId::from_raw(root_queue(self.node));
        let mut node = Node::new(opening.opened(), starter, host, root, files);
        node.given_up = given_up;
        node.ran_anew = ran_anew;
        node.launch(drivers)?;
        // Now that all inboxes are there, the world may speak.
        for edge in apart {
            let spawned = edge.spawn(&node.shared);
            node.edge_threads
                .push(spawned.map_err(|source| StartError::System { what: "a thread for an edge", source })?);
        }
        node.take_care(self.signals, self.records_on_signal)?;
        Ok(node)
    }

    /// Takes the directory, reads it, and begins an epoch there.
    fn begin(&self, catalogue: &Arc<Catalogue>) -> Result<Beginning, StartError> {
        let seed = self.seed.map_or_else(random, Ok)?;
        let config = WorkerConfig { seed, ..self.config };
        let Some(dir) = &self.dir else {
            if self.recover_to.is_some() {
                return Err(StartError::Misuse(
                    "`recover_to` without a directory; give the node's with `dir`".to_owned(),
                ));
            }
            let (files, recovered, given_up, journal) = (None, None, None, None);
            return Ok(Beginning { epoch: Epoch::FIRST, files, recovered, given_up, journal, config });
        };
        match Manifest::load(&*self.storage, dir) {
            // A stranger's directory is left as it is, without a lock of ours.
            Err(error @ (OpenError::NotANode(_) | OpenError::Denied(_))) => return Err(error.into()),
            // Who recovers names a directory that there is.
            Err(error) if self.recover_to.is_some() => return Err(error.into()),
            _ => {}
        }
        let lock = NodeLock::take(&*self.storage, dir)?;
        journal::give_back_room(&*self.storage, dir).map_err(JournalError::from)?;
        let epoch_random = random()?;
        let mut given_up = None;
        let (manifest, mut recovered) = match Manifest::load(&*self.storage, dir) {
            Ok(manifest) => {
                let (manifest, recovered, gone) = self.read_back(dir, &lock, manifest, catalogue)?;
                given_up = gone;
                (
                    Manifest { epoch: Epoch(manifest.epoch.0 + 1), epoch_random, clean: false, ..manifest },
                    Some(recovered),
                )
            }
            Err(OpenError::Missing(_) | OpenError::Empty(_)) => {
                let identity = u128::from(random()?) << 64 | u128::from(random()?);
                let manifest = Manifest::new(identity, self.node, &self.program, epoch_random);
                manifest.create(&*self.storage, dir)?;
                (manifest, None)
            }
            Err(error) => return Err(error.into()),
        };
        let config = match recovered.as_ref().and_then(|recovered| recovered.seed) {
            Some(seed) => WorkerConfig { seed, ..config },
            None => config,
        };
        manifest.store(&*self.storage, dir)?;
        snapshots::remove_unfinished(&*self.storage, dir).map_err(JournalError::from)?;
        for (worker, round) in recovered.iter().flat_map(|recovered| &recovered.unmarked) {
            remove_snapshot(&*self.storage, dir, *worker, *round).map_err(JournalError::from)?;
        }
        let tail = recovered.as_ref().and_then(|recovered| recovered.tail.as_ref());
        let journal = self.begin_journal(dir, &manifest, catalogue, &config, tail)?;
        let epoch = manifest.epoch;
        let workers = recovered.as_mut().map(|recovered| std::mem::take(&mut recovered.workers)).unwrap_or_default();
        let table = catalogue.table().to_bytes();
        let retention = Retention { bytes: self.limits.retain_bytes, is_ring: self.durability == Durability::Memory };
        let directory = Directory::new(self.storage.clone(), dir.clone(), manifest, table, retention, workers);
        let files = Files { directory: Arc::new(directory), journal: journal.clone(), lock };
        Ok(Beginning { epoch, files: Some(files), recovered, given_up, journal: Some(journal), config })
    }

    /// Reads the node back. Where its journal is to end earlier it is made to, once all has been read that is needed: what keeps
    /// the node from going on from there is told before anything is changed.
    fn read_back(
        &self,
        dir: &Path,
        lock: &NodeLock,
        manifest: Manifest,
        catalogue: &Arc<Catalogue>,
    ) -> Result<(Manifest, Recovered, Option<GivenUp>), StartError> {
        if manifest.program != self.program {
            return Err(StartError::ForeignProgram { dir: dir.into(), wrote: manifest.program });
        }
        if manifest.node != self.node {
            let (is, asked) = (manifest.node.0, self.node.0);
            let text = format!(
                "{} is the directory of node {is}, and this is node {asked}; give that number with `node_id`, or another directory",
                dir.display()
            );
            return Err(StartError::Misuse(text));
        }
        let look = |at| GivingUp::look(&self.storage, dir, lock, at);
        let giving_up = self.recover_to.map(look).transpose()?.flatten();
        let until = giving_up.as_ref().map(GivingUp::at);
        let recovered = recovery::recover(&self.storage, dir, lock, &manifest, catalogue, &self.own_build(), until)?;
        let (Some(giving_up), Some(tail)) = (giving_up, &recovered.tail) else {
            return Ok((manifest, recovered, None));
        };
        let (manifest, given_up) = giving_up.carry_out(&*self.storage, dir, manifest, tail)?;
        Ok((manifest, recovered, Some(given_up)))
    }

    /// Reads the node back once more, with what this start has recorded.
    fn read_again(&self, files: &Files, catalogue: &Arc<Catalogue>) -> Result<Recovered, StartError> {
        let dir = &files.directory.dir;
        let manifest = Manifest::load(&*self.storage, dir)?;
        recovery::recover(&self.storage, dir, &files.lock, &manifest, catalogue, &self.own_build(), None)
    }

    /// Which executable this is, what it may run, and what its edges do with requests that were under way.
    fn own_build(&self) -> OwnBuild {
        let identity = self.build.unwrap_or_else(build_identity);
        OwnBuild { identity, runs_others: self.on_other_build == OnOtherBuild::Run, policies: self.policies() }
    }

    fn policies(&self) -> Policies {
        Policies(self.edges.iter().map(EdgeSpec::unanswered).collect())
    }

    fn begin_journal(
        &self,
        dir: &Path,
        manifest: &Manifest,
        catalogue: &Catalogue,
        config: &WorkerConfig,
        tail: Option<&Tail>,
    ) -> Result<Journal, StartError> {
        let (build, build_bytes) = self.own_build().identity;
        let mut configuration = Vec::new();
        Codec::CURRENT.encode(config, &mut configuration).expect("a configuration is numbers");
        let info = SegmentInfo {
            codec: Codec::CURRENT.id(),
            generator: GENERATOR,
            identity: manifest.identity,
            node: manifest.node,
            epoch: manifest.epoch,
            epoch_random: manifest.epoch_random,
            build,
            build_bytes,
            catalogue: catalogue.table().to_bytes(),
            configuration,
            marks_ends: self.on_poison != OnPoison::TryAgain,
        };
        let is_prepared = self.durability == Durability::Durable;
        let options = JournalOptions::default().segment_bytes(self.limits.segment_bytes).prepared(is_prepared);
        Ok(Journal::begin(self.storage.clone(), dir, info, tail, options)?)
    }
}

/// The queue of a node's first FSM: the first that worker 0 ever allots.
fn root_queue(node: NodeId) -> RawQueueId {
    RawQueueId::new(node, Place::worker(WorkerId(0)), 0, 1)
}

/// The one input of [`EdgeId::BOOT`]. It is put in at every start with the same number, so a worker that has it drops it.
fn root_frame<F: Fsm>(node: NodeId, kind: u32, root: &F) -> Result<Batch, StartError> {
    let mut payload = Vec::new();
    put_varint(&mut payload, 0);
    Codec::CURRENT
        .encode(root, &mut payload)
        .map_err(|error| StartError::Misuse(format!("the node's first FSM can't be encoded: {error}")))?;
    let mut batch = Batch::new(Place::edge(EdgeId::BOOT), Epoch::FIRST, 1);
    let boot = edge_queue(node, EdgeId::BOOT);
    batch.push(&Header::to(Class::Spawn, kind, root_queue(node), boot), &payload);
    Ok(batch)
}

/// A node that is being started: where it doesn't come to that, its edges are closed again.
struct Opening {
    shared: Arc<Shared>,
    is_open: bool,
}

impl Opening {
    fn opened(mut self) -> Arc<Shared> {
        self.is_open = true;
        self.shared.clone()
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.is_open {
            if let Some(journal) = &self.shared.journal {
                journal.close_or_abandon();
            }
            self.shared.close();
        }
    }
}

/// The reactors that are open: those that run in worker 0's loop, and those that are to have threads of their own.
struct Edges {
    in_loop: Vec<InLoop>,
    apart: Vec<EdgeThread>,
}

/// Opens the edges. What workers put out for them finds its way from now on.
fn open_edges(specs: Vec<EdgeSpec>, shared: &Arc<Shared>) -> Result<Edges, StartError> {
    let mut edges = Edges { in_loop: Vec::new(), apart: Vec::new() };
    for (number, spec) in (EdgeId::FIRST_OF_USER.0..).zip(specs) {
        let edge = EdgeId(number);
        let failed = |source| StartError::Edge { edge, source };
        match spec {
            EdgeSpec::Service(_, open) => {
                let outlet = open(shared, Inlet::new(shared.clone(), edge), edge).map_err(failed)?;
                shared.add_edge(edge, Way::Outlet(outlet));
            }
            EdgeSpec::Reactor(run_on, mut reactor) => {
                let setup = shared.setup(edge);
                reactor.open(&setup).map_err(failed)?;
                let opened = InLoop::new(reactor, Inputs::new(setup), Numbers::new(edge, shared.epoch));
                match run_on {
                    RunOn::FirstWorker => {
                        shared.add_edge(edge, Way::InLoopOf(WorkerId(0)));
                        edges.in_loop.push(opened);
                    }
                    RunOn::Thread => edges.apart.push(EdgeThread::new(opened, shared)),
                }
            }
        }
    }
    Ok(edges)
}

/// Gives each worker of the playback, or the first one of a new node, its driver.
fn bring_back(
    playback: Playback,
    shared: &Arc<Shared>,
    starter: &Starter,
    mut in_loop: Vec<InLoop>,
) -> Result<Vec<Driver>, StartError> {
    let workers = playback.into_workers();
    if workers.is_empty() {
        return Ok(vec![starter.start_new(None, in_loop)?]);
    }
    let mut drivers = Vec::new();
    for (mut worker, digest) in workers {
        let config = WorkerConfig { seed: worker.config().seed, ..shared.worker_config };
        if *worker.config() != config {
            if let Some(journal) = &shared.journal {
                let mut bytes = Vec::new();
                Codec::CURRENT.encode(&config, &mut bytes).expect("a configuration is numbers");
                let (worker, round) = (worker.id(), worker.rounds());
                journal.write(&Record::Configured { worker, round, config: &bytes })?;
            }
            worker.configure(config);
        }
        let reactors = if worker.id() == WorkerId(0) { std::mem::take(&mut in_loop) } else { Vec::new() };
        drivers.push(starter.bring_back(worker, digest, reactors));
    }
    // What was once put out for a worker that wasn't there must not be missed by one that comes.
    for driver in &drivers {
        driver.worker.destinations().filter_map(Place::as_worker).for_each(|worker| shared.never_allot(worker));
    }
    Ok(drivers)
}

/// Puts in again what a worker had put out and its receiver had not recorded, and tells its FSMs what became of the
/// world: connections are gone, requests are sent again or interrupted.
fn put_in_again(driver: &mut Driver, kept: &mut recovery::Kept, shared: &Shared, own: &Inlet, policies: &Policies) {
    let worker = driver.worker.id();
    for (to, mut batch) in kept.take_outputs(worker) {
        if let Some(receiver) = to.as_worker() {
            driver.outbox.unacknowledged.keep(to, &mut batch, |frames| {
                shared.put(receiver, frames);
            });
        }
    }
    driver.outbox.held = kept.take_requests(worker);
    driver.outbox.held.retain(&driver.worker);
    for (queue, request, to, batch) in driver.outbox.held.iter() {
        let Some(edge) = to.as_edge() else { continue };
        if policies.sends_again(edge) && shared.edge(edge).is_some() {
            shared.put_for_edge(edge, batch);
        } else {
            let to = ReplyTo::<()>::new(queue, request, Time::ZERO);
            own.put(|inputs| inputs.fail(&to, edge_queue(shared.node, edge), NoReply::Interrupted));
        }
    }
    for (watched, watcher) in driver.worker.watches_elsewhere() {
        let reason = match watched.place().as_worker() {
            None => DownReason::Restarted,
            // Whether it was told before the node went down is not known; it is told once.
            Some(worker) if !shared.has_worker(worker) => DownReason::Unknown,
            Some(_) => continue,
        };
        own.put(|inputs| inputs.down(watcher, watched, &reason));
    }
}

/// A random number from the operating system.
fn random() -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| {
        let source = std::io::Error::other(error);
        StartError::System { what: "random numbers from the system", source }
    })
}
