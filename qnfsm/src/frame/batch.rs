//! Frames one behind another, from one source, numbered without gaps: what enters a worker together.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};

use super::{
    Frame, FrameError, FrameFault, Header, Spelled, Unput,
    spelling::{put_frame, take_frame, take_repeated, take_short_repeated},
};
use crate::id::{Epoch, Place};

/// Frames from one source to one worker or edge, with the number of the first. The buffer is meant to be used again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Batch {
    source: Place,
    epoch: Epoch,
    first: u64,
    count: u32,
    bytes: Vec<u8>,
    /// The last frame's header, if the next one may repeat it. It need not be known: then the next header is spelled in full.
    #[serde(skip)]
    latest: Option<Spelled>,
}

impl PartialEq for Batch {
    fn eq(&self, other: &Batch) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for Batch {}

impl Batch {
    /// An empty batch whose first frame will have the number `first`.
    #[must_use]
    pub fn new(source: Place, epoch: Epoch, first: u64) -> Batch {
        Batch { source, epoch, first, count: 0, bytes: Vec::new(), latest: None }
    }

    /// Empties it for other frames and keeps the buffer.
    pub fn reset(&mut self, source: Place, epoch: Epoch, first: u64) {
        self.source = source;
        self.epoch = epoch;
        self.first = first;
        self.count = 0;
        self.bytes.clear();
        self.latest = None;
    }

    /// Becomes a copy of another's frames, in the buffer that it has.
    pub fn copy_from(&mut self, other: BatchRef<'_>) {
        self.reset(other.source, other.epoch, other.first);
        self.count = other.count;
        self.bytes.extend_from_slice(other.bytes);
    }

    /// Renumbers its frames.
    pub fn set_first(&mut self, first: u64) {
        self.first = first;
    }

    /// Appends a frame.
    ///
    /// # Panics
    /// When the payload is longer than [`FRAME_PAYLOAD_BYTES_MAX`](super::FRAME_PAYLOAD_BYTES_MAX), or the batch has 2^32 - 1 frames already.
    pub fn push(&mut self, header: &Header, payload: &[u8]) {
        let put = self.put(&Spelled::of(header), |out| {
            out.extend_from_slice(payload);
            Ok::<(), Infallible>(())
        });
        put.expect("callers check the length of what they send");
    }

    /// Appends a frame whose payload `encode` appends; nothing if that fails, or the payload is longer than
    /// [`FRAME_PAYLOAD_BYTES_MAX`](super::FRAME_PAYLOAD_BYTES_MAX).
    #[inline]
    pub(crate) fn put<E>(
        &mut self,
        header: &Spelled,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), Unput<E>> {
        if self.latest.as_ref() == Some(header) {
            return self.put_again(encode);
        }
        self.append(header, encode)?;
        self.latest = Some(*header).filter(Spelled::can_be_repeated);
        Ok(())
    }

    /// As [`put`](Batch::put), with the header that was put last, which made no request.
    #[inline]
    pub(crate) fn put_again<E>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), Unput<E>> {
        assert!(self.latest.is_some(), "there is a header that can be repeated");
        self.append(&Spelled::Again, encode)
    }

    #[inline(always)]
    fn append<E>(
        &mut self,
        header: &Spelled,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), Unput<E>> {
        put_frame(&mut self.bytes, header, encode)?;
        self.count = self.count.checked_add(1).expect("a batch is handed on long before it has 2^32 frames");
        Ok(())
    }

    /// Takes frames off the front, as many as make at most `bytes_max` bytes together but one at least, if all of them make
    /// more. They keep their numbers.
    pub fn take_front(&mut self, bytes_max: usize) -> Option<Batch> {
        if self.bytes.len() <= bytes_max {
            return None;
        }
        let mut frames = self.as_ref().frames();
        let (mut count, mut taken) = (0, 0);
        let (next, next_end) = loop {
            let frame = frames.next()?.ok()?;
            let end = self.bytes.len() - frames.rest.len();
            if count > 0 && end > bytes_max {
                break (frame, end);
            }
            (count, taken) = (count + 1, end);
        };
        // What comes first repeats no header.
        let mut first = Vec::new();
        let put = put_frame(&mut first, &Spelled::of(&next.header), |out| {
            out.extend_from_slice(next.payload);
            Ok::<(), Infallible>(())
        });
        put.expect("it was put before");
        self.bytes.splice(taken..next_end, first);
        let front = Batch { count, bytes: self.bytes.drain(..taken).collect(), latest: None, ..*self };
        self.first = self.first.saturating_add(u64::from(count));
        self.count -= count;
        Some(front)
    }

