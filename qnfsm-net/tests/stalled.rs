//! Peers that read nothing while the node has no room: they are closed, and nobody else is.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may fail, and look at the clock to do so")]

mod rig;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use qnfsm::{
    Context, Down, EdgeId, Fsm, HostError, Kinds, Limits, Next, Node, NodeBuilder, QueueId, RawQueueId, Reactor,
    ReplyTo, RunOn,
};
use qnfsm_net::{Command, Control, Notice, Outgoing, Tcp, limits::STALLED_TIME_MAX, wire};
use rig::{Got, Line, Rig, framed, fsm};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn listening() -> (Rig, std::net::SocketAddr) {
    Rig::listening(Tcp::new().frame_bytes_max(60_000).outgoing_bytes_max(32 << 20))
}

/// Sends lines until the socket takes no more and so many bytes wait beside those that did before. The socket may still
/// take a part of them when it is offered them again: a system says that there is room only when there is much.
fn fill(rig: &mut Rig, owner: RawQueueId, connection: RawQueueId, bytes: u64) {
    let (line, full) = ("x".repeat(50_000), rig.edge.held_bytes() + bytes);
    // What the operating system holds for a socket is some megabytes; no more than 64 MB can be needed.
    for _ in 0..1280 {
        rig.line(owner, connection, &line);
        rig.poll_for(Some(Duration::ZERO));
        if rig.edge.held_bytes() >= full {
            return;
        }
    }
    panic!("it took 64 MB for a peer that reads nothing");
}

/// The queues that are gone, in order.
fn gone(rig: &Rig) -> Vec<RawQueueId> {
    rig.got.iter().filter_map(|(_, got)| if let Got::Down(queue, _) = got { Some(*queue) } else { None }).collect()
}

fn poll_during(rig: &mut Rig, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        rig.poll();
    }
}

#[test]
fn who_reads_nothing_is_closed_while_there_is_no_room_the_fullest_first() {
    let (mut rig, address) = listening();
    let (_little, little_connection) = rig.attached(address, fsm(2));
    let (_much, much_connection) = rig.attached(address, fsm(3));
    let (_idle, _) = rig.attached(address, fsm(4));
    fill(&mut rig, fsm(2), little_connection, 8 << 20);
    fill(&mut rig, fsm(3), much_connection, 16 << 20);
    poll_during(&mut rig, STALLED_TIME_MAX + SECOND);
    assert_eq!(gone(&rig), [], "nobody is closed while there is room");

    qnfsm::testing::admit_new_work(&mut rig.inputs, false);
    rig.poll();
    let reason = rig.until_down(fsm(3), much_connection);
    assert!(
        reason.starts_with("closed: the peer took nothing for 2 s while the node admitted no new work, and ")
            && reason.ends_with(
                "bytes waited for it; see to it that it reads, send it less (see `Outgoing`), or raise the node's \
                 `budget_bytes`"
            ),
        "{reason}"
    );
    qnfsm::testing::admit_new_work(&mut rig.inputs, true);
    poll_during(&mut rig, SECOND);
    assert_eq!(gone(&rig), [], "there is room again");

    qnfsm::testing::admit_new_work(&mut rig.inputs, false);
    rig.until_down(fsm(2), little_connection);
    assert_eq!(rig.edge.held_bytes(), 0);
    poll_during(&mut rig, SECOND);
    assert_eq!(gone(&rig), [], "for whom nothing waits stays");
}

#[test]
fn a_poll_without_a_time_ends_for_it() {
    let (mut rig, address) = listening();
    let (_slow, connection) = rig.attached(address, fsm(2));
    fill(&mut rig, fsm(2), connection, 16 << 20);
    qnfsm::testing::admit_new_work(&mut rig.inputs, false);
    let start = Instant::now();
    while gone(&rig).is_empty() {
        rig.poll_for(Some(PATIENCE));
        assert!(start.elapsed() < PATIENCE, "it waited for something else");
    }
    assert!(start.elapsed() >= STALLED_TIME_MAX - SECOND, "{:?} is too soon", start.elapsed());
}

#[test]
fn a_peer_that_takes_a_little_at_a_time_is_not_closed() {
    let (mut rig, address) = listening();
    let (slow, connection) = rig.attached(address, fsm(2));
    fill(&mut rig, fsm(2), connection, 16 << 20);
    qnfsm::testing::admit_new_work(&mut rig.inputs, false);
    slow.socket.set_nonblocking(false).unwrap();
    let (start, mut taken) = (Instant::now(), vec![0; 120_000]);
    for part in 1..=20 {
        (&slow.socket).read_exact(&mut taken).unwrap();
        poll_during(&mut rig, (STALLED_TIME_MAX * part / 5).saturating_sub(start.elapsed()));
        assert_eq!(gone(&rig), [], "after {part} parts");
    }
    rig.until_down(fsm(2), connection);
}

#[derive(Serialize, Deserialize)]
struct Door {
    tcp: EdgeId,
    address: String,
    /// Why connections closed, and how often.
    closed: BTreeMap<String, u32>,
}

#[derive(Serialize, Deserialize)]
enum DoorMessage {
    Net(Notice),
    Closed(String),
    Address(ReplyTo<String>),
    WhatClosed(ReplyTo<BTreeMap<String, u32>>),
}

impl From<Notice> for DoorMessage {
    fn from(notice: Notice) -> DoorMessage {
        DoorMessage::Net(notice)
    }
}

