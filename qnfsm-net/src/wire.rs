//! The bytes between two peers: a hello from each side, then frames. Pure: bytes in, frames out, no socket.
//!
//! The hello has 8 bytes: `QNFS`, the version and a reserved number that must be 0, both 16 bits. A frame is its
//! payload's length in 32 bits and the payload, which may be empty. All numbers are little-endian. Reading trusts
//! nothing: a wrong hello is refused at its first wrong byte, a length is refused before anything is reserved for it,
//! and no more is ever kept than the bytes of one frame that did come.

/// The first four bytes of every connection, in both directions.
pub const MAGIC: [u8; 4] = *b"QNFS";

/// The version of what follows the hello.
pub const VERSION: u16 = 1;

/// The length of a hello in bytes.
pub const HELLO_BYTES: usize = 8;

/// The length of what stands before each payload, in bytes.
pub const LENGTH_BYTES: usize = 4;

/// What both sides send first.
#[must_use]
pub const fn hello() -> [u8; HELLO_BYTES] {
    let version = VERSION.to_le_bytes();
    [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], version[0], version[1], 0, 0]
}

/// Why a peer's bytes are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The hello doesn't begin with [`MAGIC`].
    #[error("the peer's first bytes are not a hello; it speaks another protocol, or the address is another service's")]
    NotAHello,
    /// The hello names a version that this build doesn't speak.
    #[error("the peer speaks version {0} of the protocol and this side {VERSION}; bring both to one version")]
    UnknownVersion(u16),
    /// The reserved number of the hello is not 0.
    #[error("the peer's hello has {0:#06x} in its reserved number, which this version needs to be 0")]
    Reserved(u16),
    /// A frame is announced that is longer than allowed.
    #[error(
        "the peer announced a frame of {length} bytes, and {max} is the most there may be; it should send less, or raise `frame_bytes_max`"
    )]
    TooLong {
        /// The announced length.
        length: u32,
        /// The most there may be.
        max: u32,
    },
}

/// Takes the peer's hello, in as many pieces as it comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HelloReader {
    bytes: [u8; HELLO_BYTES],
    len: usize,
}

impl HelloReader {
    /// How many bytes are still to come. Read no more than these: what follows belongs to the first frame.
    #[must_use]
    pub fn missing(&self) -> usize {
        HELLO_BYTES - self.len
    }

    /// Takes bytes from the front of `bytes` and says how many; the hello is whole when none are missing.
    ///
    /// # Errors
    /// As soon as what came can't become a hello of this version.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, WireError> {
        let taken = bytes.len().min(self.missing());
        self.bytes[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        let magic = self.len.min(MAGIC.len());
        if self.bytes[..magic] != MAGIC[..magic] {
            return Err(WireError::NotAHello);
        }
        let [_, _, _, _, version_low, version_high, reserved_low, reserved_high] = self.bytes;
        let version = u16::from_le_bytes([version_low, version_high]);
        if self.len >= 6 && version != VERSION {
            return Err(WireError::UnknownVersion(version));
        }
        let reserved = u16::from_le_bytes([reserved_low, reserved_high]);
        if self.len == HELLO_BYTES && reserved != 0 {
            return Err(WireError::Reserved(reserved));
        }
        Ok(taken)
    }
}

/// Cuts a stream of bytes into frames. It keeps the start of a frame whose end hasn't come, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameReader {
    frame_bytes_max: u32,
    /// Length and payload of the frame that isn't whole, as far as they have come.
    begun: Vec<u8>,
    failed: Option<WireError>,
}

/// A payload and what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

impl FrameReader {
    /// A reader that refuses payloads of more than `frame_bytes_max` bytes.
    #[must_use]
    pub fn new(frame_bytes_max: u32) -> FrameReader {
        FrameReader { frame_bytes_max, begun: Vec::new(), failed: None }
    }

