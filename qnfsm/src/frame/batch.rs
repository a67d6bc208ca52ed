//! Frames one behind another, from one source, numbered without gaps: what enters a worker together.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};

use super::{
    Frame, FrameError, FrameFault, Header, Spelled, Unput,
    spelling::{Likeness, put_frame, take_alike, take_frame},
};
use crate::id::{Epoch, Place};

/// Frames from one source to one worker or edge, with the number of the first. The buffer is meant to be used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    source: Place,
    epoch: Epoch,
    first: u64,
    count: u32,
    bytes: Vec<u8>,
}

impl Batch {
    /// An empty batch whose first frame will have the number `first`.
    #[must_use]
    pub fn new(source: Place, epoch: Epoch, first: u64) -> Batch {
        Batch { source, epoch, first, count: 0, bytes: Vec::new() }
    }

    /// Empties it for other frames and keeps the buffer.
    pub fn reset(&mut self, source: Place, epoch: Epoch, first: u64) {
        self.source = source;
        self.epoch = epoch;
        self.first = first;
        self.count = 0;
        self.bytes.clear();
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
        let mut rest = &self.bytes[..];
        let (mut count, mut taken) = (0, 0);
        while take_frame(&mut rest).is_ok() {
            let end = self.bytes.len() - rest.len();
            if count > 0 && end > bytes_max {
                break;
            }
            (count, taken) = (count + 1, end);
        }
        if count == 0 || count >= self.count {
            return None;
        }
        let front = Batch { count, bytes: self.bytes.drain(..taken).collect(), ..*self };
        self.first += u64::from(count);
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
        }
    }

    /// The batch without its first `count` frames, which its receiver has seen already.
    ///
    /// # Errors
    /// When the bytes are not the frames that the batch says it has.
    pub fn skip(self, count: u32) -> Result<BatchRef<'a>, FrameError> {
        let mut frames = self.frames();
        for _ in 0..count.min(self.count) {
            frames.next().transpose()?;
        }
        let skipped = count.min(self.count);
        Ok(BatchRef {
            first: self.first.saturating_add(u64::from(skipped)),
            count: self.count - skipped,
            bytes: frames.rest,
            ..self
        })
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
    /// The last frame's header, as it is spelled.
    latest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// The payload of the next frame, if it is short and has the same header as the last one, which made no request.
    /// Otherwise nothing is taken. Most messages between workers come in such runs, and their headers need no reading.
    #[inline]
    pub(crate) fn next_alike(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let payload = take_alike(&mut self.rest, Likeness::of(self.latest)?)?;
        self.left -= 1;
        Some(payload)
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
            let whole = self.rest;
            let frame = take_frame(&mut self.rest);
            let after_header = frame.as_ref().map_or(whole.len(), |frame| self.rest.len() + frame.payload.len());
            self.latest = &whole[..whole.len() - after_header];
            frame
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
}
