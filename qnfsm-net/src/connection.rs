//! One socket to one peer: its hello, whom it belongs to, what waits to be written, what is half read.
//!
//! A connection is read only while it is attached, and no more at a time than its turn allows. Readiness is kept until
//! the socket says that it would block, so stopping to read loses no event. It never decides what becomes of itself:
//! it reports, and the reactor acts.

use std::{
    io::{self, ErrorKind, Read},
    net::Shutdown,
    time::{Duration, Instant},
};

use mio::net::TcpStream;
use qnfsm::{Inputs, RawQueueId};

use crate::{
    connector::Dial,
    limits::{READ_BYTES_PER_TURN, STALLED_TIME_MAX},
    protocol::{self, Notice},
    send_buffer::{HeldBytes, SendBuffer},
    wire::{FrameReader, HelloReader, WireError},
};

/// Why a connection is gone. The text goes to those who watch it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    #[error("the peer closed the connection")]
    ByPeer,
    #[error("the peer closed the connection before its hello was whole")]
    BeforeHello,
    #[error("the peer closed the connection in the middle of a frame, {0} bytes after its start")]
    InFrame(usize),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("the connection broke: {0}")]
    Broke(#[from] io::Error),
    #[error(
        "the peer reads too slowly: {waiting} bytes wait for it and a message of {length} would pass the bound; send \
         less (see `Outgoing`) or raise `outgoing_bytes_max`"
    )]
    TooSlow { waiting: usize, length: usize },
    #[error(
        "the peer took nothing for {seconds} s while the node admitted no new work, and {waiting} bytes waited for it; see to it \
         that it reads, send it less (see `Outgoing`), or raise the node's `budget_bytes`",
        seconds = STALLED_TIME_MAX.as_secs()
    )]
    Stalled { waiting: usize },
    #[error("a message of {length} bytes was to go to the peer, and {max} is the most; raise `frame_bytes_max`")]
    MessageTooLong { length: usize, max: u32 },
    #[error("no hello came in time; the peer speaks another protocol, or hangs")]
    NoHello,
    #[error("no FSM attached itself in time; the one that got `Accepted` has to see to it that one sends `Attach`")]
    NotAttached,
    #[error("it was told to")]
    Told,
    #[error("it was told to, and the peer did not take the last {0} bytes in time")]
    NotFlushed(usize),
    #[error("the FSM that it belonged to is gone")]
    OwnerGone,
    #[error("the peer sent what makes no message: {0}")]
    NotUnderstood(String),
}

/// Who began the connection.
pub(crate) enum Origin {
    /// The peer, at the listening address of that index, for that FSM.
    Accepted { address: usize, acceptor: RawQueueId },
    /// This side.
    Dialled(Dial),
}

/// How far the connection has come.
pub(crate) enum Stage {
    /// The operating system is at it.
    Connecting,
    /// The peer's hello is not whole.
    Greeting(HelloReader),
    /// No FSM owns it.
    Unattached,
    /// What comes goes to its owner.
    Attached { owner: RawQueueId },
    /// What waits is written; then it closes, for that reason.
    Flushing { why: Closed },
}

/// What came of a turn.
pub(crate) enum Served {
    /// There is nothing to do until the socket says so.
    Waits,
    /// There may be more to read.
    HasMore,
    /// The peer's hello is whole, and the connection waits to be attached.
    Greeted,
    /// All is written and this side is shut down.
    Flushed,
}

/// What a connection may use in its turn.
pub(crate) struct Turn<'a> {
    pub(crate) queue: RawQueueId,
    /// Whether peers that came of themselves are read at all.
    pub(crate) admits: bool,
    pub(crate) buffer: &'a mut [u8],
    /// What may still be read from all connections together.
    pub(crate) budget_bytes: &'a mut usize,
}

pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    pub(crate) peer: String,
    pub(crate) origin: Origin,
    pub(crate) stage: Stage,
    /// Told when it is gone; the owner is among them unless it asked not to be.
    pub(crate) watchers: Vec<RawQueueId>,
    /// The number of the message type that comes from the peer.
    type_number: u32,
    frame_bytes_max: u32,
    reader: FrameReader,
    outgoing: SendBuffer,
    readable: bool,
    writable: bool,
    /// When the socket last took some of what waits, or refused it first. `None` while nothing waits that it refused.
    waits_since: Option<Instant>,
}