    /// Takes all of `bytes` and hands the payload of each frame that is whole to `on_frame`, in order.
    ///
    /// # Errors
    /// When a frame is announced that is too long. Frames before it were handed on. The stream can't be read any
    /// further, so all later calls fail the same way.
    pub fn feed(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(&[u8])) -> Result<(), WireError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        while !bytes.is_empty() {
            if self.begun.is_empty() {
                // Most frames lie whole in what was read and are handed on from there.
                if let Some((payload, rest)) = self.split(bytes)? {
                    on_frame(payload);
                    bytes = rest;
                    continue;
                }
            }
            let wanted = match self.length(&self.begun)? {
                None => LENGTH_BYTES - self.begun.len(),
                Some(length) => LENGTH_BYTES + length - self.begun.len(),
            };
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.begun.extend_from_slice(taken);
            bytes = rest;
            // The length may just have become whole, and be too long or 0.
            if self.length(&self.begun).map_err(|error| self.fail(error))?.map(|length| LENGTH_BYTES + length)
                == Some(self.begun.len())
            {
                on_frame(&self.begun[LENGTH_BYTES..]);
                self.begun.clear();
            }
        }
        if self.begun.is_empty() {
            // An idle connection holds no buffer.
            self.begun = Vec::new();
        }
        Ok(())
    }

    /// How many bytes of a frame have come whose end hasn't.
    #[must_use]
    pub fn begun_bytes(&self) -> usize {
        self.begun.len()
    }

    /// The payload of the frame at the front of `bytes` if it is whole, and what follows it.
    fn split<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Split<'a>>, WireError> {
        match self.length(bytes) {
            Ok(Some(length)) => Ok(bytes[LENGTH_BYTES..].split_at_checked(length)),
            Ok(None) => Ok(None),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// The payload's length that stands at the front of `bytes`, if all of it is there.
    fn length(&self, bytes: &[u8]) -> Result<Option<usize>, WireError> {
        let Some(length) = bytes.first_chunk().copied().map(u32::from_le_bytes) else { return Ok(None) };
        if length > self.frame_bytes_max {
            return Err(WireError::TooLong { length, max: self.frame_bytes_max });
        }
        // A u32 fits into a usize wherever there are sockets.
        Ok(Some(length as usize))
    }

    fn fail(&mut self, error: WireError) -> WireError {
        self.failed = Some(error);
        self.begun = Vec::new();
        error
    }
}

