//! Listening and connecting: by name, for one FSM, with deadlines and bounds.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may fail, and look at the clock to do so")]

mod rig;

use std::{
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use qnfsm::{DownReason, Epoch, Kinds, RawQueueId, Reactor, frame::Class};
use qnfsm_net::{Command, Control, Notice, Tcp, messages, wire};
use rig::{EDGE, FsmMessage, Got, Line, Peer, Rig, control, fsm};

const LONG: Duration = Duration::from_secs(60);

fn listen(name: &str) -> Control {
    Control::Listen { name: name.into() }
}

fn connect(name: &str, deadline: Duration) -> Control {
    Control::Connect { name: name.into(), deadline }
}

fn until_connected(rig: &mut Rig) -> RawQueueId {
    rig.until(|_, got| match got {
        Got::Notice(Notice::Connected { connection, name, .. }) => {
            assert_eq!(name, "game");
            Some(connection.raw())
        }
        _ => None,
    })
}

fn until_connect_failed(rig: &mut Rig) -> (String, u32) {
    rig.until(|_, got| match got {
        Got::Notice(Notice::ConnectFailed { why, attempts, .. }) => Some((why.clone(), *attempts)),
        _ => None,
    })
}

#[test]
fn one_fsm_at_a_time_listens_at_a_name() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let listener = {
        // The same FSM is told again where it listens.
        rig.send(fsm(1), control(), &listen("game"));
        rig.until(|_, got| match got {
            Got::Notice(Notice::Listening { listener, address: again, .. }) => {
                assert_eq!(*again, address.to_string());
                Some(listener.raw())
            }
            _ => None,
        })
    };
    let refused = |rig: &mut Rig, name: &str| {
        rig.send(fsm(2), control(), &listen(name));
        rig.until(|to, got| match got {
            Got::Notice(Notice::ListenFailed { why, .. }) if to == 2 => Some(why.clone()),
            _ => None,
        })
    };
    assert_eq!(refused(&mut rig, "game"), "w0/1.1 listens there already; it must stop first");
    assert!(refused(&mut rig, "other").contains("add it with `Tcp::listen`"));
    // Another FSM can't stop it either.
    rig.send(fsm(2), control(), &Control::Unlisten { name: "game".into() });
    rig.command(fsm(2), listener, Command::Close);
    rig.ask(Class::Watch, fsm(3), listener);
    rig.greeted(address);
    rig.send(fsm(1), control(), &Control::Unlisten { name: "game".into() });
    assert_eq!(rig.until_down(fsm(3), listener), "closed: it was told to");
    TcpStream::connect(address).expect_err("nobody listens any more");
    rig.send(fsm(2), control(), &listen("game"));
    rig.until(|to, got| matches!(got, Got::Notice(Notice::Listening { .. })).then_some(to).filter(|to| *to == 2));
    rig.ask(Class::Watch, fsm(3), listener);
    assert_eq!(rig.got, [(3, Got::Down(listener, DownReason::Unknown))]);
}

#[test]
fn an_address_that_is_taken_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut rig = Rig::new(Tcp::new().listen::<Line>("game", &*address));
    rig.send(fsm(1), control(), &listen("game"));
    let [(1, Got::Notice(Notice::ListenFailed { why, .. }))] = &rig.got[..] else { panic!("{:?}", rig.got) };
    assert!(why.starts_with(&format!("can't listen at {address}: ")), "{why}");
}

#[test]
fn two_fsms_talk_through_the_edge() {
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let edge = Tcp::new().listen::<Line>("game", &*reserved).connect::<Line>("game", &*reserved);
    let mut rig = Rig::new(edge);
    rig.send(fsm(1), control(), &listen("game"));
    rig.send(fsm(2), control(), &connect("game", LONG));
    let (server, client) = (rig.until_accepted(), until_connected(&mut rig));
    rig.command(fsm(1), server, Command::Attach);
    rig.command(fsm(2), client, Command::Attach);
    rig.line(fsm(2), client, "ping");
    assert_eq!(rig.until_line(fsm(1)), "ping");
    rig.line(fsm(1), server, "pong");
    assert_eq!(rig.until_line(fsm(2)), "pong");
    rig.command(fsm(2), client, Command::Close);
    assert_eq!(rig.until_down(fsm(2), client), "closed: it was told to");
    assert_eq!(rig.until_down(fsm(1), server), "closed: the peer closed the connection");
}

#[test]
fn connecting_is_tried_until_somebody_listens() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut rig = Rig::new(Tcp::new().connect::<Line>("game", address.to_string()));
    rig.send(fsm(2), control(), &connect("game", LONG));
    // Nobody listens yet, which the first polls learn.
    for _ in 0..5 {
        rig.poll();
    }
    assert_eq!(rig.got, []);
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut peer = loop {
        rig.poll();
        if let Ok((socket, _)) = listener.accept() {
            break Peer::of(socket);
        }
    };
    peer.write(&wire::hello());
    let connection = until_connected(&mut rig);
    rig.command(fsm(2), connection, Command::Attach);
    peer.line("welcome");
    assert_eq!(rig.until_line(fsm(2)), "welcome");
}

