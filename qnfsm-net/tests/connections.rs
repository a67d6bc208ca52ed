//! Peers that connect to the edge: whom they reach, what they may send, and how they are let go.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may fail, and look at the clock to do so")]

mod rig;

use std::{
    net::Shutdown,
    time::{Duration, Instant},
};

use qnfsm::{
    Codec, DownReason, Epoch, Reactor,
    frame::{Class, Header},
};
use qnfsm_net::{Command, Control, Notice, Outgoing, Tcp, wire};
use rig::{Got, Peer, Rig, connection_queue, control, framed, fsm};

#[test]
fn what_a_peer_sends_reaches_its_fsm_and_the_answer_comes_back() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (mut peer, connection) = rig.attached(address, fsm(2));
    peer.line("ping");
    assert_eq!(rig.until_line(fsm(2)), "ping");
    rig.line(fsm(2), connection, "pong");
    rig.until_peer(&mut peer, Peer::take_hello);
    assert_eq!(rig.until_peer(&mut peer, Peer::take_line), "pong");
    drop(peer);
    assert_eq!(rig.until_down(fsm(2), connection), "closed: the peer closed the connection");
}

#[test]
fn nothing_is_read_before_an_fsm_is_attached_and_nothing_is_lost_by_that() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let mut peer = Peer::silent(address);
    peer.write(&[&wire::hello()[..], &framed("one"), &framed("two")].concat());
    let connection = rig.until_accepted();
    rig.poll();
    assert_eq!(rig.got, []);
    rig.command(fsm(2), connection, Command::Attach);
    assert_eq!((rig.until_line(fsm(2)), rig.until_line(fsm(2))), ("one".into(), "two".into()));
}

#[test]
fn garbage_instead_of_a_hello_is_turned_away_and_no_fsm_hears_of_it() {
    for hello in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"QNFS\x02\x00\x00\x00", b"QNFS\x01\x00\x01\x00"] {
        let (mut rig, address) = Rig::listening(Tcp::new());
        let mut peer = Peer::silent(address);
        peer.write(hello);
        rig.until_ended(&mut peer);
        assert_eq!(rig.got, []);
        // The listener goes on.
        rig.attached(address, fsm(2));
    }
}

#[test]
fn a_peer_that_says_no_hello_is_turned_away_in_time() {
    let (mut rig, address) = Rig::listening(Tcp::new().greeting_time_max(Duration::from_millis(30)));
    let mut peer = Peer::silent(address);
    peer.write(b"QNF");
    rig.until_ended(&mut peer);
    assert_eq!(rig.got, []);
}

#[test]
fn a_frame_that_is_too_long_closes_the_connection_after_what_came_before_it() {
    let (mut rig, address) = Rig::listening(Tcp::new().frame_bytes_max(100));
    let (mut peer, connection) = rig.attached(address, fsm(2));
    peer.write(&[framed("fits"), framed(&"x".repeat(100))].concat());
    assert_eq!(rig.until_line(fsm(2)), "fits");
    let reason = rig.until_down(fsm(2), connection);
    assert_eq!(
        reason,
        "closed: the peer announced a frame of 101 bytes, and 100 is the most there may be; it should \
         send less, or raise `frame_bytes_max`"
    );
    rig.until_ended(&mut peer);
}

#[test]
fn a_peer_that_goes_in_the_middle_of_a_frame_is_told_apart() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (mut peer, connection) = rig.attached(address, fsm(2));
    peer.write(&framed("cut short")[..7]);
    peer.socket.shutdown(Shutdown::Write).unwrap();
    let reason = rig.until_down(fsm(2), connection);
    assert_eq!(reason, "closed: the peer closed the connection in the middle of a frame, 7 bytes after its start");
}

#[test]
fn a_second_fsm_gets_neither_the_connection_nor_a_hearing() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (mut peer, connection) = rig.attached(address, fsm(2));
    rig.command(fsm(3), connection, Command::Attach);
    rig.line(fsm(3), connection, "forged");
    rig.command(fsm(3), connection, Command::Close);
    let connection_id = connection_queue(connection);
    assert_eq!(rig.got, [(3, Got::Notice(Notice::AttachRefused { connection: connection_id }))]);
    peer.line("for the owner");
    let to = rig.until(|to, got| matches!(got, Got::Line(..)).then_some(to));
    assert_eq!(to, 2);
    rig.line(fsm(2), connection, "genuine");
    rig.until_peer(&mut peer, Peer::take_hello);
    assert_eq!(rig.until_peer(&mut peer, Peer::take_line), "genuine");
}

