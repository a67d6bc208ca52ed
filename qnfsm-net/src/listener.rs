//! A listening socket and the FSM that accepts at it.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, ToSocketAddrs},
};

use mio::net::{TcpListener, TcpStream};
use qnfsm::RawQueueId;

pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    /// The index of its address among those that the program gave.
    pub(crate) address: usize,
    pub(crate) acceptor: RawQueueId,
    pub(crate) watchers: Vec<RawQueueId>,
}

/// What an attempt to accept gave.
pub(crate) enum Accepted {
    Peer(TcpStream, SocketAddr),
    /// A peer that was gone before it was accepted.
    Lost,
    /// Nobody waits.
    Nobody,
    /// The operating system gives no socket now; it may be out of file descriptors or memory.
    Refused(io::Error),
}

impl Listener {
    /// Listens at the first of the addresses that `address` stands for where that works. Looking up a host name may
    /// block for a while.
    pub(crate) fn bind(address: &str) -> io::Result<TcpListener> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no addresses");
        for address in address.to_socket_addrs()? {
            match TcpListener::bind(address) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(crate) fn accept(&self) -> Accepted {
        match self.socket.accept() {
            Ok((socket, peer)) => Accepted::Peer(socket, peer),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Accepted::Nobody,
                ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset => Accepted::Lost,
                _ => Accepted::Refused(error),
            },
        }
    }
}
