//! The limit of echoing: a bare server on mio, one thread, one connection.
//!
//! It waits in mio's `poll`, reads once, finds the whole frames, and writes them back at once: three system calls for a frame. It
//! speaks the framing of `qnfsm-net`, and doesn't look into payloads.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    thread::{self, JoinHandle},
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use qnfsm_net::wire::{self, HELLO_BYTES, LENGTH_BYTES};

const LISTENER: Token = Token(0);
const CONNECTION: Token = Token(1);
/// How much is read at a time.
const READ_BYTES: usize = 64 << 10;

/// Begins to serve the next connection at a free port of the loopback, on a thread of its own, which ends with the
/// connection. Without `blocks` it looks again and again and never waits.
///
/// # Errors
/// When there is no port.
pub fn start(blocks: bool) -> io::Result<(SocketAddr, JoinHandle<io::Result<()>>)> {
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = listener.local_addr()?;
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let timeout = (!blocks).then_some(Duration::ZERO);
    Ok((address, thread::spawn(move || serve(poll, &listener, timeout))))
}

fn serve(mut poll: Poll, listener: &TcpListener, timeout: Option<Duration>) -> io::Result<()> {
    let mut events = Events::with_capacity(16);
    let mut echo = None;
    loop {
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                let (mut socket, _) = listener.accept()?;
                socket.set_nodelay(true)?;
                poll.registry().register(&mut socket, CONNECTION, Interest::READABLE)?;
                socket.write_all(&wire::hello())?;
                echo = Some((socket, Echo::default()));
            } else if let Some((socket, echo)) = &mut echo
                && !serve_one(socket, echo)?
            {
                return Ok(());
            }
        }
    }
}

/// Echoes what has come. False at the end of the connection.
fn serve_one(socket: &mut TcpStream, echo: &mut Echo) -> io::Result<bool> {
    loop {
        let read = match socket.read(&mut echo.buffer[echo.filled..]) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        // What didn't fill the buffer was all that had come, and mio tells of what comes later.
        let was_all = echo.filled + read < echo.buffer.len();
        let whole = echo.whole(read)?;
        // A client with one frame under way leaves room for it.
        socket.write_all(&echo.buffer[whole.clone()])?;
        echo.keep_from(whole.end);
        if was_all {
            return Ok(true);
        }
    }
}

/// What has come of a connection's bytes and isn't echoed yet.
struct Echo {
    greeted: bool,
    buffer: Vec<u8>,
    filled: usize,
}

impl Default for Echo {
    fn default() -> Echo {
        Echo { greeted: false, buffer: vec![0; READ_BYTES], filled: 0 }
    }
}

impl Echo {
    /// Takes in that so many more bytes have come, and says where the frames are that are whole.
    fn whole(&mut self, read: usize) -> io::Result<std::ops::Range<usize>> {
        self.filled += read;
        let mut begin = 0;
        if !self.greeted {
            let Some(hello) = self.buffer[..self.filled].first_chunk::<HELLO_BYTES>() else { return Ok(0..0) };
            if *hello != wire::hello() {
                return Err(io::Error::new(ErrorKind::InvalidData, format!("the client's hello is {hello:?}")));
            }
            (self.greeted, begin) = (true, HELLO_BYTES);
        }
        let mut end = begin;
        while let Some(length) = self.buffer[end..self.filled].first_chunk::<LENGTH_BYTES>() {
            let frame = LENGTH_BYTES + u32::from_le_bytes(*length) as usize;
            if frame > self.buffer.len() {
                return Err(io::Error::new(ErrorKind::InvalidData, format!("a frame of {frame} bytes is announced")));
            }
            if end + frame > self.filled {
                break;
            }
            end += frame;
        }
        Ok(begin..end)
    }

    /// Forgets what lies before `begin`.
    fn keep_from(&mut self, begin: usize) {
        self.buffer.copy_within(begin..self.filled, 0);
        self.filled -= begin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole_of(echo: &mut Echo, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let filled = echo.filled;
        echo.buffer[filled..filled + bytes.len()].copy_from_slice(bytes);
        let whole = echo.whole(bytes.len())?;
        let frames = echo.buffer[whole.clone()].to_vec();
        echo.keep_from(whole.end);
        Ok(frames)
    }

    #[test]
    fn any_split_of_a_stream_gives_back_its_frames() {
        let frames = [&2_u32.to_le_bytes()[..], b"ab", &0_u32.to_le_bytes(), &3_u32.to_le_bytes(), b"cde"].concat();
        let stream = [&wire::hello()[..], &frames].concat();
        for cut in 0..=stream.len() {
            let mut echo = Echo::default();
            let mut echoed = whole_of(&mut echo, &stream[..cut]).expect("the beginning of a stream");
            echoed.extend(whole_of(&mut echo, &stream[cut..]).expect("the rest of it"));
            assert_eq!(echoed, frames, "cut at byte {cut}");
        }
    }

    #[test]
    fn a_wrong_hello_and_a_frame_that_is_too_long_are_errors() {
        assert!(whole_of(&mut Echo::default(), b"GET / HT").is_err());
        let mut echo = Echo::default();
        assert!(whole_of(&mut echo, &[&wire::hello()[..], &u32::MAX.to_le_bytes()].concat()).is_err());
    }
}