#[test]
fn a_connection_that_nobody_attaches_is_closed_in_time() {
    let (mut rig, address) = Rig::listening(
        Tcp::new().attach_time_max(Duration::from_millis(30)).greeting_time_max(Duration::from_secs(60)),
    );
    let (mut peer, connection) = rig.greeted(address);
    rig.ask(Class::Watch, fsm(1), connection);
    assert_eq!(
        rig.until_down(fsm(1), connection),
        "closed: no FSM attached itself in time; the one that got `Accepted` has to see to it that one sends `Attach`"
    );
    rig.until_ended(&mut peer);
    // Who comes too late is told so.
    rig.command(fsm(2), connection, Command::Attach);
    assert_eq!(rig.got, [(2, Got::Down(connection, DownReason::Unknown))]);
}

#[test]
fn a_peer_that_reads_too_slowly_is_closed_and_its_neighbour_is_not() {
    let (mut rig, address) = Rig::listening(Tcp::new().frame_bytes_max(60_000).outgoing_bytes_max(100_000));
    let (slow, slow_connection) = rig.attached(address, fsm(2));
    let (mut other, other_connection) = rig.attached(address, fsm(3));
    let line = "x".repeat(50_000);
    let is_closed = |rig: &Rig| rig.got.iter().any(|(_, got)| matches!(got, Got::Down(..)));
    // What the operating system holds for a socket is some megabytes; no more than 64 MB can be needed.
    let sent = (0..1280).take_while(|_| {
        rig.line(fsm(2), slow_connection, &line);
        !is_closed(&rig)
    });
    assert!(sent.count() < 1280, "it took 64 MB for a peer that reads nothing");
    let reason = rig.until_down(fsm(2), slow_connection);
    assert!(reason.starts_with("closed: the peer reads too slowly: "), "{reason}");
    drop(slow);
    rig.line(fsm(3), other_connection, "still here");
    rig.until_peer(&mut other, Peer::take_hello);
    assert_eq!(rig.until_peer(&mut other, Peer::take_line), "still here");
}

#[test]
fn what_waits_for_peers_is_told_and_ends_with_their_connections() {
    let (mut rig, address) = Rig::listening(Tcp::new().frame_bytes_max(60_000).outgoing_bytes_max(1 << 20));
    let (slow, connection) = rig.attached(address, fsm(2));
    let line = "x".repeat(50_000);
    // The socket takes some megabytes before anything waits.
    for _ in 0..1280 {
        rig.line(fsm(2), connection, &line);
        rig.poll();
        if rig.edge.held_bytes() >= 500_000 {
            break;
        }
    }
    assert!((500_000..1 << 20).contains(&rig.edge.held_bytes()), "{} bytes wait", rig.edge.held_bytes());
    drop(slow);
    rig.until_down(fsm(2), connection);
    assert_eq!(rig.edge.held_bytes(), 0);
}

#[test]
fn much_data_is_written_in_parts_and_arrives_whole_while_flow_opens_the_window() {
    const FRAMES: u64 = 300;
    let line = |number: u64| format!("{number:03}").repeat(15_000);
    let (mut rig, address) = Rig::listening(Tcp::new().outgoing_bytes_max(1 << 20));
    let (mut peer, connection) = rig.attached(address, fsm(2));
    rig.until_peer(&mut peer, Peer::take_hello);
    let mut outgoing = Outgoing::new(16);
    let (mut sent, mut flows) = (0, 0);
    for number in 0..FRAMES {
        // The peer reads one frame at a time, so the socket is full most of the time.
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            while sent < FRAMES && outgoing.may_send() {
                rig.line(fsm(2), connection, &line(sent));
                outgoing.on_sent();
                sent += 1;
            }
            if let Some(got) = peer.take_line() {
                assert!(got == line(number), "line {number} is another");
                break;
            }
            assert!(Instant::now() < end, "line {number} did not come");
            peer.read();
            rig.poll_for(Some(Duration::from_millis(1)));
            for (_, got) in rig.got.drain(..) {
                let Got::Notice(notice @ Notice::Flow { .. }) = got else { panic!("{got:?}") };
                outgoing.on_notice(&notice);
                flows += 1;
            }
        }
    }
    assert!(outgoing.under_way() < 16, "{} frames are not said to be taken", outgoing.under_way());
    assert!((1..=FRAMES / 4).contains(&flows), "{flows} notices for {FRAMES} frames");
}

#[test]
fn a_message_longer_than_a_frame_may_be_closes_the_connection() {
    let (mut rig, address) = Rig::listening(Tcp::new().frame_bytes_max(100));
    let (_peer, connection) = rig.attached(address, fsm(2));
    rig.line(fsm(2), connection, &"x".repeat(100));
    let reason = rig.until_down(fsm(2), connection);
    assert!(
        reason.starts_with("closed: a message of 101 bytes was to go to the peer, and 100 is the most"),
        "{reason}"
    );
}

