//! Connections that this side is to make: what was asked, and the addresses that a name stands for.
//!
//! Looking up a host name can block for seconds, and the edge may run inside a worker's loop; so it is done on a thread
//! of its own, one for each address of the program at most. Numeric addresses need none.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use mio::Waker;
use qnfsm::RawQueueId;

use crate::table::Name;

/// What was asked, and how far it has come.
#[derive(Debug)]
pub(crate) struct Dial {
    /// The index of the address among those that the program gave.
    pub(crate) address: usize,
    pub(crate) asker: RawQueueId,
    pub(crate) deadline: Instant,
    pub(crate) attempts: u32,
    /// What became of the last attempt.
    pub(crate) why: String,
}

/// The addresses behind one name, looked up anew after an attempt has failed.
#[derive(Debug)]
pub(crate) struct Target {
    address: String,
    is_numeric: bool,
    known: Vec<SocketAddr>,
    /// Those who wait for the lookup that is under way; `None` if none is.
    waiting: Option<Vec<Name>>,
}

/// What a lookup gave, for the target of that index.
pub(crate) type Found = (usize, io::Result<Vec<SocketAddr>>);

impl Target {
    pub(crate) fn new(address: String) -> Target {
        let known: Vec<SocketAddr> = address.parse().into_iter().collect();
        Target { address, is_numeric: !known.is_empty(), known, waiting: None }
    }

    /// The address for the attempt of that number, counted from 1, if any are known.
    pub(crate) fn address_for(&self, attempt: u32) -> Option<SocketAddr> {
        let at = (attempt as usize).wrapping_sub(1).checked_rem(self.known.len())?;
        Some(self.known[at])
    }

    /// Puts `name` among those that wait for a lookup, and begins one if none is under way.
    pub(crate) fn look_up(
        &mut self,
        index: usize,
        name: Name,
        found: &mpsc::Sender<Found>,
        waker: &Arc<Waker>,
    ) -> io::Result<()> {
        if let Some(waiting) = &mut self.waiting {
            waiting.push(name);
            return Ok(());
        }
        let (address, found, waker) = (self.address.clone(), found.clone(), Arc::clone(waker));
        thread::Builder::new().name("qnfsm-net lookup".to_owned()).spawn(move || {
            let addresses = address.to_socket_addrs().map(Iterator::collect);
            // An edge that was closed meanwhile needs neither the answer nor to be woken.
            if found.send((index, addresses)).is_ok() {
                let _ = waker.wake();
            }
        })?;
        self.waiting = Some(vec![name]);
        Ok(())
    }

    /// Takes what a lookup gave. Returns those who waited for it, and why they can't go on if there are no addresses.
    pub(crate) fn on_found(&mut self, found: io::Result<Vec<SocketAddr>>) -> (Vec<Name>, Option<io::Error>) {
        let waiting = self.waiting.take().unwrap_or_default();
        match found {
            Ok(addresses) if addresses.is_empty() => {
                (waiting, Some(io::Error::new(ErrorKind::NotFound, "the name has no addresses")))
            }
            Ok(addresses) => {
                self.known = addresses;
                (waiting, None)
            }
            Err(error) => (waiting, Some(error)),
        }
    }

    /// An attempt has failed: the name may stand for other addresses by now.
    pub(crate) fn on_failed(&mut self) {
        if !self.is_numeric {
            self.known.clear();
        }
    }
}
