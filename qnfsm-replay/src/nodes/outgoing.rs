//! What nodes have put out for their edges, in a window of so many bytes, and which of it a frame is that came into another node.
//!
//! A frame that entered a node says who sent it. That sender's node put it out for a queue of an edge of its own, which stands for the queue that it
//! was for; from one sender to one queue order is kept, whatever else was lost on the way, doubled, or put out before the journal begins.
//! So the outputs of a sender for one queue of an edge are a *stream*, and the frames from it to one queue of another node are found in one
//! stream, one behind another, each by its class, the name of its type and its bytes. The stream is told by the first of them. Where bytes
//! don't tell several outputs apart, none is named.
//!
//! All of it is bounded by the window's bytes. Of a sender and a queue of which nothing is remembered any more, the stream that was found
//! stays known, for so many of them as a quarter of the window holds; beyond that it goes, for those first that were silent for
//! longest. If the sender goes on after all, its stream is told anew, by the next of its frames.

use std::collections::{BTreeMap, VecDeque};

use qnfsm::{Digest, Place, RawQueueId, frame::Class};

use super::{Sending, Whence};

/// How far from where it is expected a frame is looked for among the outputs of a stream, in frames.
const LOOK_MAX: u64 = 1024;
/// After how many further outputs of a stream a frame that it showed before, and not again, is one that came twice.
const TELLING: u64 = 64;
/// About what a stream takes of which only is known what it stands for, with its places in the maps, in bytes.
const SILENT_BYTES: usize = 256;
/// How many of these are remembered even in the smallest window.
const SILENT_MIN: usize = 16;

/// What a frame is, by which it is told from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    class: Class,
    /// The number of the name of its message type or kind among those of all nodes.
    of: u32,
    hash: u64,
    payload: Box<[u8]>,
}

impl Content {
    pub(super) fn new(class: Class, of: u32, payload: &[u8]) -> Content {
        Content { class, of, hash: Digest::of(payload), payload: payload.into() }
    }
}

/// A frame that entered a node, from another one.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) source: Place,
    pub(super) number: u64,
    pub(super) sender: RawQueueId,
    pub(super) target: RawQueueId,
    pub(super) content: Content,
}

/// A frame that a node put out for an edge.
#[derive(Debug)]
struct Output {
    content: Content,
    sending: Sending,
    is_taken: bool,
}

/// What one sender put out for one queue of an edge.
#[derive(Debug, Default)]
struct Stream {
    /// How many of its outputs were forgotten.
    base: u64,
    outputs: VecDeque<Output>,
    /// The queue of another node that the edge's queue stands for, once it is told.
    stands_for: Option<RawQueueId>,
}

impl Stream {
    fn at(&self, index: u64) -> Option<&Output> {
        self.outputs.get(usize::try_from(index.checked_sub(self.base)?).ok()?)
    }

    fn end(&self) -> u64 {
        self.base + self.outputs.len() as u64
    }

    /// The last output before that place that a frame may be.
    fn behind(&self, content: &Content, before: u64) -> Option<u64> {
        let first = self.base.max(before.saturating_sub(LOOK_MAX));
        (first..before).rev().find(|index| self.at(*index).is_some_and(|output| output.content == *content))
    }

    /// The first output from that place on.
    fn ahead(&self, content: &Content, from: u64) -> Option<u64> {
        let end = self.end().min(from.saturating_add(LOOK_MAX));
        (from..end).find(|index| self.at(*index).is_some_and(|output| output.content == *content))
    }

    /// The first output that nobody was given.
    fn first_left(&self, content: &Content) -> Option<u64> {
        let mut outputs = (self.base..).zip(&self.outputs);
        outputs.find(|(_, output)| !output.is_taken && output.content == *content).map(|(index, _)| index)
    }

    fn take(&mut self, index: u64) -> Option<Sending> {
        let at = usize::try_from(index.checked_sub(self.base)?).ok()?;
        let output = self.outputs.get_mut(at)?;
        output.is_taken = true;
        Some(output.sending)
    }
}

/// Where the frames of one sender to one queue of another node are found.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// The edge's queue.
    by: RawQueueId,
    /// The place in its stream that is expected next.
    next: u64,
}

/// Why what a frame is may never be put out, the likeliest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    /// It was, and the frame came twice.
    Doubled,
    /// It was before the journal begins.
    Before,
    /// Something else was, in its place.
    Other,
    /// There is no reason.
    Unknown,
}

/// Of what stream an output is, and how much of the window it takes.
type Remembered = (RawQueueId, RawQueueId, usize);

