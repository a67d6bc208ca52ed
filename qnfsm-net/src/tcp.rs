//! The edge as the program builds it and as the node drives it.

use std::{io, sync::Arc, time::Duration};

use qnfsm::{
    EdgeSetup, Inputs, Message, Reactor, Wake,
    frame::{FRAME_PAYLOAD_BYTES_MAX, Frame},
};

use crate::{
    config::{Address, Config, invalid, number},
    limits,
    protocol::{Command, Control, Notice},
    reactor::Running,
    wire::LENGTH_BYTES,
};

/// A TCP edge: the addresses that FSMs can name, and the bounds.
pub struct Tcp {
    config: Config,
    listens: Vec<Address>,
    connects: Vec<Address>,
    /// There from `open` to `close`.
    running: Option<Running>,
}

impl Default for Tcp {
    fn default() -> Tcp {
        Tcp::new()
    }
}

impl Tcp {
    /// An edge with the bounds of [`limits`] and no addresses.
    #[must_use]
    pub fn new() -> Tcp {
        let config = Config {
            frame_bytes_max: limits::FRAME_BYTES_MAX_DEFAULT,
            outgoing_bytes_max: limits::OUTGOING_BYTES_MAX_DEFAULT,
            connections_max: limits::CONNECTIONS_MAX_DEFAULT,
            greeting_time_max: limits::GREETING_TIME_MAX,
            attach_time_max: limits::ATTACH_TIME_MAX,
        };
        Tcp { config, listens: Vec::new(), connects: Vec::new(), running: None }
    }

    /// Lets FSMs listen at `address` (`host:port`; port 0 takes a free one) under `name`. Its peers send messages of
    /// type `In`. Nothing listens before an FSM sends [`Control::Listen`]; a host name is looked up then, and that
    /// blocks, so prefer numbers in an edge that runs inside a worker's loop.
    #[must_use]
    pub fn listen<In: Message>(mut self, name: impl Into<String>, address: impl Into<String>) -> Tcp {
        self.listens.push(Address::new::<In>(name.into(), address.into()));
        self
    }

    /// Lets FSMs connect to `address` (`host:port`) under `name`. The peer sends messages of type `In`. A host name is
    /// looked up on a thread of its own, anew after each attempt that failed.
    #[must_use]
    pub fn connect<In: Message>(mut self, name: impl Into<String>, address: impl Into<String>) -> Tcp {
        self.connects.push(Address::new::<In>(name.into(), address.into()));
        self
    }

    /// The longest payload of a frame, in bytes, from and to peers; 64 KiB unless said otherwise. Both sides of a
    /// connection should agree on it.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: u32) -> Tcp {
        self.config.frame_bytes_max = bytes;
        self
    }

    /// How many bytes may wait for one peer to read, beside what the operating system holds; 128 KiB unless said
    /// otherwise. One more, and the connection is closed.
    ///
    /// What waits counts towards the node's budget. So many bytes times [`Tcp::connections_max`] is what peers that
    /// don't read can make the node hold: where that is more than its `Limits::budget_bytes`, the node refuses new work
    /// until such peers are closed, after [`limits::STALLED_TIME_MAX`]; keep it below its `Limits::hard_limit_bytes`
    /// by as much as the node needs for the rest, or they can stop the node.
    #[must_use]
    pub fn outgoing_bytes_max(mut self, bytes: u32) -> Tcp {
        self.config.outgoing_bytes_max = bytes;
        self
    }

    /// How many connections there may be; 10,000 unless said otherwise. While there are so many, those who connect
    /// wait in the operating system's queue, and [`Control::Connect`] fails. [`Tcp::outgoing_bytes_max`] says what
    /// the two together mean for the node.
    #[must_use]
    pub fn connections_max(mut self, connections: u32) -> Tcp {
        self.config.connections_max = connections;
        self
    }

    /// How long a peer may take for its hello; 5 s unless said otherwise.
    #[must_use]
    pub fn greeting_time_max(mut self, time: Duration) -> Tcp {
        self.config.greeting_time_max = time;
        self
    }

    /// How long a connection waits to be attached; 10 s unless said otherwise.
    #[must_use]
    pub fn attach_time_max(mut self, time: Duration) -> Tcp {
        self.config.attach_time_max = time;
        self
    }

    fn check(&self) -> io::Result<()> {
        let Config { frame_bytes_max, outgoing_bytes_max, connections_max, .. } = self.config;
        if frame_bytes_max as usize > FRAME_PAYLOAD_BYTES_MAX {
            return Err(invalid(format!(
                "frame_bytes_max is {frame_bytes_max}, and a message has at most {FRAME_PAYLOAD_BYTES_MAX} bytes"
            )));
        }
        if (outgoing_bytes_max as usize) < frame_bytes_max as usize + LENGTH_BYTES {
            return Err(invalid(format!(
                "outgoing_bytes_max is {outgoing_bytes_max}, too little for one frame of {frame_bytes_max} bytes and \
                 its length; raise it or lower frame_bytes_max"
            )));
        }
        let listens = u32::try_from(self.listens.len()).unwrap_or(u32::MAX);
        if connections_max.checked_add(listens).is_none_or(|slots| slots > limits::SLOTS_MAX) {
            return Err(invalid(format!(
                "connections_max is {connections_max}, more than there are slots for; give fewer"
            )));
        }
        for (what, addresses) in [("listen", &self.listens), ("connect", &self.connects)] {
            for (at, address) in addresses.iter().enumerate() {
                if addresses[..at].iter().any(|before| before.name == address.name) {
                    return Err(invalid(format!("two addresses to {what} are named {:?}; rename one", address.name)));
                }
            }
        }
        Ok(())
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("a node opens an edge before it uses it, and not after closing it")
    }
}

/// # Panics
/// When it is driven before it is opened or after it is closed.
impl Reactor for Tcp {
    fn open(&mut self, setup: &EdgeSetup) -> io::Result<()> {
        self.check()?;
        number::<Notice>(setup)?;
        number::<Control>(setup)?;
        number::<Command>(setup)?;
        self.running = Some(Running::new(setup, self.config, &self.listens, &self.connects)?);
        Ok(())
    }

    fn take(&mut self, frame: &Frame<'_>, inputs: &mut Inputs) {
        self.running().take(frame, inputs);
    }

    fn poll(&mut self, timeout: Option<Duration>, inputs: &mut Inputs) -> io::Result<()> {
        self.running().poll(timeout, inputs)
    }

    fn held_bytes(&self) -> u64 {
        self.running.as_ref().map_or(0, Running::held_bytes)
    }

    fn waker(&self) -> Wake {
        let waker = Arc::clone(self.running.as_ref().expect("a node asks for the waker after `open`").waker());
        Arc::new(move || {
            if let Err(error) = waker.wake() {
                tracing::error!(%error, "the TCP edge could not be woken");
            }
        })
    }

    fn close(&mut self) {
        if let Some(running) = self.running.take() {
            running.close();
        }
    }
}