    /// True if it has no frames.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes that its frames take.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The batch to read from.
    #[must_use]
    pub fn as_ref(&self) -> BatchRef<'_> {
        BatchRef { source: self.source, epoch: self.epoch, first: self.first, count: self.count, bytes: &self.bytes }
    }
}

/// A batch whose frames lie somewhere else: in a [`Batch`], or in a journal's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRef<'a> {
    /// Who put the frames in.
    pub source: Place,
    /// The epoch within which they are numbered.
    pub epoch: Epoch,
    /// The first one's number; the others count up from it.
    pub first: u64,
    /// How many there are.
    pub count: u32,
    /// The frames.
    pub bytes: &'a [u8],
}

impl<'a> BatchRef<'a> {
    /// The number of the frame that would follow the last one.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    /// The frames in order; an error ends them.
    #[must_use]
    pub fn frames(&self) -> Frames<'a> {
        Frames {
            rest: self.bytes,
            whole: self.bytes.len(),
            left: self.count,
            count: self.count,
            failed: false,
            latest: &[],
            can_be_repeated: false,
        }
    }

    /// The frames by runs; an error ends them.
    #[must_use]
    pub fn runs(&self) -> Runs<'a> {
        Runs(self.frames())
    }

    /// A batch of its own with the same frames.
    #[must_use]
    pub fn to_batch(self) -> Batch {
        Batch {
            source: self.source,
            epoch: self.epoch,
            first: self.first,
            count: self.count,
            bytes: self.bytes.to_vec(),
            latest: None,
        }
    }
}

/// The frames of a batch, one after another.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a [u8],
    whole: usize,
    left: u32,
    count: u32,
    failed: bool,
    /// The bytes from the last frame on that spells its header.
    latest: &'a [u8],
    /// It made no request.
    can_be_repeated: bool,
}

impl<'a> Frames<'a> {
    /// The payload of the next frame, if it is short and repeats the header of the last one. Otherwise nothing is taken. Most
    /// messages between workers come in such runs, and their headers need no reading.
    #[inline]
    pub(crate) fn next_alike(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 || !self.can_be_repeated {
            return None;
        }
        let payload = take_short_repeated(&mut self.rest)?;
        self.left -= 1;
        Some(payload)
    }

    /// The next frame, which is there.
    #[inline]
    fn take(&mut self) -> Result<Frame<'a>, FrameFault> {
        if let Some(payload) = take_repeated(&mut self.rest) {
            return self.repeat(payload?);
        }
        let whole = self.rest;
        let frame = take_frame(&mut self.rest)?;
        self.latest = whole;
        self.can_be_repeated = frame.header.request.is_none();
        Ok(frame)
    }

    fn repeat(&self, payload: &'a [u8]) -> Result<Frame<'a>, FrameFault> {
        if !self.can_be_repeated {
            return Err(FrameFault::NothingToRepeat);
        }
        let mut latest = self.latest;
        take_frame(&mut latest).map(|frame| Frame { payload, ..frame })
    }
}

/// Frames with one header, one behind another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Their header.
    pub header: Header,
    /// How many they are: one at least.
    pub frames: u32,
    /// How many bytes their payloads have together.
    pub payload_bytes: u64,
}

/// The frames of a batch by runs, for who counts them: of frames that repeat a header only the lengths are looked at. A run
/// may be told in several parts.
#[derive(Debug, Clone)]
pub struct Runs<'a>(Frames<'a>);