#[test]
fn closing_sends_first_what_waits_even_to_a_peer_that_sends_on() {
    for close in [
        |rig: &mut Rig, connection| rig.command(fsm(2), connection, Command::Close),
        |rig: &mut Rig, connection| rig.ask(Class::Stop, fsm(2), connection),
        // The FSM is gone.
        |rig: &mut Rig, connection| rig.ask(Class::Down, fsm(2), connection),
    ] {
        let (mut rig, address) = Rig::listening(Tcp::new());
        let (mut peer, connection) = rig.attached(address, fsm(2));
        for number in 0..1000 {
            rig.line(fsm(2), connection, &number.to_string());
        }
        close(&mut rig, connection);
        rig.line(fsm(2), connection, "too late");
        peer.line("never read");
        let reason = rig.until_down(fsm(2), connection);
        assert!(reason == "closed: it was told to" || reason.ends_with("belonged to is gone"), "{reason}");
        // The socket takes what comes, or the answer to it would be a reset that cuts off what was sent.
        for _ in 0..3 {
            peer.line("never read either");
            rig.poll();
        }
        assert_eq!(rig.until_ended(&mut peer), None, "an orderly end, not a reset");
        peer.take_hello().unwrap();
        let lines: Vec<_> = std::iter::from_fn(|| peer.take_line()).collect();
        assert_eq!(lines, (0..1000).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn closing_waits_for_a_socket_that_is_full() {
    const LINES: usize = 800;
    let line = "x".repeat(20_000);
    let (mut rig, address) = Rig::listening(Tcp::new().outgoing_bytes_max(32 << 20));
    let (mut peer, connection) = rig.attached(address, fsm(2));
    for _ in 0..LINES {
        rig.line(fsm(2), connection, &line);
    }
    rig.command(fsm(2), connection, Command::Close);
    rig.poll();
    assert_eq!(rig.until_ended(&mut peer), None, "an orderly end, not a reset");
    peer.take_hello().unwrap();
    assert_eq!(peer.bytes.len(), LINES * framed(&line).len());
    assert_eq!(rig.until_down(fsm(2), connection), "closed: it was told to");
}

#[test]
fn a_connection_that_closes_can_not_be_attached_any_more() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (_peer, connection) = rig.greeted(address);
    rig.command(fsm(1), connection, Command::Close);
    rig.command(fsm(2), connection, Command::Attach);
    assert_eq!(rig.until_down(fsm(2), connection), "closed: it was told to");
}

#[test]
fn a_poll_does_not_wait_while_there_is_something_to_write() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (_peer, connection) = rig.attached(address, fsm(2));
    for _ in 0..3 {
        rig.poll();
    }
    rig.line(fsm(2), connection, "now");
    let start = Instant::now();
    rig.poll_for(Some(Duration::from_secs(60)));
    assert!(start.elapsed() < Duration::from_secs(30), "it waited for something else");
}

#[test]
fn a_connection_watches_the_fsm_that_it_belongs_to_and_a_listener_its_acceptor() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (_peer, connection) = rig.attached(address, fsm(2));
    rig.poll();
    assert_eq!(rig.watched.len(), 2, "{:?}", rig.watched);
    assert_eq!(rig.watched[0].0, 1, "the listener watches its acceptor");
    assert_eq!(rig.watched[1], (2, connection));
}

#[test]
fn only_its_fsm_can_be_gone_for_a_connection() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (mut peer, connection) = rig.attached(address, fsm(2));
    rig.ask(Class::Down, fsm(3), connection);
    peer.line("still read");
    assert_eq!(rig.until_line(fsm(2)), "still read");
}

#[test]
fn bytes_that_the_worker_refuses_close_the_connection_with_its_reason() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (mut peer, connection) = rig.attached(address, fsm(2));
    let mut why = Vec::new();
    Codec::CURRENT.encode("there is a queue ID in it", &mut why).unwrap();
    rig.take(&Header::to(Class::Refused, 0, connection, fsm(2)), &why);
    let reason = rig.until_down(fsm(2), connection);
    assert_eq!(reason, "closed: the peer sent what makes no message: there is a queue ID in it");
    rig.until_ended(&mut peer);
}

#[test]
fn r6_a_stop_for_a_connection_that_is_gone_never_closes_its_successor() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (first_peer, first) = rig.attached(address, fsm(2));
    drop(first_peer);
    rig.until_down(fsm(2), first);
    let (mut peer, second) = rig.attached(address, fsm(3));
    assert_eq!((first.slot(), first.generation() + 1), (second.slot(), second.generation()), "the slot is used again");
    rig.ask(Class::Stop, fsm(2), first);
    rig.command(fsm(2), first, Command::Close);
    rig.line(fsm(3), first, "for a peer that is gone");
    rig.ask(Class::Watch, fsm(4), first);
    assert_eq!(rig.got, [(4, Got::Down(first, DownReason::Unknown))]);
    rig.line(fsm(3), second, "still here");
    rig.until_peer(&mut peer, Peer::take_hello);
    assert_eq!(rig.until_peer(&mut peer, Peer::take_line), "still here");
}

