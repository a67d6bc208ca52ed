//! A worker's image for who knows the program that wrote it by its journal's table alone: the same bytes as
//! [`image`](super::image) reads, with every value left as bytes, for a printer.
//!
//! Nothing is restored, so nothing is checked but that the bytes can be read: what a worker would refuse is shown.

use super::{
    CellView, Counters, ImageError, WorkerConfig,
    envelope::Claim,
    image::{CellImage, Image},
    waiting_image::{BeatImage, EnvelopeImage, ExtrasImage, FiredImage, TimerImage, WaitingImage},
};
use crate::{
    codec::DecodeError,
    fsm::TimerName,
    id::{Epoch, NodeId, Place, RawQueueId, RequestId, WorkerId},
    schema::Printer,
    time::Time,
};

/// Everything that a worker was when it was snapshot, to look at without its kinds.
pub struct ImageView(Image);

impl ImageView {
    /// Reads an image.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn read(bytes: &[u8]) -> Result<ImageView, ImageError> {
        Image::read(bytes).map(ImageView)
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.head.node
    }

    /// The worker.
    #[must_use]
    pub fn worker(&self) -> WorkerId {
        self.0.head.worker
    }

    /// The epoch in which it was started.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.head.epoch
    }

    /// The last round that it had run.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.0.head.round
    }

    /// The time of its last batch.
    #[must_use]
    pub fn now(&self) -> Time {
        self.0.head.now
    }

    /// What shapes it.
    #[must_use]
    pub fn config(&self) -> &WorkerConfig {
        &self.0.head.config
    }

    /// What it had counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.0.rest.counters
    }

    /// Its FSMs, in the order of their slots.
    #[must_use]
    pub fn fsms(&self) -> impl ExactSizeIterator<Item = FsmView<'_>> {
        self.0.cells.iter().map(|cell| {
            let queue =
                RawQueueId::new(self.0.head.node, Place::worker(self.0.head.worker), cell.slot, cell.generation);
            FsmView { queue, cell }
        })
    }
}

/// One FSM of an image.
#[derive(Clone, Copy)]
pub struct FsmView<'a> {
    queue: RawQueueId,
    cell: &'a CellImage,
}

impl<'a> FsmView<'a> {
    /// Its queue.
    #[must_use]
    pub fn queue(&self) -> RawQueueId {
        self.queue
    }

    /// The number of its kind.
    #[must_use]
    pub fn kind(&self) -> u32 {
        self.cell.kind
    }

    /// All that it is, beside what waits for it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        &self.cell.bytes.0
    }

    /// The same taken apart, by printers of its kind's data and states.
    ///
    /// # Errors
    /// When the bytes don't fit, or the data or the state is of an opaque type: then nobody but its program knows where it ends.
    pub fn cell(&self, data: &Printer, state: &Printer) -> Result<CellView<'a>, DecodeError> {
        CellView::read(self.bytes(), data, state)
    }

    /// The messages that wait for it: those that come first, those in the queue in their order, and those that are postponed.
    pub fn waiting(&self) -> impl Iterator<Item = WaitingView<'a>> {
        let WaitingImage { queue, .. } = &self.cell.waiting;
        let extras = self.extras();
        let envelopes = |how, list: Option<&'a Vec<EnvelopeImage>>| {
            list.into_iter().flatten().map(move |envelope| WaitingView::of_envelope(how, envelope))
        };
        let fired = |how, list: Option<&'a Vec<FiredImage>>| {
            list.into_iter().flatten().map(move |fired| WaitingView::of_timer(how, fired))
        };
        envelopes(Waits::Ahead, extras.map(|extras| &extras.ahead))
            .chain(fired(Waits::Fired, extras.map(|extras| &extras.fired)))
            .chain(envelopes(Waits::Queued, Some(queue)))
            .chain(envelopes(Waits::Postponed, extras.map(|extras| &extras.postponed)))
            .chain(fired(Waits::PostponedFired, extras.map(|extras| &extras.postponed_fired)))
    }

    /// Its timers that have yet to fire.
    pub fn timers(&self) -> impl Iterator<Item = TimerView<'a>> {
        self.extras().into_iter().flat_map(|extras| &extras.timers).map(|image| {
            let TimerImage { name, deadline, what, .. } = image;
            let (period_ns, message) = match what {
                BeatImage::Once(message) => (None, message),
                BeatImage::Every { period_ns, message } => (Some(*period_ns), message),
            };
            TimerView { name: TimerLabel::of(name), deadline: *deadline, period_ns, message: &message.0 }
        })
    }

    /// Its requests that have no answer yet.
    pub fn requests(&self) -> impl Iterator<Item = RequestView> + use<'a> {
        self.extras().into_iter().flat_map(|extras| &extras.pending).map(|pending| RequestView {
            request: pending.request,
            deadline: pending.key.deadline,
            answer: pending.answer,
        })
    }

    /// The queues that it monitors.
    #[must_use]
    pub fn watched(&self) -> &'a [RawQueueId] {
        self.extras().map_or(&[], |extras| &extras.watched)
    }

    fn extras(&self) -> Option<&'a ExtrasImage> {
        self.cell.waiting.extras.as_deref()
    }
}