impl Fsm for Door {
    const NAME: &'static str = "door";
    type State = ();
    type Message = DoorMessage;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        let control = qnfsm_net::control(cx.id().raw().node(), self.tcp);
        cx.send(control, Control::Listen { name: "talk".to_owned() });
    }

    fn handle(&mut self, (): (), message: DoorMessage, cx: &mut Context<'_, Self>) -> Next<Self> {
        match message {
            DoorMessage::Net(Notice::Listening { address, .. }) => self.address = address,
            DoorMessage::Net(Notice::Accepted { connection, .. }) => {
                cx.spawn(Talker { door: cx.id(), connection, outgoing: Outgoing::new(16) });
            }
            DoorMessage::Closed(why) => *self.closed.entry(why).or_default() += 1,
            DoorMessage::Address(reply) => cx.reply(reply, self.address.clone()),
            DoorMessage::WhatClosed(reply) => cx.reply(reply, self.closed.clone()),
            other @ DoorMessage::Net(_) => return Next::Unhandled(other),
        }
        Next::Stay
    }
}

/// Sends as much as its window lets it.
#[derive(Serialize, Deserialize)]
struct Talker {
    door: QueueId<DoorMessage>,
    connection: QueueId<Command>,
    outgoing: Outgoing,
}

#[derive(Serialize, Deserialize)]
enum TalkerMessage {
    Line(Line),
    Net(Notice),
    Down(Down),
    Talk,
}

impl From<Line> for TalkerMessage {
    fn from(line: Line) -> TalkerMessage {
        TalkerMessage::Line(line)
    }
}

impl From<Notice> for TalkerMessage {
    fn from(notice: Notice) -> TalkerMessage {
        TalkerMessage::Net(notice)
    }
}

impl From<Down> for TalkerMessage {
    fn from(down: Down) -> TalkerMessage {
        TalkerMessage::Down(down)
    }
}

impl Fsm for Talker {
    const NAME: &'static str = "talker";
    type State = ();
    type Message = TalkerMessage;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        cx.monitor(self.connection);
        cx.send(self.connection, Command::Attach);
        cx.every("talk", Duration::from_millis(2), TalkerMessage::Talk);
    }

    fn handle(&mut self, (): (), message: TalkerMessage, cx: &mut Context<'_, Self>) -> Next<Self> {
        match message {
            TalkerMessage::Talk => {
                if self.outgoing.may_send() {
                    self.outgoing.on_sent();
                    cx.send(qnfsm_net::peer(self.connection), Line("x".repeat(15_000)));
                }
            }
            TalkerMessage::Net(notice) => self.outgoing.on_notice(&notice),
            TalkerMessage::Line(_) => {}
            TalkerMessage::Down(down) => {
                cx.send(self.door, DoorMessage::Closed(down.reason.to_string()));
                return Next::Stop;
            }
        }
        Next::Stay
    }
}

fn kinds() -> Kinds {
    qnfsm_net::messages(Kinds::new())
        .with::<Door>()
        .accepts::<DoorMessage, Notice>()
        .with::<Talker>()
        .accepts::<TalkerMessage, Line>()
        .accepts::<TalkerMessage, Notice>()
        .accepts::<TalkerMessage, Down>()
        .message::<String>()
        .message::<BTreeMap<String, u32>>()
}

/// Asks until the outcome is as wanted.
#[track_caller]
fn until<A: qnfsm::Message>(
    node: &Node<DoorMessage>,
    question: fn(ReplyTo<A>) -> DoorMessage,
    wanted: impl Fn(&Result<A, HostError>) -> bool,
) -> Result<A, HostError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = node.host().request(node.root(), SECOND, question);
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "it did not come to that");
        thread::yield_now();
    }
}

#[test]
fn a_node_whose_budget_peers_use_up_that_do_not_read_works_again_and_keeps_who_reads() {
    for run_on in [RunOn::FirstWorker, RunOn::Thread] {
        let limits = Limits { budget_bytes: 1 << 20, ..Limits::default() };
        let mut node = NodeBuilder::new("talk", kinds()).limits(limits);
        let tcp = Tcp::new().listen::<Line>("talk", "127.0.0.1:0").outgoing_bytes_max(256 << 10);
        let tcp = node.reactor(run_on, tcp);
        let node = node.start(&Door { tcp, address: String::new(), closed: BTreeMap::new() }).unwrap();
        let is_open = |answer: &Result<String, _>| answer.as_ref().is_ok_and(|address| !address.is_empty());
        let address = until(&node, DoorMessage::Address, is_open).unwrap();
        let greet = || {
            let mut peer = TcpStream::connect(&address).unwrap();
            peer.write_all(&wire::hello()).unwrap();
            peer
        };
        let mut reader = greet();
        let frame = framed(&"x".repeat(15_000));
        let mut bytes = vec![0; wire::HELLO_BYTES + frame.len()];
        reader.read_exact(&mut bytes).unwrap();
        let mut copy = reader.try_clone().unwrap();
        let reading = thread::spawn(move || std::io::copy(&mut copy, &mut std::io::sink()));
        let silent: Vec<_> = (0..8).map(|_| greet()).collect();

        let full = until(&node, DoorMessage::WhatClosed, |answer| matches!(answer, Err(HostError::Full { .. })));
        assert!(full.is_err());
        let full = Instant::now();
        let closed = until(&node, DoorMessage::WhatClosed, |answer| {
            answer.as_ref().is_ok_and(|closed| closed.values().sum::<u32>() >= 2)
        });
        let closed = closed.unwrap();
        assert!(full.elapsed() < Duration::from_secs(10), "after {:?}", full.elapsed());
        assert!(closed.keys().all(|why| why.starts_with("closed: the peer took nothing")), "{closed:?}");
        assert!(!reading.is_finished(), "who reads stays connected");
        reader.shutdown(std::net::Shutdown::Both).unwrap();
        // What was on its way may meet a socket that is shut, so the end may be a reset.
        let _ = reading.join().unwrap();
        drop(silent);
        node.stop().unwrap();
    }
}