/// The outputs of all nodes that may yet be found to have entered another.
#[derive(Debug)]
pub(super) struct Outgoing {
    streams: BTreeMap<RawQueueId, BTreeMap<RawQueueId, Stream>>,
    found: BTreeMap<(RawQueueId, RawQueueId), Found>,
    /// The streams of all that is remembered, in the order in which it was put out, with its bytes.
    order: VecDeque<Remembered>,
    /// The streams that are told and of which nothing is remembered, in the order in which they came to that, each with how many of its
    /// outputs were forgotten then: it is silent since, if it still has that many and no more.
    silent: VecDeque<(RawQueueId, RawQueueId, u64)>,
    bytes: usize,
    bytes_max: usize,
    /// How many bytes of outputs there were in all.
    pub(super) bytes_ever: u64,
    /// How many outputs went before anyone was given them, because there was no room.
    pub(super) forgotten: u64,
    /// How many outputs were passed over by later ones of their stream.
    pub(super) lost: u64,
}

impl Outgoing {
    pub(super) fn new(bytes_max: usize) -> Outgoing {
        Outgoing {
            streams: BTreeMap::new(),
            found: BTreeMap::new(),
            order: VecDeque::new(),
            silent: VecDeque::new(),
            bytes: 0,
            bytes_max,
            bytes_ever: 0,
            forgotten: 0,
            lost: 0,
        }
    }

    /// A node put that out, for a queue of an edge of its own.
    pub(super) fn put(&mut self, sender: RawQueueId, by: RawQueueId, content: Content, sending: Sending) {
        let bytes = size_of::<Output>() + size_of::<Remembered>() + content.payload.len();
        let stream = self.streams.entry(sender).or_default().entry(by).or_default();
        stream.outputs.push_back(Output { content, sending, is_taken: false });
        self.order.push_back((sender, by, bytes));
        self.bytes += bytes;
        self.bytes_ever += bytes as u64;
        while self.bytes > self.bytes_max {
            let Some((sender, by, bytes)) = self.order.pop_front() else { break };
            self.bytes -= bytes;
            self.forget_first(sender, by);
        }
    }

    fn forget_first(&mut self, sender: RawQueueId, by: RawQueueId) {
        let Some(streams) = self.streams.get_mut(&sender) else { return };
        let Some(stream) = streams.get_mut(&by) else { return };
        stream.base += 1;
        let output = stream.outputs.pop_front();
        self.forgotten += u64::from(output.is_some_and(|output| !output.is_taken));
        if stream.outputs.len() < stream.outputs.capacity() / 4 {
            // One that was long once, of many, would hold more than the window in the end.
            stream.outputs.shrink_to(stream.outputs.len() * 2);
        }
        if !stream.outputs.is_empty() {
            return;
        }
        if stream.stands_for.is_none() {
            self.forget_stream(sender, by);
            return;
        }
        self.silent.push_back((sender, by, stream.base));
        if self.silent.len() > self.silent_max()
            && let Some((sender, by, base)) = self.silent.pop_front()
            && self.stream(sender, by).is_some_and(|stream| stream.outputs.is_empty() && stream.base == base)
        {
            self.forget_stream(sender, by);
        }
    }

    /// Of how many streams that are silent it is remembered what they stand for.
    fn silent_max(&self) -> usize {
        (self.bytes_max / 4 / SILENT_BYTES).max(SILENT_MIN)
    }

    /// Forgets a stream, and that the frames from its sender are found there.
    fn forget_stream(&mut self, sender: RawQueueId, by: RawQueueId) {
        let Some(streams) = self.streams.get_mut(&sender) else { return };
        let target = streams.remove(&by).and_then(|stream| stream.stands_for);
        if streams.is_empty() {
            self.streams.remove(&sender);
        }
        // A place in a stream that begins anew would be another output's.
        if let Some(pair) = target.map(|target| (sender, target))
            && self.found.get(&pair).is_some_and(|found| found.by == by)
        {
            self.found.remove(&pair);
        }
    }

    /// How many streams and pairs are known.
    #[cfg(test)]
    pub(super) fn known(&self) -> (usize, usize) {
        (self.streams.values().map(BTreeMap::len).sum(), self.found.len())
    }

    /// For how many outputs the streams have room.
    #[cfg(test)]
    pub(super) fn outputs_room(&self) -> usize {
        self.streams.values().flat_map(BTreeMap::values).map(|stream| stream.outputs.capacity()).sum()
    }

    /// Where a frame comes from; none, if what is yet to be played may tell, and `waits`.
    pub(super) fn whence(&mut self, frame: &Incoming, waits: bool) -> Option<Whence> {
        match self.found.get(&(frame.sender, frame.target)).copied() {
            Some(found) => self.within(frame, found, waits),
            None => self.first(frame, waits),
        }
    }

