//! Drives one edge by hand, the way a node would, against peers that are plain sockets of std.
//!
//! Nothing sleeps: the edge waits for its sockets in `poll`, and the tests poll until what they wait for has come, with
//! a bound after which they say what came instead.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may fail, and look at the clock to do so")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use qnfsm::{
    Codec, DownReason, EdgeId, Epoch, Inputs, Kinds, Message, NodeId, Place, QueueId, RawQueueId, Reactor, Trust,
    WorkerId,
    frame::{Batch, Class, Header},
};
use qnfsm_net::{Command, Control, Notice, Tcp, wire};
use serde::{Deserialize, Serialize};

pub const EDGE: EdgeId = EdgeId::FIRST_OF_USER;
const PATIENCE: Duration = Duration::from_secs(20);

/// What goes to peers and comes from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line(pub String);

/// What the FSMs take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FsmMessage {
    Line(Line),
    Net(Notice),
}

impl From<Line> for FsmMessage {
    fn from(line: Line) -> FsmMessage {
        FsmMessage::Line(line)
    }
}

impl From<Notice> for FsmMessage {
    fn from(notice: Notice) -> FsmMessage {
        FsmMessage::Net(notice)
    }
}

pub fn kinds() -> Kinds {
    qnfsm_net::messages(Kinds::new()).accepts::<FsmMessage, Line>().accepts::<FsmMessage, Notice>()
}

/// An FSM's queue, by number.
pub fn fsm(slot: u32) -> RawQueueId {
    RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), slot, 1)
}

/// What the edge put in, and for which FSM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    Notice(Notice),
    Down(RawQueueId, DownReason),
    /// From the peer of that connection.
    Line(RawQueueId, String),
}

pub struct Rig {
    pub edge: Tcp,
    pub inputs: Inputs,
    /// What came and hasn't been asked for, with the FSM's slot.
    pub got: Vec<(u32, Got)>,
    /// FSMs that queues of the edge asked to be told of when they are gone.
    pub watched: Vec<(u32, RawQueueId)>,
}

impl Rig {
    pub fn new(edge: Tcp) -> Rig {
        Rig::in_epoch(edge, Epoch::FIRST)
    }

    pub fn in_epoch(mut edge: Tcp, epoch: Epoch) -> Rig {
        let inputs = qnfsm::testing::edge_inputs(NodeId(0), EDGE, epoch, &kinds().seal().unwrap());
        edge.open(inputs.setup()).expect("the edge opens");
        Rig { edge, inputs, got: Vec::new(), watched: Vec::new() }
    }

    /// An edge that listens for FSM 1, and where.
    pub fn listening(edge: Tcp) -> (Rig, SocketAddr) {
        let mut rig = Rig::new(edge.listen::<Line>("game", "127.0.0.1:0"));
        rig.send(fsm(1), control(), &Control::Listen { name: "game".into() });
        let address = rig.until(|to, got| match got {
            Got::Notice(Notice::Listening { address, .. }) if to == 1 => Some(address.parse().unwrap()),
            _ => None,
        });
        (rig, address)
    }

    /// A peer that has said hello, and its connection, which isn't attached.
    pub fn greeted(&mut self, address: SocketAddr) -> (Peer, RawQueueId) {
        let peer = Peer::greeting(address);
        (peer, self.until_accepted())
    }

    /// A peer and its connection, which belongs to that FSM.
    pub fn attached(&mut self, address: SocketAddr, owner: RawQueueId) -> (Peer, RawQueueId) {
        let (peer, connection) = self.greeted(address);
        self.command(owner, connection, Command::Attach);
        (peer, connection)
    }

    pub fn send<M: Message>(&mut self, from: RawQueueId, to: RawQueueId, message: &M) {
        let number = self.inputs.setup().type_number::<M>().expect("it is registered");
        let mut payload = Vec::new();
        Codec::CURRENT.encode(message, &mut payload).unwrap();
        self.take(&Header::message(number, to, from), &payload);
    }

    pub fn line(&mut self, from: RawQueueId, to: RawQueueId, line: &str) {
        self.send(from, to, &Line(line.to_owned()));
    }

    pub fn command(&mut self, from: RawQueueId, to: RawQueueId, command: Command) {
        self.send(from, to, &command);
    }

    pub fn ask(&mut self, class: Class, from: RawQueueId, to: RawQueueId) {
        self.take(&Header::to(class, 0, to, from), b"");
    }

    pub fn take(&mut self, header: &Header, payload: &[u8]) {
        let mut batch = Batch::new(header.sender.place(), Epoch::FIRST, 1);
        batch.push(header, payload);
        let frame = batch.as_ref().frames().next().unwrap().unwrap();
        self.edge.take(&frame, &mut self.inputs);
        self.gather();
    }

    /// Polls once, waiting no longer than a moment.
    pub fn poll(&mut self) {
        self.poll_for(Some(Duration::from_millis(20)));
    }

    pub fn poll_for(&mut self, timeout: Option<Duration>) {
        self.edge.poll(timeout, &mut self.inputs).expect("the edge can be polled");
        self.gather();
    }