/// What a connection is made of beside its socket.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) type_number: u32,
    pub(crate) frame_bytes_max: u32,
    pub(crate) outgoing_bytes_max: u32,
    /// Where the bytes that wait for the peer are counted.
    pub(crate) held: HeldBytes,
}

impl Connection {
    pub(crate) fn accepted(socket: TcpStream, peer: String, origin: Origin, shape: Shape) -> Connection {
        let stage = Stage::Greeting(HelloReader::default());
        // A socket that was accepted can be written to, as far as anybody knows.
        Connection { stage, readable: true, writable: true, ..Connection::dialled(socket, peer, origin, shape) }
    }

    pub(crate) fn dialled(socket: TcpStream, peer: String, origin: Origin, shape: Shape) -> Connection {
        Connection {
            socket,
            peer,
            origin,
            stage: Stage::Connecting,
            watchers: Vec::new(),
            type_number: shape.type_number,
            frame_bytes_max: shape.frame_bytes_max,
            reader: FrameReader::new(shape.frame_bytes_max),
            outgoing: SendBuffer::new(shape.outgoing_bytes_max, shape.held),
            readable: false,
            writable: false,
            waits_since: None,
        }
    }

    /// Keeps what the operating system said about the socket. A hint that was wrong costs a call that would block.
    pub(crate) fn on_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Whether FSMs have been told its name.
    pub(crate) fn is_named(&self) -> bool {
        !matches!(self.stage, Stage::Connecting | Stage::Greeting(_))
    }

    /// Whether it came of itself and its hello isn't whole.
    pub(crate) fn is_greeting_peer(&self) -> bool {
        matches!((&self.origin, &self.stage), (Origin::Accepted { .. }, Stage::Greeting(_)))
    }

    pub(crate) fn owner(&self) -> Option<RawQueueId> {
        if let Stage::Attached { owner } = self.stage { Some(owner) } else { None }
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.outgoing.waiting_bytes()
    }

    /// Frames a message for the peer. It is written in the connection's next turn.
    pub(crate) fn push(&mut self, payload: &[u8]) -> Result<(), Closed> {
        let length = payload.len();
        if u32::try_from(length).map_or(true, |length| length > self.frame_bytes_max) {
            return Err(Closed::MessageTooLong { length, max: self.frame_bytes_max });
        }
        if !self.outgoing.has_room_for(payload) {
            // Much may have been sent in one round; the socket may take it all.
            self.write()?;
            if !self.outgoing.has_room_for(payload) {
                return Err(Closed::TooSlow { waiting: self.outgoing.waiting_bytes(), length });
            }
        }
        self.outgoing.push(payload);
        Ok(())
    }

    /// Does what there is to do, as far as the turn allows.
    pub(crate) fn serve(&mut self, turn: &mut Turn<'_>, inputs: &mut Inputs) -> Result<Served, Closed> {
        if matches!(self.stage, Stage::Connecting) {
            if !self.is_connected()? {
                return Ok(Served::Waits);
            }
            self.stage = Stage::Greeting(HelloReader::default());
            self.readable = true;
        }
        self.write()?;
        match self.stage {
            Stage::Greeting(_) => {
                // A connection that this side asked for isn't new work.
                let may_read = turn.admits || matches!(self.origin, Origin::Dialled(_));
                if may_read && self.readable && self.greet()? {
                    self.stage = Stage::Unattached;
                    return Ok(Served::Greeted);
                }
                Ok(Served::Waits)
            }
            Stage::Attached { owner } => {
                self.tell_flow(owner, turn.queue, inputs);
                let has_more = turn.admits && self.readable && self.read(owner, turn, inputs)?;
                Ok(if has_more { Served::HasMore } else { Served::Waits })
            }
            Stage::Flushing { .. } if self.outgoing.is_empty() => {
                self.socket.shutdown(Shutdown::Write)?;
                Ok(Served::Flushed)
            }
            Stage::Connecting | Stage::Unattached | Stage::Flushing { .. } => Ok(Served::Waits),
        }
    }

