//! The loop: waits for sockets and deadlines and gives each entry that has something to do its turn.
//!
//! One poll does a bounded amount of work: as many turns as entries were ready, each of bounded length, and a bound on
//! the bytes that all of them read. What is left keeps its place in the list, and the next poll doesn't wait. The
//! files beside this one say what happens in a turn: `accept` to listeners, `dial` to connections that are to be made,
//! `take` to what FSMs send. `stalled` closes who reads nothing while the node has no room.

mod accept;
mod dial;
mod stalled;
mod take;

use std::{
    io,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Waker, event::Source};
use qnfsm::{DownReason, EdgeSetup, Inputs, QueueId, RawQueueId};

use crate::{
    backoff::Jitter,
    config::{self, Address, Config},
    connection::{Closed, Connection, Lingering, Origin, Served, Shape, Stage, Turn},
    connector::{Dial, Found, Target},
    limits::{CLOSING_TIME_MAX, EVENTS_PER_POLL, READ_BYTES_PER_POLL, READ_BYTES_PER_TURN},
    listener::Listener,
    protocol::{self, Command, Control, Notice},
    send_buffer::HeldBytes,
    table::{Name, Table, WAKER},
};
use stalled::Stalled;

/// What can stand under a name.
enum Entry {
    Listener(Listener),
    Connection(Box<Connection>),
    /// A connection that waits for its next attempt or for its address.
    Connector(Dial),
    /// A socket whose connection is gone for the FSMs.
    Lingering(Lingering),
}

/// An address to listen at, and the listener that is there.
struct Listen {
    name: String,
    address: String,
    type_number: u32,
    listener: Option<Name>,
}

/// An address to connect to.
struct Connect {
    name: String,
    type_number: u32,
    target: Target,
}

/// An edge that is open.
pub(crate) struct Running {
    setup: EdgeSetup,
    config: Config,
    control_type: u32,
    command_type: u32,
    listens: Vec<Listen>,
    connects: Vec<Connect>,
    table: Table<Entry>,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    found: mpsc::Receiver<Found>,
    finder: mpsc::Sender<Found>,
    jitter: Jitter,
    buffer: Vec<u8>,
    /// What waits in the connections' send buffers.
    held: HeldBytes,
    /// All entries but listeners.
    connections: u32,
    /// Peers may wait to be accepted until there is room.
    accepts_wait: bool,
    /// Whether the node admitted new work in the last poll.
    admits: bool,
    /// Who is closed if it goes on admitting none.
    stalled: Stalled,
}

impl Running {
    pub(crate) fn new(
        setup: &EdgeSetup,
        config: Config,
        listens: &[Address],
        connects: &[Address],
    ) -> io::Result<Running> {
        let listens = listens.iter().map(|from| {
            let (name, address) = (from.name.clone(), from.address.clone());
            Ok(Listen { name, address, type_number: from.type_number(setup)?, listener: None })
        });
        let connects = connects.iter().map(|from| {
            let target = Target::new(from.address.clone());
            Ok(Connect { name: from.name.clone(), type_number: from.type_number(setup)?, target })
        });
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (finder, found) = mpsc::channel();
        Ok(Running {
            setup: setup.clone(),
            config,
            control_type: config::number::<Control>(setup)?,
            command_type: config::number::<Command>(setup)?,
            listens: listens.collect::<io::Result<_>>()?,
            connects: connects.collect::<io::Result<_>>()?,
            table: Table::new(setup.epoch()),
            poll,
            events: Events::with_capacity(EVENTS_PER_POLL),
            waker,
            found,
            finder,
            jitter: Jitter::from_system(),
            buffer: vec![0; READ_BYTES_PER_TURN],
            held: HeldBytes::default(),
            connections: 0,
            accepts_wait: false,
            admits: true,
            stalled: Stalled::default(),
        })
    }

    pub(crate) fn held_bytes(&self) -> u64 {
        self.held.count()
    }

    pub(crate) fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    fn queue(&self, name: Name) -> RawQueueId {
        self.setup.queue(name.slot, name.generation)
    }

    /// The queue of the edge as a whole.
    fn own_queue(&self) -> RawQueueId {
        self.setup.queue(0, 1)
    }

