//! Connections that this side makes: attempts, waits between them, and the deadline over all.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::net::TcpStream;
use qnfsm::{Inputs, RawQueueId};

use super::{Entry, Running};
use crate::{
    backoff,
    connection::{Connection, Origin},
    connector::Dial,
    protocol::{self, Notice},
    table::Name,
};

/// In place of deadlines so far away that the clock can't name them.
const DEADLINE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Running {
    /// Begins to connect to the address of that name, or tells why not.
    pub(super) fn connect(&mut self, name: String, deadline: Duration, asker: RawQueueId, inputs: &mut Inputs) {
        let why = match self.connects.iter().position(|connect| connect.name == name) {
            Some(_) if self.connections >= self.config.connections_max => {
                "the edge has as many connections as it may; raise `connections_max` for more".to_owned()
            }
            Some(address) => {
                let deadline = Instant::now() + deadline.min(DEADLINE_MAX);
                let dial = Dial { address, asker, deadline, attempts: 0, why: "no attempt was made".to_owned() };
                let connector = self.insert(Entry::Connector(dial));
                self.table.list(connector);
                return;
            }
            None => format!(
                "the program gave the edge no address to connect to of the name {name:?}; add it with `Tcp::connect`"
            ),
        };
        protocol::tell(inputs, asker, self.own_queue(), &Notice::ConnectFailed { name, why, attempts: 0 });
    }

    /// A connector's turn: its first attempt, or its wait or its lookup is over.
    pub(super) fn attempt(&mut self, name: Name, inputs: &mut Inputs) {
        let Some(Entry::Connector(dial)) = self.table.entry(name) else { return };
        if Instant::now() >= dial.deadline {
            if let Some(Entry::Connector(dial)) = self.remove(name) {
                self.give_up(dial, inputs);
            }
            return;
        }
        let (address, deadline) = (dial.address, dial.deadline);
        let target = &mut self.connects[address].target;
        if let Some(peer) = target.address_for(dial.attempts.saturating_add(1)) {
            self.attempt_at(name, peer, inputs);
            return;
        }
        match target.look_up(address, name, &self.finder, &self.waker) {
            Ok(()) => self.table.set_deadline(name, Some(deadline)),
            Err(error) => self.on_failed(name, &error, inputs),
        }
    }

    fn attempt_at(&mut self, name: Name, peer: SocketAddr, inputs: &mut Inputs) {
        let socket = match TcpStream::connect(peer) {
            Ok(socket) => socket,
            Err(error) => return self.on_failed(name, &error, inputs),
        };
        let Some(Entry::Connector(mut dial)) = self.remove(name) else { return };
        dial.attempts = dial.attempts.saturating_add(1);
        // Frames are written when they are whole; waiting for more to send only adds latency.
        let _ = socket.set_nodelay(true);
        let deadline = dial.deadline.min(Instant::now() + self.config.greeting_time_max);
        let shape = self.shape(self.connects[dial.address].type_number);
        let connection = Connection::dialled(socket, peer.to_string(), Origin::Dialled(dial), shape);
        let name = self.insert(Entry::Connection(Box::new(connection)));
        match self.register(name) {
            Ok(()) => self.table.set_deadline(name, Some(deadline)),
            Err(error) => self.drop_connection(name, &error.into(), inputs),
        }
    }

    /// A lookup has ended.
    pub(super) fn on_found(&mut self, index: usize, found: io::Result<Vec<SocketAddr>>, inputs: &mut Inputs) {
        let (waiting, error) = self.connects[index].target.on_found(found);
        for name in waiting {
            match &error {
                None => self.table.list(name),
                Some(error) => self.on_failed(name, error, inputs),
            }
        }
    }

    /// An attempt failed before there was a socket.
    fn on_failed(&mut self, name: Name, error: &io::Error, inputs: &mut Inputs) {
        if let Some(Entry::Connector(mut dial)) = self.remove(name) {
            dial.attempts = dial.attempts.saturating_add(1);
            self.retry(dial, error.to_string(), inputs);
        }
    }

    /// Waits for the next attempt, at most until the deadline.
    pub(super) fn retry(&mut self, mut dial: Dial, why: String, inputs: &mut Inputs) {
        self.connects[dial.address].target.on_failed();
        dial.why = why;
        let now = Instant::now();
        if now >= dial.deadline {
            self.give_up(dial, inputs);
            return;
        }
        let wait = backoff::wait_after(dial.attempts, &mut self.jitter);
        let next = dial.deadline.min(now + wait);
        tracing::debug!(name = self.connects[dial.address].name, why = dial.why, ?wait, "connecting failed");
        let connector = self.insert(Entry::Connector(dial));
        self.table.set_deadline(connector, Some(next));
    }

    fn give_up(&mut self, dial: Dial, inputs: &mut Inputs) {
        let Dial { address, asker, attempts, why, .. } = dial;
        let name = self.connects[address].name.clone();
        protocol::tell(inputs, asker, self.own_queue(), &Notice::ConnectFailed { name, why, attempts });
    }
}
