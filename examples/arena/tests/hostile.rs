//! What a stranger may send to the game server. It is closed out with a reason, and everybody else plays on.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use arena::wire::{Action, ClientMessage, Direction, PlayerId, Refusal, ServerMessage};
use qnfsm::{Codec, Trust};

struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    address: String,
    dir: PathBuf,
}

impl Server {
    fn start(name: &str) -> Server {
        let dir = std::env::temp_dir().join(format!("arena-hostile-{}-{name}", std::process::id()));
        let mut child = Command::new(env!("CARGO_BIN_EXE_arena"))
            .args(["serve", "--until-stdin-ends", "--listen", "127.0.0.1:0", "--seed", "1", "--dir"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server can be started");
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("the server says where it listens");
        let address = line.trim().rsplit_once(' ').expect("an address").1.to_owned();
        Server { child, stdin, address, dir }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
        stream
    }

    /// Connects and says hello on the wire.
    fn greet(&self) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(&qnfsm_net::wire::hello()).expect("the server reads");
        let mut hello = [0; 8];
        stream.read_exact(&mut hello).expect("the server says hello");
        stream
    }

    /// An honest client still gets in and its command is applied; then the server stops in good order.
    fn still_plays(mut self) {
        let mut stream = self.greet();
        send(&mut stream, &ClientMessage::Hello { player: PlayerId(9) });
        assert!(matches!(receive(&mut stream), Some(ServerMessage::Welcome { .. })));
        send(&mut stream, &ClientMessage::Command { number: 1, action: Action::Move(Direction::North) });
        let applied = std::iter::from_fn(|| receive(&mut stream))
            .any(|message| matches!(message, ServerMessage::Told { standing, .. } if standing.last_applied == 1));
        assert!(applied);
        drop(self.stdin.take());
        assert!(self.child.wait().expect("the server ends").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).expect("a short payload").to_le_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

fn send(stream: &mut TcpStream, message: &ClientMessage) {
    let mut payload = Vec::new();
    Codec::CURRENT.encode(message, &mut payload).expect("plain data");
    stream.write_all(&frame(&payload)).expect("the server reads");
}

/// The next message; `None` when the server has closed.
fn receive(stream: &mut TcpStream) -> Option<ServerMessage> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut payload = vec![0; usize::try_from(u32::from_le_bytes(length)).expect("a short payload")];
    stream.read_exact(&mut payload).ok()?;
    Some(Codec::CURRENT.decode(&payload, Trust::Peer).expect("the server sends what its wire says"))
}

/// True if the server closes without saying anything more.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn garbage_instead_of_a_hello_is_closed_out() {
    let server = Server::start("garbage");
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("the server reads");
    assert!(is_closed(&mut stream));
    server.still_plays();
}

#[test]
fn an_unknown_version_is_closed_out() {
    let server = Server::start("version");
    let mut stream = server.connect();
    let mut hello = qnfsm_net::wire::hello();
    hello[4] = 0x77;
    stream.write_all(&hello).expect("the server reads");
    assert!(is_closed(&mut stream));
    server.still_plays();
}

#[test]
fn a_frame_that_is_too_long_is_closed_out_before_it_is_read() {
    let server = Server::start("long");
    let mut stream = server.greet();
    stream.write_all(&u32::MAX.to_le_bytes()).expect("the server reads");
    assert!(is_closed(&mut stream));
    server.still_plays();
}

#[test]
fn a_frame_that_makes_no_message_is_closed_out() {
    let server = Server::start("nonsense");
    for nonsense in [&[][..], &[0xff; 12], &[0, 1, 2, 3, 4, 5, 6]] {
        let mut stream = server.greet();
        stream.write_all(&frame(nonsense)).expect("the server reads");
        assert!(is_closed(&mut stream), "{nonsense:?}");
    }
    server.still_plays();
}

#[test]
fn a_command_before_the_hello_is_told_why_it_is_refused() {
    let server = Server::start("early");
    let mut stream = server.greet();
    send(&mut stream, &ClientMessage::Command { number: 1, action: Action::Move(Direction::North) });
    assert_eq!(receive(&mut stream), Some(ServerMessage::Refused { why: Refusal::HelloMissing }));
    assert_eq!(receive(&mut stream), None);
    server.still_plays();
}

#[test]
fn a_second_connection_of_a_player_takes_the_place_of_the_first() {
    let server = Server::start("twice");
    let mut first = server.greet();
    send(&mut first, &ClientMessage::Hello { player: PlayerId(5) });
    assert!(matches!(receive(&mut first), Some(ServerMessage::Welcome { .. })));
    let mut second = server.greet();
    send(&mut second, &ClientMessage::Hello { player: PlayerId(5) });
    assert!(matches!(receive(&mut second), Some(ServerMessage::Welcome { .. })));
    let last = std::iter::from_fn(|| receive(&mut first)).last();
    assert_eq!(last, Some(ServerMessage::Refused { why: Refusal::PlaysElsewhere }));
    server.still_plays();
}
