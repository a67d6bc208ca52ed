//! Listeners: opened and closed on request, accepting a bounded number of peers in a turn.

use std::time::Instant;

use mio::net::TcpStream;
use qnfsm::{Inputs, QueueId, RawQueueId};

use super::{Entry, Running};
use crate::{
    connection::{Closed, Connection, Origin},
    limits::{ACCEPT_PAUSE, ACCEPTS_PER_TURN},
    listener::{Accepted, Listener},
    protocol::{self, Notice},
    table::Name,
};

impl Running {
    /// Listens at the address of that name, or tells why not.
    pub(super) fn listen(&mut self, name: String, acceptor: RawQueueId, inputs: &mut Inputs) {
        let notice = match self.try_listen(&name, acceptor) {
            Ok((listener, address)) => {
                // Listening ends when the FSM is gone.
                inputs.watch(acceptor, self.queue(listener));
                Notice::Listening { name, listener: QueueId::from_raw(self.queue(listener)), address }
            }
            Err(why) => Notice::ListenFailed { name, why },
        };
        protocol::tell(inputs, acceptor, self.own_queue(), &notice);
    }

    fn try_listen(&mut self, name: &str, acceptor: RawQueueId) -> Result<(Name, String), String> {
        let at = self.listens.iter().position(|listen| listen.name == name).ok_or_else(|| {
            format!("the program gave the edge no address to listen at of the name {name:?}; add it with `Tcp::listen`")
        })?;
        let cannot = |error: std::io::Error| format!("can't listen at {}: {error}", self.listens[at].address);
        if let Some(there) = self.listens[at].listener
            && let Some(Entry::Listener(listener)) = self.table.entry(there)
        {
            if listener.acceptor != acceptor {
                return Err(format!("{} listens there already; it must stop first", listener.acceptor));
            }
            let address = listener.socket.local_addr().map_err(cannot)?;
            return Ok((there, address.to_string()));
        }
        let socket = Listener::bind(&self.listens[at].address).map_err(cannot)?;
        let address = socket.local_addr().map_err(cannot)?;
        let listener = self.insert(Entry::Listener(Listener { socket, address: at, acceptor, watchers: Vec::new() }));
        if let Err(error) = self.register(listener) {
            self.remove(listener);
            return Err(format!("can't listen at {address}: {error}"));
        }
        tracing::debug!(%address, %acceptor, "listening");
        self.listens[at].listener = Some(listener);
        self.table.list(listener);
        Ok((listener, address.to_string()))
    }

    /// Stops accepting.
    pub(super) fn unlisten(&mut self, name: Name, why: &Closed, inputs: &mut Inputs) {
        if let Some(Entry::Listener(listener)) = self.remove(name) {
            self.listens[listener.address].listener = None;
            self.tell_down(name, &listener.watchers, why, inputs);
        }
    }

    /// A listener's turn.
    pub(super) fn accept(&mut self, name: Name, inputs: &mut Inputs) {
        if !self.admits {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            if self.connections >= self.config.connections_max {
                if !std::mem::replace(&mut self.accepts_wait, true) {
                    tracing::warn!(
                        connections = self.connections,
                        "no more connections are accepted until some close; raise `connections_max` for more"
                    );
                }
                return;
            }
            let Some(Entry::Listener(listener)) = self.table.entry(name) else { return };
            match listener.accept() {
                Accepted::Peer(socket, peer) => {
                    let (address, acceptor) = (listener.address, listener.acceptor);
                    self.welcome(socket, peer.to_string(), Origin::Accepted { address, acceptor }, inputs);
                }
                Accepted::Lost => {}
                Accepted::Nobody => return,
                Accepted::Refused(error) => {
                    tracing::warn!(%error, pause = ?ACCEPT_PAUSE, "no connection can be accepted for now");
                    self.table.set_deadline(name, Some(Instant::now() + ACCEPT_PAUSE));
                    return;
                }
            }
        }
        self.table.list(name);
    }

    fn welcome(&mut self, socket: TcpStream, peer: String, origin: Origin, inputs: &mut Inputs) {
        // Frames are written when they are whole; waiting for more to send only adds latency.
        let _ = socket.set_nodelay(true);
        let Origin::Accepted { address, .. } = origin else { return };
        let shape = self.shape(self.listens[address].type_number);
        let name = self.insert(Entry::Connection(Box::new(Connection::accepted(socket, peer, origin, shape))));
        match self.register(name) {
            Ok(()) => {
                self.table.set_deadline(name, Some(Instant::now() + self.config.greeting_time_max));
                self.table.list(name);
            }
            Err(error) => self.drop_connection(name, &error.into(), inputs),
        }
    }
}