/// Where a message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waits {
    /// Ahead of all others: the FSM sent it to itself.
    Ahead,
    /// In turn with the queue: a timer's.
    Fired,
    /// In the queue.
    Queued,
    /// Until the state changes.
    Postponed,
    /// Likewise, and a timer's.
    PostponedFired,
}

/// A message that waits for an FSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingView<'a> {
    /// Where.
    pub how: Waits,
    /// Who sent it; nobody, if it is a timer's.
    pub sender: Option<RawQueueId>,
    /// The request to which the sender waits for an answer.
    pub asks: Option<RequestId>,
    /// The FSM's own request of which it is the outcome.
    pub answers: Option<RequestId>,
    /// The timer, if it is a timer's, and how many beats it stands for.
    pub timer: Option<(TimerLabel<'a>, u64)>,
    /// A value of the kind's message type.
    pub message: &'a [u8],
}

impl<'a> WaitingView<'a> {
    fn of_envelope(how: Waits, image: &'a EnvelopeImage) -> WaitingView<'a> {
        let answers = if let Claim::Outcome(request) = image.claim { Some(request) } else { None };
        let (sender, asks) = (Some(image.sender), image.claim.request());
        WaitingView { how, sender, asks, answers, timer: None, message: &image.message.0 }
    }

    fn of_timer(how: Waits, image: &'a FiredImage) -> WaitingView<'a> {
        let timer = Some((TimerLabel::of(&image.name), image.beats));
        WaitingView { how, sender: None, asks: None, answers: None, timer, message: &image.message.0 }
    }
}

/// What a timer goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerLabel<'a> {
    /// The state's timeout.
    State,
    /// A name of the user's.
    Named(&'a str),
    /// Its number alone.
    Unnamed,
}

impl<'a> TimerLabel<'a> {
    fn of(name: &'a TimerName) -> TimerLabel<'a> {
        match name {
            TimerName::State => TimerLabel::State,
            TimerName::Named(name) => TimerLabel::Named(name),
            TimerName::Unnamed => TimerLabel::Unnamed,
        }
    }
}

/// A timer that has yet to fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerView<'a> {
    /// What it goes by.
    pub name: TimerLabel<'a>,
    /// When it fires.
    pub deadline: Time,
    /// For a periodic one, the time between two beats.
    pub period_ns: Option<u64>,
    /// A value of the kind's message type.
    pub message: &'a [u8],
}

/// A request that has no answer yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestView {
    /// Its number.
    pub request: RequestId,
    /// When the FSM stops waiting.
    pub deadline: Time,
    /// The number of the answer's message type.
    pub answer: u32,
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{
        Catalogue, Context, Fsm, Kinds, Next, QueueId, Reply,
        codec::{Codec, Trust},
        frame::{Batch, Class, Header, edge_queue},
        id::EdgeId,
        worker::Worker,
    };

    #[derive(Serialize, Deserialize)]
    struct Hoarder {
        name: String,
        kept: Vec<u8>,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    enum Mood {
        Greedy { since: Time },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Thing {
        Keep(u8),
        Later(u8),
        Told(Reply<u64>),
    }

    impl From<Reply<u64>> for Thing {
        fn from(reply: Reply<u64>) -> Thing {
            Thing::Told(reply)
        }
    }

    impl Fsm for Hoarder {
        const NAME: &'static str = "hoarder";
        const ON_PANIC: crate::OnPanic = crate::OnPanic::Restart { budget: 1 };
        type State = Mood;
        type Message = Thing;

        fn start(&mut self, cx: &mut Context<'_, Self>) -> Mood {
            cx.timer("once", Duration::from_secs(1), Thing::Later(1));
            cx.every("beat", Duration::from_secs(2), Thing::Later(2));
            cx.state_timeout(Duration::from_secs(3), Thing::Later(3));
            let other = RawQueueId::new(NodeId(0), Place::edge(EdgeId(9)), 3, 1);
            cx.request(QueueId::<u8>::from_raw(other), Duration::from_secs(4), |_: crate::ReplyTo<u64>| 7);
            Mood::Greedy { since: cx.now() }
        }

        fn handle(&mut self, _: Mood, thing: Thing, _: &mut Context<'_, Self>) -> Next<Self> {
            match thing {
                Thing::Keep(thing) => self.kept.push(thing),
                other => return Next::Postpone(other),
            }
            Next::Stay
        }
    }

    struct NoPorts;
    impl crate::Externals for NoPorts {
        fn read(&mut self, _: WorkerId, _: &str, _: &[u8]) -> Result<Vec<u8>, crate::ExternalFault> {
            Err(crate::ExternalFault("there are no ports".to_owned()))
        }
    }

    fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> T {
        Codec::CURRENT.decode(bytes, Trust::Node).expect("the bytes are of that type")
    }

    /// The image of a worker whose FSM has kept one thing, postponed one, and has two before it.
    fn image() -> (Arc<Catalogue>, Vec<u8>) {
        let kinds = Kinds::new().with::<Hoarder>().message::<u8>().replies::<Thing, u64>();
        let catalogue = kinds.seal().expect("the kind is plain");
        let things = catalogue.type_number::<Thing>().expect("the kind takes it");
        let mut worker = Worker::new(catalogue.clone(), NodeId(0), WorkerId(2), Epoch::FIRST, WorkerConfig::default());
        let edge = edge_queue(NodeId(0), EdgeId::HOST);
        let queue = |slot, generation| RawQueueId::new(NodeId(0), Place::worker(WorkerId(2)), slot, generation);
        let mut batch = Batch::new(edge.place(), Epoch::FIRST, 1);
        let mut bytes = vec![0];
        let hoarder = Hoarder { name: "smaug".to_owned(), kept: vec![] };
        Codec::CURRENT.encode(&hoarder, &mut bytes).expect("a text");
        batch.push(&Header::to(Class::Spawn, 0, queue(0, 0), edge), &bytes);
        for thing in [Thing::Keep(1), Thing::Later(4), Thing::Keep(5), Thing::Later(6)] {
            bytes.clear();
            Codec::CURRENT.encode(&thing, &mut bytes).expect("a number");
            batch.push(&Header::message(things, queue(0, 1), edge), &bytes);
        }
        worker.feed(Time::from_nanos(9), [batch.as_ref()]);
        assert!(!worker.round(3, &mut NoPorts).idle, "two messages are left");
        worker.drain_outputs(|_, _| {});
        let mut image = Vec::new();
        worker.snapshot(&mut image).expect("a hoarder can be encoded");
        (catalogue, image)
    }

    #[test]
    fn everything_of_an_fsm_is_there_for_who_has_only_the_table() {
        let (catalogue, bytes) = image();
        let image = ImageView::read(&bytes).expect("it was just written");
        assert_eq!((image.worker(), image.round(), image.counters().handled), (WorkerId(2), 1, 3));
        let fsm = image.fsms().next().expect("there is one");
        assert_eq!((image.fsms().len(), fsm.queue().to_string(), fsm.kind()), (1, "w2/0.1".to_owned(), 0));

        let kind = &catalogue.table().kinds[0];
        let (data, state) = (kind.value.printer(), kind.state.printer());
        let cell = fsm.cell(&data, &state).expect("both are traced");
        assert_eq!(data.text(cell.data, 100), r#"Hoarder { name: "smaug", kept: [1] }"#);
        assert_eq!(cell.state.map(|bytes| state.text(bytes, 100)).as_deref(), Some("Greedy { since: Time(9) }"));
        let start_value = cell.start_value.expect("the kind is restarted");
        assert_eq!(data.text(&start_value, 100), r#"Hoarder { name: "smaug", kept: [] }"#);
        assert_eq!((cell.requests, cell.restarts), (1, 0));

        let waiting: Vec<_> = fsm.waiting().map(|it| (it.how, it.sender.is_some(), decode(it.message))).collect();
        let expected =
            [(Waits::Queued, Thing::Keep(5)), (Waits::Queued, Thing::Later(6)), (Waits::Postponed, Thing::Later(4))];
        assert_eq!(waiting, expected.map(|(how, thing)| (how, true, thing)));
        let timers: Vec<_> =
            fsm.timers().map(|it| (it.name, it.deadline.as_nanos(), it.period_ns, decode(it.message))).collect();
        let second = 1_000_000_000;
        assert_eq!(
            timers,
            [
                (TimerLabel::Named("once"), 9 + second, None, Thing::Later(1)),
                (TimerLabel::Named("beat"), 9 + 2 * second, Some(2 * second), Thing::Later(2)),
                (TimerLabel::State, 9 + 3 * second, None, Thing::Later(3)),
            ]
        );
        let requests: Vec<_> = fsm.requests().map(|it| (it.request.0, it.deadline.as_nanos())).collect();
        assert_eq!(requests, [(1, 9 + 4 * second)]);
    }

    #[test]
    fn bytes_that_are_no_cell_are_refused_wherever_they_end() {
        let (catalogue, bytes) = image();
        let image = ImageView::read(&bytes).expect("it was just written");
        let cell = image.fsms().next().expect("there is one").bytes();
        let kind = &catalogue.table().kinds[0];
        let (data, state) = (kind.value.printer(), kind.state.printer());
        for end in 0..cell.len() {
            assert!(CellView::read(&cell[..end], &data, &state).is_err(), "{end}");
        }
        assert!(CellView::read(cell, &Printer::new(r#"{"opaque":"Hoarder"}"#), &state).is_err());
        (0..bytes.len()).for_each(|end| assert!(ImageView::read(&bytes[..end]).is_err(), "{end}"));
    }
}