    /// Writes what the socket takes at once, before the edge is closed for good.
    pub(crate) fn flush_once(&mut self) {
        if self.is_named() && self.write().is_ok() {
            // Nobody is left who could be told of a failure.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }

    fn is_connected(&mut self) -> Result<bool, Closed> {
        if !self.writable {
            return Ok(false);
        }
        if let Some(error) = self.socket.take_error()? {
            return Err(error.into());
        }
        match self.socket.peer_addr() {
            Ok(peer) => {
                self.peer = peer.to_string();
                Ok(true)
            }
            // Some systems say that it can be written to before it is connected.
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                self.writable = false;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self) -> Result<(), Closed> {
        if self.writable && !self.outgoing.is_empty() {
            let waited = self.outgoing.waiting_bytes();
            self.writable = self.outgoing.write_to(&mut self.socket)?;
            let took_some = self.outgoing.waiting_bytes() < waited;
            if self.outgoing.is_empty() {
                self.waits_since = None;
            } else if took_some || self.waits_since.is_none() {
                self.waits_since = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// Whether something has waited for the peer for so long, and the socket has taken none of it.
    pub(crate) fn has_waited(&self, time: Duration, now: Instant) -> bool {
        self.is_named() && self.waits_since.is_some_and(|since| now.saturating_duration_since(since) >= time)
    }

    /// Offers the socket what waits, whatever it last said: the operating system says that a socket takes more only
    /// when it takes much more, and a peer that reads slowly has made room for a little long before.
    pub(crate) fn offer(&mut self) -> Result<(), Closed> {
        self.writable = true;
        self.write()
    }

    /// Reads the hello and nothing behind it; says whether it is whole.
    fn greet(&mut self) -> Result<bool, Closed> {
        let Stage::Greeting(hello) = &mut self.stage else { return Ok(false) };
        let mut bytes = [0; crate::wire::HELLO_BYTES];
        while hello.missing() > 0 {
            match self.socket.read(&mut bytes[..hello.missing()]) {
                Ok(0) => return Err(Closed::BeforeHello),
                Ok(read) => {
                    hello.feed(&bytes[..read])?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Reads what its turn allows; says whether there may be more.
    fn read(&mut self, owner: RawQueueId, turn: &mut Turn<'_>, inputs: &mut Inputs) -> Result<bool, Closed> {
        let mut left = READ_BYTES_PER_TURN.min(*turn.budget_bytes).min(turn.buffer.len());
        while left > 0 {
            match self.socket.read(&mut turn.buffer[..left]) {
                Ok(0) if self.reader.begun_bytes() > 0 => return Err(Closed::InFrame(self.reader.begun_bytes())),
                Ok(0) => return Err(Closed::ByPeer),
                Ok(read) => {
                    left -= read;
                    *turn.budget_bytes -= read;
                    let (queue, type_number) = (turn.queue, self.type_number);
                    self.reader.feed(&turn.buffer[..read], |payload| {
                        inputs.untrusted(owner, queue, type_number, payload);
                    })?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn tell_flow(&mut self, owner: RawQueueId, queue: RawQueueId, inputs: &mut Inputs) {
        if let Some(taken) = self.outgoing.news() {
            protocol::tell(
                inputs,
                owner,
                queue,
                &Notice::Flow {
                    connection: qnfsm::QueueId::from_raw(queue),
                    frames_taken: taken.frames,
                    free_bytes: taken.free_bytes,
                },
            );
        }
    }
}

/// A socket that is shut down on this side. The peer may still be reading, and closing it with bytes unread would take
/// from the peer what it hasn't read; so what comes is read and thrown away until the peer closes too.
pub(crate) struct Lingering(pub(crate) TcpStream);

impl Lingering {
    /// True when the socket can be closed.
    pub(crate) fn is_done(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut left = READ_BYTES_PER_TURN;
        while left > 0 {
            match self.0.read(buffer) {
                Ok(0) => return Ok(true),
                Ok(read) => left = left.saturating_sub(read),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(_) => return Ok(true),
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }
}
