//! The client of all echo servers: one TCP connection, one small frame under way.
//!
//! It writes a frame at once and blocks until the whole answer is there. Hello and framing are those of `qnfsm-net`.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use qnfsm::{Codec, Trust};
use qnfsm_net::wire::{self, HELLO_BYTES, LENGTH_BYTES};

use super::stopwatch::{Extent, Stopwatch, timed};
use crate::{messaging::message::Small, plan::Failure};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any frame of a small message.
const FRAME_BYTES_MAX: usize = 64;

/// Times frames to a server and back.
///
/// # Errors
/// When there is no server at the address, or it does anything but echo.
pub fn echoed(server: SocketAddr, extent: Extent) -> Result<Stopwatch, Failure> {
    let mut client = Client::connect(server)?;
    timed(extent, |message| client.exchange(message))
}

struct Client {
    socket: TcpStream,
    /// The frame that is written.
    out: Vec<u8>,
    /// What is read.
    buffer: [u8; FRAME_BYTES_MAX],
}

impl Client {
    fn connect(server: SocketAddr) -> Result<Client, Failure> {
        let mut socket = TcpStream::connect(server)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(&wire::hello())?;
        let mut hello = [0; HELLO_BYTES];
        socket.read_exact(&mut hello)?;
        if hello != wire::hello() {
            return Err(format!("the server's hello is {hello:?}").into());
        }
        Ok(Client { socket, out: Vec::with_capacity(FRAME_BYTES_MAX), buffer: [0; FRAME_BYTES_MAX] })
    }

    fn exchange(&mut self, message: Small) -> Result<Small, Failure> {
        let Client { socket, out, buffer } = self;
        out.clear();
        out.resize(LENGTH_BYTES, 0);
        Codec::CURRENT.encode(&message, out)?;
        let length = u32::try_from(out.len() - LENGTH_BYTES)?;
        out[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        socket.write_all(out)?;
        let mut filled = 0;
        loop {
            match socket.read(&mut buffer[filled..])? {
                0 => return Err("the server closed the connection, or sent more than a frame".into()),
                read => filled += read,
            }
            let read = &buffer[..filled];
            if let Some((length, payload)) = read.split_first_chunk::<LENGTH_BYTES>()
                && payload.len() >= usize::try_from(u32::from_le_bytes(*length))?
            {
                return Ok(Codec::CURRENT.decode(payload, Trust::Peer)?);
            }
        }
    }
}