    /// Why a frame that waits may wait in vain. Of its sender's journal the beginning was given up, if it `is_cut`.
    pub(super) fn doubt(&self, frame: &Incoming, is_cut: bool) -> Doubt {
        let found = self.found.get(&(frame.sender, frame.target));
        let Some((found, stream)) = found.and_then(|found| Some((found, self.stream(frame.sender, found.by)?))) else {
            return if is_cut { Doubt::Before } else { Doubt::Unknown };
        };
        match stream.behind(&frame.content, found.next) {
            Some(_) => Doubt::Doubled,
            None if found.next < stream.end() => Doubt::Other,
            None => Doubt::Unknown,
        }
    }

    fn stream(&self, sender: RawQueueId, by: RawQueueId) -> Option<&Stream> {
        self.streams.get(&sender)?.get(&by)
    }

    /// Of a frame whose stream is told.
    fn within(&mut self, frame: &Incoming, found: Found, waits: bool) -> Option<Whence> {
        let Some(stream) = self.streams.get(&frame.sender).and_then(|streams| streams.get(&found.by)) else {
            return self.first(frame, waits);
        };
        let next = found.next.max(stream.base);
        let ahead = stream.ahead(&frame.content, next);
        if ahead == Some(next) {
            return Some(self.give(frame, found.by, next));
        }
        match (stream.behind(&frame.content, next), ahead) {
            (Some(_), Some(_)) => Some(Whence::Alike),
            (None, Some(index)) => {
                self.lost += index - next;
                Some(self.give(frame, found.by, index))
            }
            (Some(index), None) if stream.end() - next >= TELLING || !waits => {
                let output = stream.at(index).expect("it was found there");
                Some(Whence::Doubled(output.sending))
            }
            _ => self.renamed(frame, found.by).or_else(|| if waits { None } else { self.first(frame, false) }),
        }
    }

    /// An edge's queue may have another name after a restart: the same place and slot, and another generation.
    fn renamed(&mut self, frame: &Incoming, before: RawQueueId) -> Option<Whence> {
        let streams = self.streams.get(&frame.sender)?;
        let is_next = |(by, stream): &(&RawQueueId, &Stream)| {
            let is_same = (by.place(), by.slot()) == (before.place(), before.slot());
            is_same && stream.stands_for.is_none() && stream.first_left(&frame.content) == Some(stream.base)
        };
        let by = *streams.iter().find(is_next)?.0;
        let base = streams[&by].base;
        Some(self.give(frame, by, base))
    }

    /// Of the first frame from a sender to a queue: which stream it is.
    fn first(&mut self, frame: &Incoming, waits: bool) -> Option<Whence> {
        let unknown = if waits { None } else { Some(Whence::NotShown) };
        let Some(streams) = self.streams.get_mut(&frame.sender) else { return unknown };
        let is_free = |stream: &Stream| stream.stands_for.is_none_or(|target| target == frame.target);
        let may_be: Vec<(RawQueueId, u64, u64)> = streams
            .iter()
            .filter(|(_, stream)| is_free(stream))
            .filter_map(|(by, stream)| {
                let index = stream.first_left(&frame.content)?;
                Some((*by, index, stream.at(index)?.sending.ordinal))
            })
            .collect();
        let is_of_seat =
            |by: RawQueueId| (by.slot(), by.generation()) == (frame.target.slot(), frame.target.generation());
        let of_seat: Vec<_> = may_be.iter().filter(|(by, ..)| is_of_seat(*by)).collect();
        match (&of_seat[..], &may_be[..]) {
            (&[&(by, index, _)], _) | (_, &[(by, index, _)]) => Some(self.give(frame, by, index)),
            (_, []) => unknown,
            // A handler that tells several the same: whichever it is, this is where it comes from.
            (_, &[(by, index, first), ..]) if may_be.iter().all(|(.., ordinal)| *ordinal == first) => {
                Some(self.give(frame, by, index))
            }
            _ => Some(Whence::Alike),
        }
    }

    /// The frame is that output.
    fn give(&mut self, frame: &Incoming, by: RawQueueId, index: u64) -> Whence {
        let stream = self.streams.get_mut(&frame.sender).and_then(|streams| streams.get_mut(&by));
        let Some((stream, sending)) = stream.and_then(|stream| stream.take(index).map(|sending| (stream, sending)))
        else {
            return Whence::NotShown;
        };
        stream.stands_for = Some(frame.target);
        self.found.insert((frame.sender, frame.target), Found { by, next: index + 1 });
        Whence::Sent(sending)
    }
}
