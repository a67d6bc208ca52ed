//! What waits for one peer to read: framed bytes, and which frames of them the socket has taken.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{limits::FLOW_FRAMES, wire};

/// Buffers larger than this are given back when they are empty, so that idle connections are small.
const KEPT_BYTES_MAX: usize = 16 << 10;

/// What the FSM is to know about the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) frames: u64,
    pub(crate) free_bytes: u32,
}

/// How many bytes wait in all send buffers of an edge. Only the edge's thread counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeldBytes(Arc<AtomicU64>);

impl HeldBytes {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn sub(&self, bytes: usize) {
        self.0.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

/// The bytes that wait, at most as many as it was made for.
#[derive(Debug)]
pub(crate) struct SendBuffer {
    held: HeldBytes,
    bytes_max: u32,
    bytes: Vec<u8>,
    /// Those before this are written.
    start: usize,
    /// Where each frame that isn't wholly written ends, counted from the connection's first byte.
    ends: VecDeque<u64>,
    written_bytes: u64,
    frames_taken: u64,
    /// What `frames_taken` and `written_bytes` were when the FSM was last told.
    told_frames: u64,
    told_bytes: u64,
    /// The socket has not taken all that it was offered, and the FSM hasn't been told since.
    was_full: bool,
}

impl SendBuffer {
    /// Begins with the hello.
    pub(crate) fn new(bytes_max: u32, held: HeldBytes) -> SendBuffer {
        let bytes = wire::hello().to_vec();
        held.add(bytes.len());
        SendBuffer {
            held,
            bytes_max,
            bytes,
            start: 0,
            ends: VecDeque::new(),
            written_bytes: 0,
            frames_taken: 0,
            told_frames: 0,
            told_bytes: 0,
            was_full: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// How many bytes wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// How many bytes may wait beside those that do.
    pub(crate) fn free_bytes(&self) -> usize {
        (self.bytes_max as usize).saturating_sub(self.waiting_bytes())
    }

    /// Whether a frame with that payload may wait beside what does.
    pub(crate) fn has_room_for(&self, payload: &[u8]) -> bool {
        payload.len() + wire::LENGTH_BYTES <= self.free_bytes()
    }

    /// Appends a frame, for which the caller has checked that there is room.
    pub(crate) fn push(&mut self, payload: &[u8]) {
        assert!(self.has_room_for(payload), "callers ask for room before they push");
        let length =
            u32::try_from(payload.len()).expect("what has room in a buffer of 32 bits has a length of 32 bits");
        if self.start >= self.waiting_bytes() {
            // What is moved is no more than what was written since it was last moved.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(payload);
        self.held.add(wire::LENGTH_BYTES + payload.len());
        self.ends.push_back(self.written_bytes + self.waiting_bytes() as u64);
    }

    /// Writes until all is written or the socket takes no more; says whether it took all.
    pub(crate) fn write_to(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        while !self.is_empty() {
            match socket.write(&self.bytes[self.start..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.was_full = true;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        self.start = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
            self.ends.shrink_to(0);
        }
        Ok(true)
    }

    fn advance(&mut self, written: usize) {
        self.start += written;
        self.held.sub(written);
        self.written_bytes += written as u64;
        while self.ends.front().is_some_and(|end| *end <= self.written_bytes) {
            self.ends.pop_front();
            self.frames_taken += 1;
        }
    }

    /// What the FSM is to be told now, if anything. Calling it counts as telling.
    pub(crate) fn news(&mut self) -> Option<Taken> {
        let frames = self.frames_taken - self.told_frames;
        let bytes = self.written_bytes - self.told_bytes;
        let drained = self.was_full && self.is_empty();
        let due = drained || frames >= u64::from(FLOW_FRAMES) || bytes >= u64::from(self.bytes_max / 4).max(1);
        if frames == 0 || !due {
            return None;
        }
        self.was_full &= !drained;
        self.told_frames = self.frames_taken;
        self.told_bytes = self.written_bytes;
        let free_bytes =
            u32::try_from(self.free_bytes()).expect("no more can be free than the buffer's 32 bits of bytes");
        Some(Taken { frames: self.frames_taken, free_bytes })
    }
}

impl Drop for SendBuffer {
    fn drop(&mut self) {
        self.held.sub(self.waiting_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes in writes of at most `step`, then no more.
    struct Socket {
        room: usize,
        step: usize,
        got: Vec<u8>,
    }

    impl Write for Socket {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.step).min(self.room);
            if taken == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.room -= taken;
            self.got.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn socket(room: usize, step: usize) -> Socket {
        Socket { room, step, got: Vec::new() }
    }

    #[test]
    fn partial_writes_lose_and_double_nothing() {
        for step in 1..40 {
            let mut buffer = SendBuffer::new(1000, HeldBytes::default());
            let mut socket = socket(0, step);
            let mut expected = wire::hello().to_vec();
            for number in 0..30u8 {
                let payload = vec![number; usize::from(number)];
                expected.extend_from_slice(&u32::from(number).to_le_bytes());
                expected.extend_from_slice(&payload);
                buffer.push(&payload);
                socket.room += 17;
                buffer.write_to(&mut socket).unwrap();
            }
            socket.room = usize::MAX;
            assert!(buffer.write_to(&mut socket).unwrap());
            assert_eq!(socket.got, expected, "in steps of {step}");
            assert_eq!((buffer.frames_taken, buffer.ends.len()), (30, 0));
        }
    }

    #[test]
    fn what_waits_in_all_buffers_is_counted() {
        let held = HeldBytes::default();
        let mut buffers = [(); 2].map(|()| SendBuffer::new(1000, held.clone()));
        for buffer in &mut buffers {
            buffer.push(&[0; 50]);
        }
        let waiting = |buffers: &[SendBuffer]| buffers.iter().map(|buffer| buffer.waiting_bytes() as u64).sum::<u64>();
        assert_eq!(held.count(), waiting(&buffers));
        buffers[0].write_to(&mut socket(33, 7)).unwrap();
        assert_eq!(held.count(), waiting(&buffers));
        let [gone, kept] = buffers;
        drop(gone);
        assert_eq!(held.count(), kept.waiting_bytes() as u64);
    }

    #[test]
    fn a_frame_counts_as_taken_with_its_last_byte() {
        let mut buffer = SendBuffer::new(1000, HeldBytes::default());
        buffer.push(b"12345");
        let mut socket = socket(8 + 4 + 4, 100);
        assert!(!buffer.write_to(&mut socket).unwrap());
        assert_eq!((buffer.frames_taken, buffer.waiting_bytes()), (0, 1));
        socket.room = 1;
        assert!(buffer.write_to(&mut socket).unwrap());
        assert_eq!(buffer.frames_taken, 1);
    }

    #[test]
    fn the_bound_holds_with_the_frame_header() {
        let mut buffer = SendBuffer::new(8 + 4 + 10, HeldBytes::default());
        assert!(buffer.has_room_for(&[0; 10]));
        assert!(!buffer.has_room_for(&[0; 11]));
        buffer.push(&[0; 10]);
        assert!(!buffer.has_room_for(&[]));
    }

    #[test]
    fn news_come_in_steps_and_when_a_full_socket_has_taken_all() {
        let mut buffer = SendBuffer::new(100_000, HeldBytes::default());
        let mut socket = socket(usize::MAX, usize::MAX);
        for frame in 1..=FLOW_FRAMES {
            buffer.push(b"x");
            buffer.write_to(&mut socket).unwrap();
            assert_eq!(buffer.news().is_some(), frame == FLOW_FRAMES, "after frame {frame}");
        }
        socket.room = 0;
        buffer.push(b"x");
        buffer.write_to(&mut socket).unwrap();
        assert_eq!(buffer.news(), None, "nothing more is taken");
        socket.room = usize::MAX;
        buffer.write_to(&mut socket).unwrap();
        assert_eq!(buffer.news(), Some(Taken { frames: u64::from(FLOW_FRAMES) + 1, free_bytes: 100_000 }));
        assert_eq!(buffer.news(), None, "said once");
        buffer.push(&[0; 25_000]);
        buffer.write_to(&mut socket).unwrap();
        assert_eq!(
            buffer.news().map(|taken| taken.frames),
            Some(u64::from(FLOW_FRAMES) + 2),
            "a quarter of the buffer"
        );
    }
}
