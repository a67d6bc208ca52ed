//! What a round puts out: frames for other workers and for edges, numbered by the worker for each destination.

use serde::{Deserialize, Serialize};

use crate::{
    codec::EncodeError,
    digest::Digest,
    frame::{Batch, Header, Spelled},
    id::{Epoch, Place},
};

/// The frames of the round under way, by destination, and how far each destination's numbers have come.
#[derive(Debug)]
pub(crate) struct Outputs {
    source: Place,
    epoch: Epoch,
    /// In the order of first use, which is part of the worker's state.
    streams: Vec<Stream>,
    /// The streams that have frames, in the order of their first frame in this round.
    used: Vec<usize>,
    /// The stream that was put into last.
    latest: usize,
}

#[derive(Debug)]
struct Stream {
    to: Place,
    batch: Batch,
}

/// How far the numbers of one destination have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamImage {
    to: Place,
    next: u64,
}

impl Outputs {
    pub(crate) fn new(source: Place, epoch: Epoch, streams: Vec<StreamImage>) -> Outputs {
        let streams = streams
            .into_iter()
            .map(|StreamImage { to, next }| Stream { to, batch: Batch::new(source, epoch, next) })
            .collect();
        Outputs { source, epoch, streams, used: Vec::new(), latest: 0 }
    }

    /// Puts out a frame whose payload `encode` appends. False, and nothing put out, if the payload is too long or
    /// can't be encoded.
    #[inline]
    pub(crate) fn put(
        &mut self,
        to: Place,
        header: &Header,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> bool {
        let at = match self.streams.get(self.latest) {
            Some(stream) if stream.to == to => self.latest,
            _ => self.stream_of(to),
        };
        let batch = &mut self.streams[at].batch;
        let is_first = batch.is_empty();
        let put = batch.put(&Spelled::of(header), encode).is_ok();
        if put && is_first {
            self.used.push(at);
        }
        if !put {
            self.forget_unused();
        }
        put
    }

    /// Puts out a run of frames with one header, which makes no request if they are several. Says how many it put out; as an
    /// error where the payload of the next one is too long or can't be encoded.
    #[inline]
    pub(crate) fn put_run<T>(
        &mut self,
        to: Place,
        header: &Header,
        first: T,
        behind: impl IntoIterator<Item = T>,
        mut encode: impl FnMut(T, &mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<usize, usize> {
        if !self.put(to, header, |out| encode(first, out)) {
            return Err(0);
        }
        let batch = &mut self.streams[self.latest].batch;
        let mut put = 1;
        for next in behind {
            batch.put_again(|out| encode(next, out)).map_err(|_| put)?;
            put += 1;
        }
        Ok(put)
    }

    fn stream_of(&mut self, to: Place) -> usize {
        self.latest = self.streams.iter().position(|stream| stream.to == to).unwrap_or_else(|| {
            self.streams.push(Stream { to, batch: Batch::new(self.source, self.epoch, 1) });
            self.streams.len() - 1
        });
        self.latest
    }

    /// The last stream is for a place that nothing was put out for yet, if it was made for what could not be put out.
    #[cold]
    fn forget_unused(&mut self) {
        self.streams.pop_if(|last| last.batch.as_ref().next_number() == 1);
    }

    /// Takes into the digest what was put out.
    pub(crate) fn digest_into(&self, digest: &mut Digest) {
        for &at in &self.used {
            let Stream { to, batch } = &self.streams[at];
            let frames = batch.as_ref();
            digest.mix(u64::from(to.to_bits()));
            digest.mix(frames.first);
            digest.mix_bytes(frames.bytes);
        }
    }

    /// Hands over each destination's frames. The receiver may swap the batch for another, whose buffer is used next.
    pub(crate) fn drain(&mut self, mut put: impl FnMut(Place, &mut Batch)) {
        for at in self.used.drain(..) {
            let Stream { to, batch } = &mut self.streams[at];
            let next = batch.as_ref().next_number();
            put(*to, batch);
            batch.reset(self.source, self.epoch, next);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    /// The places that frames were put out for, now or earlier.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = Place> + '_ {
        self.streams.iter().map(|stream| stream.to)
    }

    pub(crate) fn image(&self) -> Vec<StreamImage> {
        self.streams.iter().map(|stream| StreamImage { to: stream.to, next: stream.batch.as_ref().first }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{NodeId, RawQueueId, WorkerId};

    #[test]
    fn what_cannot_be_encoded_makes_no_destination() {
        let place = |worker| Place::worker(WorkerId(worker));
        let mut outputs = Outputs::new(place(0), Epoch::FIRST, Vec::new());
        let mut put = |worker, payload: Result<(), EncodeError>| {
            let [from, to] = [0, worker].map(|worker| RawQueueId::new(NodeId(0), place(worker), 0, 1));
            outputs.put(to.place(), &Header::message(0, to, from), |_| payload)
        };
        assert!(put(1, Ok(())));
        assert!(!put(2, Err(EncodeError::NestingTooDeep)));
        assert!(put(3, Ok(())));
        assert!(!put(1, Err(EncodeError::NestingTooDeep)));
        assert_eq!(outputs.destinations().collect::<Vec<_>>(), [place(1), place(3)]);
    }
}