impl Iterator for Runs<'_> {
    type Item = Result<Run, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let frame = match self.0.next()? {
            Ok(frame) => frame,
            Err(error) => return Some(Err(error)),
        };
        let mut run = Run { header: frame.header, frames: 1, payload_bytes: frame.payload.len() as u64 };
        while let Some(payload) = self.0.next_alike() {
            run.frames += 1;
            run.payload_bytes += payload.len() as u64;
        }
        Some(Ok(run))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || (self.left == 0 && self.rest.is_empty()) {
            return None;
        }
        let offset = self.whole - self.rest.len();
        let result = if self.left == 0 || self.rest.is_empty() {
            Err(FrameFault::WrongCount(self.count))
        } else {
            self.left -= 1;
            self.take()
        };
        self.failed = result.is_err();
        Some(result.map_err(|reason| FrameError { offset, reason }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::edge_queue,
        id::{EdgeId, NodeId, RequestId},
    };

    #[test]
    fn a_long_batch_comes_apart_between_frames_and_numbers_stay() {
        let queue = edge_queue(NodeId(0), EdgeId::HOST);
        let header = Header { request: Some(RequestId(u64::MAX)), ..Header::message(5, queue, queue) };
        let mut whole = Batch::new(Place::edge(EdgeId::HOST), Epoch::FIRST, 5);
        for length in [10, 200, 3, 3, 50] {
            whole.push(&header, &vec![7; length]);
        }
        let payloads = |batch: &Batch| -> Vec<usize> {
            batch.as_ref().frames().map(|frame| frame.expect("frames stay whole").payload.len()).collect()
        };
        let (mut parts, mut rest) = (Vec::new(), whole.clone());
        while let Some(front) = rest.take_front(100) {
            parts.push((front.as_ref().first, payloads(&front)));
        }
        parts.push((rest.as_ref().first, payloads(&rest)));
        assert_eq!(parts, [(5, vec![10]), (6, vec![200]), (7, vec![3, 3]), (9, vec![50])]);
        assert_eq!(whole.take_front(10_000), None);
    }

    #[test]
    fn runs_count_what_frames_are() {
        let queue = edge_queue(NodeId(0), EdgeId::HOST);
        let plain = Header::message(5, queue, queue);
        let asking = Header { request: Some(RequestId(1)), ..plain };
        let mut batch = Batch::new(Place::edge(EdgeId::HOST), Epoch::FIRST, 1);
        for (header, length) in [(plain, 1), (plain, 2), (plain, 200), (plain, 3), (asking, 4), (asking, 5), (plain, 0)]
        {
            batch.push(&header, &vec![7; length]);
        }
        let runs: Vec<_> = batch.as_ref().runs().map(Result::unwrap).collect();
        let counted: Vec<_> = runs.iter().map(|run| (run.header, run.frames, run.payload_bytes)).collect();
        assert_eq!(counted, [(plain, 2, 3), (plain, 2, 203), (asking, 1, 4), (asking, 1, 5), (plain, 1, 0)]);
        let cut = BatchRef { bytes: &batch.as_ref().bytes[..20], ..batch.as_ref() };
        assert_eq!(cut.runs().filter(Result::is_err).count(), 1, "an error is told, once");
    }

    #[test]
    fn what_is_left_behind_the_front_repeats_no_header_of_the_front() {
        let queue = edge_queue(NodeId(0), EdgeId::HOST);
        let header = |of: u8| Header::message(u32::from(of), queue, queue);
        for front_bytes in 1..29 {
            let mut rest = Batch::new(Place::edge(EdgeId::HOST), Epoch::FIRST, 1);
            for (of, payload) in [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5)] {
                rest.push(&header(of), &[payload]);
            }
            let front = rest.take_front(front_bytes).expect("together they have more bytes");
            rest.push(&header(2), &[6]);
            let mut longer = front.clone();
            longer.push(&header(2), &[7]);
            let last = longer.as_ref().frames().last().unwrap().unwrap();
            assert_eq!((last.header, last.payload), (header(2), &[7][..]));
            let both = [front.as_ref(), rest.as_ref()];
            let frames: Vec<_> = both.iter().flat_map(|batch| batch.frames()).map(|frame| frame.unwrap()).collect();
            let read: Vec<_> = frames.iter().map(|frame| (frame.header.type_number, frame.payload[0])).collect();
            assert_eq!(read, [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6)]);
            assert_eq!(rest.as_ref().first, 1 + u64::from(front.as_ref().count));
        }
    }
}