#[test]
fn a_peer_that_says_no_proper_hello_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peers = thread::spawn(move || {
        // One closes at once, one speaks another version, the third is right.
        drop(listener.accept().unwrap());
        let mut second = Peer::of(listener.accept().unwrap().0);
        second.write(b"QNFS\x09\x00\x00\x00");
        let mut third = Peer::of(listener.accept().unwrap().0);
        third.write(&wire::hello());
        (second, third)
    });
    let mut rig = Rig::new(Tcp::new().connect::<Line>("game", address));
    rig.send(fsm(2), control(), &connect("game", LONG));
    until_connected(&mut rig);
    assert_eq!(rig.got, []);
    peers.join().unwrap();
}

#[test]
fn a_deadline_ends_the_attempts_and_says_what_became_of_the_last() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut rig = Rig::new(Tcp::new().connect::<Line>("game", address));
    let start = Instant::now();
    rig.send(fsm(2), control(), &connect("game", Duration::from_millis(120)));
    let (why, attempts) = until_connect_failed(&mut rig);
    let took = start.elapsed();
    assert!((Duration::from_millis(120)..Duration::from_secs(3)).contains(&took), "it gave up after {took:?}");
    assert!(attempts >= 1 && why.contains("refused"), "{attempts} attempts, the last: {why}");
}

#[test]
fn a_peer_that_accepts_and_is_silent_uses_up_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut rig = Rig::new(Tcp::new().connect::<Line>("game", listener.local_addr().unwrap().to_string()));
    rig.send(fsm(2), control(), &connect("game", Duration::from_millis(50)));
    assert_eq!(
        until_connect_failed(&mut rig),
        ("no hello came in time; the peer speaks another protocol, or hangs".into(), 1)
    );
}

#[test]
fn host_names_are_looked_up_without_blocking_the_loop() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = thread::spawn(move || {
        let mut peer = Peer::of(listener.accept().unwrap().0);
        peer.write(&wire::hello());
        peer
    });
    let mut rig = Rig::new(Tcp::new().connect::<Line>("game", format!("localhost:{port}")));
    rig.send(fsm(2), control(), &connect("game", LONG));
    until_connected(&mut rig);
    peer.join().unwrap();
}

#[test]
fn a_host_name_without_addresses_fails_at_the_deadline() {
    let mut rig = Rig::new(Tcp::new().connect::<Line>("game", "no port in this"));
    rig.send(fsm(2), control(), &connect("game", Duration::from_millis(100)));
    let (why, attempts) = until_connect_failed(&mut rig);
    assert!(attempts >= 1 && !why.is_empty(), "{attempts} attempts: {why}");
}

#[test]
fn a_name_that_the_program_did_not_give_is_refused_at_once() {
    let mut rig = Rig::new(Tcp::new());
    rig.send(fsm(2), control(), &connect("game", LONG));
    let (why, attempts) = until_connect_failed(&mut rig);
    assert!(why.contains("add it with `Tcp::connect`") && attempts == 0, "{why}");
}

#[test]
fn past_the_most_connections_peers_wait_until_one_is_gone() {
    let edge = Tcp::new().connections_max(2).connect::<Line>("game", "127.0.0.1:1");
    let (mut rig, address) = Rig::listening(edge);
    let (first, _) = rig.attached(address, fsm(2));
    let (_second, _) = rig.attached(address, fsm(3));
    let _third = Peer::greeting(address);
    rig.poll();
    rig.poll();
    assert_eq!(rig.got, []);
    rig.send(fsm(4), control(), &connect("game", LONG));
    assert!(until_connect_failed(&mut rig).0.contains("connections_max"));
    drop(first);
    rig.until_accepted();
}

#[test]
fn a_poll_without_end_ends_when_it_is_woken() {
    let mut rig = Rig::new(Tcp::new());
    let wake = rig.edge.waker();
    let waking = thread::spawn(move || wake());
    rig.poll_for(None);
    waking.join().unwrap();
}

#[test]
fn an_edge_that_can_not_work_does_not_open() {
    let no_types = Kinds::new();
    let no_peers_type = messages(Kinds::new()).accepts::<FsmMessage, Notice>();
    let listens = || Tcp::new().listen::<Line>("game", "127.0.0.1:0");
    for (kinds, mut edge, text) in [
        (no_types, Tcp::new(), "qnfsm_net::protocol::Notice is not registered"),
        (no_peers_type, listens(), "rig::Line is not registered"),
        (rig::kinds(), listens().listen::<Line>("game", "127.0.0.1:0"), "two addresses to listen are named \"game\""),
        (rig::kinds(), listens().frame_bytes_max(1 << 20), "outgoing_bytes_max is 131072, too little"),
        (rig::kinds(), listens().frame_bytes_max(u32::MAX), "frame_bytes_max is 4294967295"),
        (rig::kinds(), listens().connections_max(u32::MAX), "connections_max is 4294967295"),
    ] {
        let inputs = qnfsm::testing::edge_inputs(qnfsm::NodeId(0), EDGE, Epoch::FIRST, &kinds.seal().unwrap());
        let error = edge.open(inputs.setup()).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}