    fn gather(&mut self) {
        let setup = self.inputs.setup().clone();
        for (_, batch) in qnfsm::testing::taken_inputs(&mut self.inputs) {
            for frame in batch.as_ref().frames() {
                let frame = frame.unwrap();
                let Header { class, sender, type_number, .. } = frame.header;
                let got = match class {
                    Class::Watch => {
                        self.watched.push((frame.header.slot, sender));
                        continue;
                    }
                    Class::Down => Got::Down(sender, Codec::CURRENT.decode(frame.payload, Trust::Node).unwrap()),
                    Class::Message if Some(type_number) == setup.type_number::<Notice>() => {
                        assert!(!frame.header.untrusted);
                        Got::Notice(Codec::CURRENT.decode(frame.payload, Trust::Node).unwrap())
                    }
                    Class::Message => {
                        assert!(frame.header.untrusted, "what comes from a peer is marked");
                        assert_eq!(Some(type_number), setup.type_number::<Line>());
                        let Line(line) = Codec::CURRENT.decode(frame.payload, Trust::Peer).unwrap();
                        Got::Line(sender, line)
                    }
                    other => panic!("the edge put in {other:?}"),
                };
                self.got.push((frame.header.slot, got));
            }
        }
    }

    /// Polls until `wanted` finds something, and takes that out of what came.
    #[track_caller]
    pub fn until<T>(&mut self, mut wanted: impl FnMut(u32, &Got) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            for (at, (to, got)) in self.got.iter().enumerate() {
                if let Some(found) = wanted(*to, got) {
                    self.got.remove(at);
                    return found;
                }
            }
            assert!(Instant::now() < end, "it did not come; what came: {:#?}", self.got);
            self.poll();
        }
    }

    #[track_caller]
    pub fn until_accepted(&mut self) -> RawQueueId {
        self.until(|_, got| match got {
            Got::Notice(Notice::Accepted { connection, name, .. }) => {
                assert_eq!(name, "game");
                Some(connection.raw())
            }
            _ => None,
        })
    }

    /// Waits for news that the queue is gone, for that FSM, and gives the reason's text.
    #[track_caller]
    pub fn until_down(&mut self, watcher: RawQueueId, queue: RawQueueId) -> String {
        self.until(|to, got| match got {
            Got::Down(gone, reason) if to == watcher.slot() && *gone == queue => Some(reason.to_string()),
            _ => None,
        })
    }

    #[track_caller]
    pub fn until_line(&mut self, owner: RawQueueId) -> String {
        self.until(|to, got| match got {
            Got::Line(_, line) if to == owner.slot() => Some(line.clone()),
            _ => None,
        })
    }

    /// Polls until the peer has what `wanted` looks for.
    #[track_caller]
    pub fn until_peer<T>(&mut self, peer: &mut Peer, mut wanted: impl FnMut(&mut Peer) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            peer.read();
            if let Some(found) = wanted(peer) {
                return found;
            }
            assert!(Instant::now() < end, "the peer has only {} bytes, end: {:?}", peer.bytes.len(), peer.end);
            self.poll_for(Some(Duration::from_millis(1)));
        }
    }

    /// Polls until the edge has ended the connection, and says how.
    #[track_caller]
    pub fn until_ended(&mut self, peer: &mut Peer) -> Option<ErrorKind> {
        self.until_peer(peer, |peer| peer.end).err()
    }
}

pub fn control() -> RawQueueId {
    qnfsm_net::control(NodeId(0), EDGE).raw()
}

pub fn connection_queue(raw: RawQueueId) -> QueueId<Command> {
    QueueId::from_raw(raw)
}

/// The other side: a socket that doesn't block, and what came through it.
pub struct Peer {
    pub socket: TcpStream,
    /// What came and hasn't been taken.
    pub bytes: Vec<u8>,
    /// How it ended, if it has: `Ok` for an orderly end.
    pub end: Option<Result<(), ErrorKind>>,
}

impl Peer {
    pub fn silent(address: SocketAddr) -> Peer {
        Peer::of(TcpStream::connect(address).unwrap())
    }

    pub fn of(socket: TcpStream) -> Peer {
        socket.set_nonblocking(true).unwrap();
        Peer { socket, bytes: Vec::new(), end: None }
    }

    pub fn greeting(address: SocketAddr) -> Peer {
        let mut peer = Peer::silent(address);
        peer.write(&wire::hello());
        peer
    }

    /// Writes little enough for the operating system to take at once.
    pub fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    pub fn line(&mut self, line: &str) {
        self.write(&framed(line));
    }

    /// Reads what is there.
    pub fn read(&mut self) {
        let mut buffer = [0; 64 << 10];
        while self.end.is_none() {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.end = Some(Ok(())),
                Ok(read) => self.bytes.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => self.end = Some(Err(error.kind())),
            }
        }
    }

    /// Takes the edge's hello from what came.
    pub fn take_hello(&mut self) -> Option<()> {
        let hello = self.bytes.get(..wire::HELLO_BYTES)?;
        assert_eq!(hello, wire::hello());
        self.bytes.drain(..wire::HELLO_BYTES);
        Some(())
    }

    /// Takes a line from what came.
    pub fn take_line(&mut self) -> Option<String> {
        let length = u32::from_le_bytes(*self.bytes.first_chunk()?) as usize;
        let Line(line) = Codec::CURRENT.decode(self.bytes.get(4..4 + length)?, Trust::Peer).unwrap();
        self.bytes.drain(..4 + length);
        Some(line)
    }
}

/// A line as it goes over the wire.
pub fn framed(line: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    Codec::CURRENT.encode(&Line(line.to_owned()), &mut payload).unwrap();
    [&u32::try_from(payload.len()).unwrap().to_le_bytes(), &payload[..]].concat()
}