#[test]
fn r6_names_from_before_a_restart_mean_nothing_after_it() {
    let connections = [Epoch(1), Epoch(2)].map(|epoch| {
        let mut rig = Rig::in_epoch(Tcp::new().listen::<rig::Line>("game", "127.0.0.1:0"), epoch);
        rig.send(fsm(1), control(), &Control::Listen { name: "game".into() });
        rig.until(|_, got| match got {
            Got::Notice(Notice::Listening { listener, .. }) => Some(listener.raw()),
            _ => None,
        })
    });
    assert_ne!(connections[0], connections[1]);
}

#[test]
fn who_no_longer_watches_is_not_told() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (peer, connection) = rig.attached(address, fsm(2));
    for watcher in [3, 3, 4] {
        rig.ask(Class::Watch, fsm(watcher), connection);
    }
    rig.ask(Class::Unwatch, fsm(4), connection);
    drop(peer);
    rig.until_down(fsm(3), connection);
    rig.until_down(fsm(2), connection);
    rig.poll();
    assert_eq!(rig.got, []);
}

#[test]
fn while_no_new_work_is_admitted_nothing_is_read_or_accepted_and_nothing_is_lost() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (mut peer, connection) = rig.attached(address, fsm(2));
    rig.until_peer(&mut peer, Peer::take_hello);
    // This one is accepted, and hasn't said hello when the door closes.
    let mut hesitant = Peer::silent(address);
    rig.until_peer(&mut hesitant, Peer::take_hello);
    qnfsm::testing::admit_new_work(&mut rig.inputs, false);
    hesitant.write(&wire::hello());
    for number in 0..100 {
        peer.line(&number.to_string());
        rig.poll_for(Some(Duration::ZERO));
    }
    let mut newcomer = Peer::greeting(address);
    rig.poll();
    rig.poll();
    newcomer.read();
    assert_eq!((&rig.got[..], &newcomer.bytes[..]), (&[][..], &[][..]));
    // Answers still go out.
    rig.line(fsm(2), connection, "answer");
    assert_eq!(rig.until_peer(&mut peer, Peer::take_line), "answer");
    qnfsm::testing::admit_new_work(&mut rig.inputs, true);
    for number in 0..100 {
        assert_eq!(rig.until_line(fsm(2)), number.to_string());
    }
    for (mut peer, owner) in [(hesitant, fsm(3)), (newcomer, fsm(4))] {
        // Either may be the first.
        let connection = rig.until_accepted();
        rig.command(owner, connection, Command::Attach);
        peer.line("hello");
    }
    let lines = [rig.until_line(fsm(3)), rig.until_line(fsm(4))];
    assert_eq!(lines, ["hello", "hello"]);
}

#[test]
fn one_poll_reads_a_bounded_amount_and_everybody_has_a_turn() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (mut loud, _) = rig.attached(address, fsm(2));
    let (mut quiet, _) = rig.attached(address, fsm(3));
    rig.poll();
    qnfsm::testing::admit_new_work(&mut rig.inputs, false);
    rig.poll_for(Some(Duration::ZERO));
    let line = framed(&"x".repeat(995));
    loud.write(&line.repeat(200));
    quiet.line("me too");
    rig.poll();
    rig.poll();
    qnfsm::testing::admit_new_work(&mut rig.inputs, true);
    rig.poll();
    let lines = rig.got.iter().filter(|(to, _)| *to == 2).count();
    assert!((1..=65).contains(&lines), "{lines} lines of 1000 bytes in one poll");
    assert_eq!(rig.until_line(fsm(3)), "me too");
    for _ in 0..200 {
        rig.until_line(fsm(2));
    }
}

#[test]
fn frames_of_no_bytes_are_frames() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (mut peer, connection) = rig.attached(address, fsm(2));
    rig.take(&Header::message(rig.inputs.setup().type_number::<rig::Line>().unwrap(), connection, fsm(2)), b"");
    rig.until_peer(&mut peer, Peer::take_hello);
    rig.until_peer(&mut peer, |peer| (peer.bytes == [0; 4]).then_some(()));
}

#[test]
fn closing_the_edge_sends_what_the_sockets_take_and_ends_all_connections() {
    let (mut rig, address) = Rig::listening(Tcp::new());
    let (mut peer, connection) = rig.attached(address, fsm(2));
    rig.line(fsm(2), connection, "last words");
    rig.edge.close();
    // Nothing polls the edge any more, so what is to come has been sent.
    peer.socket.set_nonblocking(false).unwrap();
    peer.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    peer.read();
    assert_eq!((peer.end, peer.take_hello(), peer.take_line()), (Some(Ok(())), Some(()), Some("last words".into())));
}