    pub(crate) fn poll(&mut self, timeout: Option<Duration>, inputs: &mut Inputs) -> io::Result<()> {
        self.on_admission(inputs.admits_new_work());
        let timeout = self.wait_max(timeout);
        if let Err(error) = self.poll.poll(&mut self.events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &self.events {
            let Some(name) = self.table.named(event.token()) else { continue };
            if let Some(Entry::Connection(connection)) = self.table.entry(name) {
                let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                let writable = event.is_writable() || event.is_write_closed() || event.is_error();
                connection.on_ready(readable, writable);
            }
            self.table.list(name);
        }
        while let Ok((index, addresses)) = self.found.try_recv() {
            self.on_found(index, addresses, inputs);
        }
        let now = Instant::now();
        while let Some(name) = self.table.pop_expired(now) {
            self.on_expired(name, inputs);
        }
        let mut budget_bytes = READ_BYTES_PER_POLL;
        for _ in 0..self.table.listed() {
            if budget_bytes == 0 {
                break;
            }
            let Some(name) = self.table.next_listed() else { break };
            self.serve(name, &mut budget_bytes, inputs);
        }
        self.make_room(now, inputs);
        Ok(())
    }

    /// Writes what the sockets take at once and closes everything.
    pub(crate) fn close(mut self) {
        for name in self.table.names() {
            if let Some(Entry::Connection(connection)) = self.table.entry(name) {
                connection.flush_once();
            }
        }
    }

    /// While no new work is admitted, nothing is accepted and nothing read; all that is made up for afterwards.
    fn on_admission(&mut self, admits: bool) {
        if admits && !self.admits {
            for name in self.table.names() {
                let is_greeting = match self.table.entry(name) {
                    Some(Entry::Connection(connection)) => connection.is_greeting_peer(),
                    Some(Entry::Listener(_)) => false,
                    _ => continue,
                };
                if is_greeting {
                    // Its hello may have been there long since.
                    self.table.set_deadline(name, Some(Instant::now() + self.config.greeting_time_max));
                }
                self.table.list(name);
            }
        }
        self.admits = admits;
    }

    fn wait_max(&self, timeout: Option<Duration>) -> Option<Duration> {
        if self.table.listed() > 0 {
            return Some(Duration::ZERO);
        }
        let next = [self.table.first_deadline(), self.looks_for_stalled_at()].into_iter().flatten().min();
        let until_next = next.map(|next| next.saturating_duration_since(Instant::now()));
        [timeout, until_next].into_iter().flatten().min()
    }

    fn serve(&mut self, name: Name, budget_bytes: &mut usize, inputs: &mut Inputs) {
        let queue = self.queue(name);
        match self.table.entry(name) {
            Some(Entry::Connection(connection)) => {
                let mut turn = Turn { queue, admits: self.admits, buffer: &mut self.buffer, budget_bytes };
                match connection.serve(&mut turn, inputs) {
                    Ok(Served::Waits) => {}
                    Ok(Served::HasMore) => self.table.list(name),
                    Ok(Served::Greeted) => self.on_greeted(name, inputs),
                    Ok(Served::Flushed) => self.on_flushed(name, inputs),
                    Err(why) => self.drop_connection(name, &why, inputs),
                }
            }
            Some(Entry::Listener(_)) => self.accept(name, inputs),
            Some(Entry::Connector(_)) => self.attempt(name, inputs),
            Some(Entry::Lingering(lingering)) => match lingering.is_done(&mut self.buffer) {
                Ok(true) => drop(self.remove(name)),
                Ok(false) => {}
                Err(_) => self.table.list(name),
            },
            None => {}
        }
    }

    fn on_expired(&mut self, name: Name, inputs: &mut Inputs) {
        match self.table.entry(name) {
            Some(Entry::Connection(connection)) => {
                let why = match connection.stage {
                    Stage::Connecting | Stage::Greeting(_) => Closed::NoHello,
                    Stage::Unattached => Closed::NotAttached,
                    Stage::Flushing { .. } => Closed::NotFlushed(connection.waiting_bytes()),
                    Stage::Attached { .. } => return,
                };
                self.drop_connection(name, &why, inputs);
            }
            Some(Entry::Listener(_) | Entry::Connector(_)) => self.table.list(name),
            Some(Entry::Lingering(_)) => drop(self.remove(name)),
            None => {}
        }
    }

    fn on_greeted(&mut self, name: Name, inputs: &mut Inputs) {
        let (own, queue) = (self.own_queue(), self.queue(name));
        let Some(Entry::Connection(connection)) = self.table.entry(name) else { return };
        let (connection_queue, peer) = (QueueId::from_raw(queue), connection.peer.clone());
        tracing::debug!(%queue, peer, "a peer has said hello");
        let (told, notice) = match &connection.origin {
            Origin::Accepted { address, acceptor } => {
                let name = self.listens[*address].name.clone();
                (*acceptor, Notice::Accepted { name, connection: connection_queue, peer })
            }
            Origin::Dialled(dial) => {
                let name = self.connects[dial.address].name.clone();
                (dial.asker, Notice::Connected { name, connection: connection_queue, peer })
            }
        };
        protocol::tell(inputs, told, own, &notice);
        self.table.set_deadline(name, Some(Instant::now() + self.config.attach_time_max));
    }

    /// All is written: the connection is gone for the FSMs, and its socket lingers.
    fn on_flushed(&mut self, name: Name, inputs: &mut Inputs) {
        let Some(Entry::Connection(connection)) = self.remove(name) else { return };
        if let Stage::Flushing { why } = &connection.stage {
            self.tell_down(name, &connection.watchers, why, inputs);
        }
        let lingering = self.insert(Entry::Lingering(Lingering(connection.socket)));
        match self.register(lingering) {
            Ok(()) => {
                self.table.set_deadline(lingering, Some(Instant::now() + CLOSING_TIME_MAX));
                self.table.list(lingering);
            }
            Err(_) => drop(self.remove(lingering)),
        }
    }

    /// Closes a connection at once. One that this side was about to make is tried again.
    fn drop_connection(&mut self, name: Name, why: &Closed, inputs: &mut Inputs) {
        let Some(Entry::Connection(connection)) = self.remove(name) else { return };
        let is_named = connection.is_named();
        match connection.origin {
            Origin::Dialled(dial) if !is_named => self.retry(dial, why.to_string(), inputs),
            Origin::Accepted { .. } if !is_named => {
                tracing::debug!(peer = connection.peer, %why, "a peer was turned away");
            }
            _ => self.tell_down(name, &connection.watchers, why, inputs),
        }
    }

    /// Writes what waits, then closes.
    fn close_connection(&mut self, name: Name, why: Closed) {
        if let Some(Entry::Connection(connection)) = self.table.entry(name)
            && !matches!(connection.stage, Stage::Flushing { .. })
        {
            connection.stage = Stage::Flushing { why };
            self.table.set_deadline(name, Some(Instant::now() + CLOSING_TIME_MAX));
            self.table.list(name);
        }
    }

    fn tell_down(&self, name: Name, watchers: &[RawQueueId], why: &Closed, inputs: &mut Inputs) {
        let queue = self.queue(name);
        tracing::debug!(%queue, %why, "closed");
        let reason = DownReason::Closed(why.to_string());
        for watcher in watchers {
            inputs.down(*watcher, queue, &reason);
        }
    }

    fn insert(&mut self, entry: Entry) -> Name {
        self.connections += u32::from(!matches!(entry, Entry::Listener(_)));
        self.table.insert(entry)
    }

    /// Has mio watch the entry's socket.
    fn register(&mut self, name: Name) -> io::Result<()> {
        let Some(source) = self.table.entry(name).and_then(Entry::source) else { return Ok(()) };
        self.poll.registry().register(source, name.token(), Interest::READABLE | Interest::WRITABLE)
    }

    fn remove(&mut self, name: Name) -> Option<Entry> {
        let mut entry = self.table.remove(name)?;
        if let Some(source) = entry.source() {
            // It fails where the socket was never registered, which is as well.
            let _ = self.poll.registry().deregister(source);
        }
        if !matches!(entry, Entry::Listener(_)) {
            self.connections -= 1;
            if std::mem::take(&mut self.accepts_wait) {
                for listener in self.listens.iter().filter_map(|listen| listen.listener) {
                    self.table.list(listener);
                }
            }
        }
        Some(entry)
    }

    fn shape(&self, type_number: u32) -> Shape {
        let Config { frame_bytes_max, outgoing_bytes_max, .. } = self.config;
        Shape { type_number, frame_bytes_max, outgoing_bytes_max, held: self.held.clone() }
    }
}

impl Entry {
    fn source(&mut self) -> Option<&mut dyn Source> {
        match self {
            Entry::Listener(listener) => Some(&mut listener.socket),
            Entry::Connection(connection) => Some(&mut connection.socket),
            Entry::Connector(_) => None,
            Entry::Lingering(lingering) => Some(&mut lingering.0),
        }
    }
}