/// Reads `bytes` as a peer's stream, whole and in pieces, and checks that both give the same. For fuzzing: the first
/// byte says how long the pieces are, the rest is the stream.
///
/// # Panics
/// When reading in pieces gives other than reading at once, or keeps more than one frame's bytes.
pub fn fuzz(bytes: &[u8]) {
    const FRAME_BYTES_MAX: u32 = 300;
    let Some((&piece, stream)) = bytes.split_first() else { return };
    let read = |piece: usize| {
        let (mut hello, mut frames) = (HelloReader::default(), FrameReader::new(FRAME_BYTES_MAX));
        let mut read = Vec::new();
        for mut bytes in stream.chunks(piece) {
            if hello.missing() > 0 {
                match hello.feed(bytes) {
                    Ok(taken) => bytes = &bytes[taken..],
                    Err(error) => return (read, Some(error)),
                }
            }
            if let Err(error) = frames.feed(bytes, |frame| read.push(frame.to_vec())) {
                return (read, Some(error));
            }
            assert!(frames.begun_bytes() < LENGTH_BYTES + FRAME_BYTES_MAX as usize, "more than one frame is kept");
        }
        (read, None)
    };
    assert_eq!(read(usize::from(piece).max(1)), read(stream.len().max(1)), "in pieces of {piece} bytes");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: u32 = 300;

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        frames
            .iter()
            .flat_map(|frame| [&u32::try_from(frame.len()).unwrap().to_le_bytes(), &frame[..]].concat())
            .collect()
    }

    fn read(reader: &mut FrameReader, bytes: &[u8]) -> (Vec<Vec<u8>>, Result<(), WireError>) {
        let mut frames = Vec::new();
        let result = reader.feed(bytes, |frame| frames.push(frame.to_vec()));
        (frames, result)
    }

    #[test]
    fn the_hello_is_frozen() {
        assert_eq!(hello(), *b"QNFS\x01\x00\x00\x00");
    }

    #[test]
    fn a_hello_is_read_in_pieces_and_leaves_what_follows() {
        let bytes = [&hello()[..], b"rest"].concat();
        for cut in 0..=HELLO_BYTES {
            let mut reader = HelloReader::default();
            assert_eq!(reader.feed(&bytes[..cut]), Ok(cut));
            assert_eq!(reader.missing(), HELLO_BYTES - cut);
            assert_eq!(reader.feed(&bytes[cut..]), Ok(HELLO_BYTES - cut));
            assert_eq!(reader.missing(), 0);
        }
    }

    #[test]
    fn a_wrong_hello_is_refused_at_its_first_wrong_byte() {
        for (bytes, error) in [
            (&b"G"[..], WireError::NotAHello),
            (b"QNFX", WireError::NotAHello),
            (b"GET / HTTP/1.1\r\n", WireError::NotAHello),
            (b"QNFS\x02\x00", WireError::UnknownVersion(2)),
            (b"QNFS\x00\x01\x00\x00", WireError::UnknownVersion(256)),
            (b"QNFS\x01\x00\x00\x80", WireError::Reserved(0x8000)),
        ] {
            assert_eq!(HelloReader::default().feed(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn every_split_of_a_stream_gives_the_same_frames() {
        let frames = [b"one".to_vec(), vec![], vec![7; MAX as usize], vec![], b"x".to_vec()];
        let bytes = stream(&frames);
        for cut in 0..=bytes.len() {
            let mut reader = FrameReader::new(MAX);
            let (mut got, first) = read(&mut reader, &bytes[..cut]);
            let (rest, second) = read(&mut reader, &bytes[cut..]);
            got.extend(rest);
            assert_eq!((got.as_slice(), first, second), (&frames[..], Ok(()), Ok(())), "cut at byte {cut}");
            assert_eq!(reader.begun_bytes(), 0);
        }
    }

    #[test]
    fn a_frame_that_is_cut_short_is_kept_and_not_handed_on() {
        let bytes = stream(&[b"four".to_vec()]);
        for cut in 1..bytes.len() {
            let mut reader = FrameReader::new(MAX);
            assert_eq!(read(&mut reader, &bytes[..cut]), (vec![], Ok(())));
            assert_eq!(reader.begun_bytes(), cut);
        }
    }

    #[test]
    fn a_length_past_the_maximum_is_refused_before_anything_is_kept_for_it() {
        let error = WireError::TooLong { length: u32::MAX, max: MAX };
        let bytes = [stream(&[b"ok".to_vec()]), vec![0xff; 4]].concat();
        for cut in 0..bytes.len() {
            let mut reader = FrameReader::new(MAX);
            let (mut got, _) = read(&mut reader, &bytes[..cut]);
            let (rest, result) = read(&mut reader, &bytes[cut..]);
            got.extend(rest);
            assert_eq!((got, result), (vec![b"ok".to_vec()], Err(error)), "cut at byte {cut}");
            assert_eq!(reader.begun.capacity(), 0);
            assert_eq!(read(&mut reader, &stream(&[vec![]])), (vec![], Err(error)), "the stream stays refused");
        }
    }

    #[test]
    fn an_announced_length_reserves_no_more_than_what_came() {
        let mut reader = FrameReader::new(16 << 20);
        reader.feed(&(16u32 << 20).to_le_bytes(), |_| panic!("no frame is whole")).unwrap();
        reader.feed(&[0; 10], |_| panic!("no frame is whole")).unwrap();
        assert!(reader.begun.capacity() < 100, "{} bytes for 14", reader.begun.capacity());
    }

    proptest! {
        #[test]
        fn pieces_of_any_lengths_give_the_same_frames(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..MAX as usize), 0..20),
            pieces in prop::collection::vec(1usize..700, 1..40),
        ) {
            let bytes = stream(&frames);
            let mut reader = FrameReader::new(MAX);
            let (mut got, mut rest) = (Vec::new(), &bytes[..]);
            for piece in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(rest.len().min(*piece));
                let (more, result) = read(&mut reader, now);
                prop_assert_eq!(result, Ok(()));
                got.extend(more);
                rest = later;
            }
            prop_assert_eq!(got, frames);
        }

        #[test]
        fn no_bytes_make_the_readers_panic_or_disagree(
            mut bytes in prop::collection::vec(any::<u8>(), 0..2000),
            greets in any::<bool>(),
        ) {
            if greets && bytes.len() > HELLO_BYTES {
                bytes[1..=HELLO_BYTES].copy_from_slice(&hello());
            }
            fuzz(&bytes);
        }
    }
}
