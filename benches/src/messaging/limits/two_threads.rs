//! Channels between two threads, bare: typed messages, and a loop at each end.

use std::{collections::VecDeque, hint::black_box, ops::ControlFlow, thread};

use crossbeam_channel::{Receiver, bounded, unbounded};

use super::{
    super::{
        case::Case,
        lap::Course,
        message::Payload,
        roles::{self, Acknowledged, Arrivals, BURST, Hub, Pinger, RING, Sink, Then},
    },
    bare, broken, not_measured,
};
use crate::plan::Failure;

/// How many messages fit into a bounded channel.
const CAPACITY: usize = 4096;
/// How often a spinning end looks before it lets other threads have the core.
const SPINS: u32 = 64;

/// One end of a channel.
pub trait Put<T>: Send + 'static {
    /// Puts a value in, and waits for room if it must. False if the other end is gone.
    fn put(&mut self, value: T) -> bool;
}

/// The other end.
pub trait Take<T>: Send + 'static {
    /// Waits for a value. Nothing if the other end is gone.
    fn take(&mut self) -> Option<T>;
}

/// A kind of channel.
pub trait Channel {
    /// Makes one.
    fn pair<T: Send + 'static>() -> (impl Put<T>, impl Take<T>);
}

/// crossbeam-channel without a bound.
pub struct Unbounded;
/// crossbeam-channel, bounded.
pub struct Bounded;
/// A ring of that crate's.
pub struct Rtrb;

impl Channel for Unbounded {
    fn pair<T: Send + 'static>() -> (impl Put<T>, impl Take<T>) {
        unbounded()
    }
}

impl Channel for Bounded {
    fn pair<T: Send + 'static>() -> (impl Put<T>, impl Take<T>) {
        bounded(CAPACITY)
    }
}

impl Channel for Rtrb {
    fn pair<T: Send + 'static>() -> (impl Put<T>, impl Take<T>) {
        rtrb::RingBuffer::new(CAPACITY)
    }
}

impl<T: Send + 'static> Put<T> for crossbeam_channel::Sender<T> {
    fn put(&mut self, value: T) -> bool {
        self.send(value).is_ok()
    }
}

impl<T: Send + 'static> Take<T> for Receiver<T> {
    fn take(&mut self) -> Option<T> {
        self.recv().ok()
    }
}

impl<T: Send + 'static> Put<T> for rtrb::Producer<T> {
    fn put(&mut self, mut value: T) -> bool {
        let mut spins = 0;
        while let Err(rtrb::PushError::Full(back)) = self.push(value) {
            if self.is_abandoned() {
                return false;
            }
            value = back;
            spin(&mut spins);
        }
        true
    }
}

impl<T: Send + 'static> Take<T> for rtrb::Consumer<T> {
    fn take(&mut self) -> Option<T> {
        let mut spins = 0;
        loop {
            match self.pop() {
                Ok(value) => return Some(value),
                Err(_) if self.is_abandoned() => return self.pop().ok(),
                Err(_) => spin(&mut spins),
            }
        }
    }
}

fn spin(spins: &mut u32) {
    *spins += 1;
    if spins.is_multiple_of(SPINS) {
        thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

/// The loops for a case.
///
/// # Errors
/// When the case isn't measured with that kind of channel.
pub fn course<C: Channel, P: Payload>(case: Case) -> Result<Box<dyn Course>, Failure> {
    match case {
        Case::PingPong => Ok(ping_pong::<C, P>()),
        Case::FanIn(senders) => Ok(fan_in::<C, P>(senders)),
        Case::Ring(tokens) => Ok(ring::<C, P>(tokens)),
        Case::FanOut(receivers) => Ok(fan_out::<C, P>(receivers)),
        Case::Spawn | Case::SpawnMemory => not_measured(case),
    }
}

fn ping_pong<C: Channel, P: Payload>() -> Box<dyn Course> {
    let (mut there, mut pings) = C::pair::<P>();
    let (mut back, mut pongs) = C::pair::<P>();
    thread::spawn(move || while pings.take().is_some_and(|ping| back.put(roles::pong(&ping))) {});
    let mut pinger = Pinger::default();
    bare(move |rounds| {
        there.put(pinger.begin(rounds));
        loop {
            match pinger.take(&pongs.take().ok_or_else(broken)?) {
                ControlFlow::Continue(next) => there.put(next),
                ControlFlow::Break(received) => return Ok(received),
            };
        }
    })
}

fn fan_in<C: Channel, P: Payload>(senders: u32) -> Box<dyn Course> {
    let (begin, laps) = unbounded::<u32>();
    let (mut put, mut take) = C::pair::<P>();
    thread::spawn(move || {
        for bursts in laps {
            for burst in 0..bursts {
                for (sender, number) in (0..senders).flat_map(|sender| (0..BURST).map(move |number| (sender, number))) {
                    put.put(P::new(sender, burst * BURST + number));
                }
            }
        }
    });
    let mut sink = Sink::default();
    bare(move |bursts| {
        sink.begin(senders, bursts);
        begin.send(bursts)?;
        loop {
            if let Then::Done(received) = sink.take(&take.take().ok_or_else(broken)?) {
                return Ok(received);
            }
        }
    })
}

/// A token and the place that it comes to; [`RING`] for one that has arrived.
type Placed<P> = (usize, P);

/// A thread's half of the ring: as on one thread, each hop goes through a queue.
pub(super) struct Half<P> {
    number: usize,
    queue: VecDeque<Placed<P>>,
    taken: Vec<u64>,
}

impl<P: Payload> Half<P> {
    pub(super) fn new(number: usize) -> Half<P> {
        Half { number, queue: VecDeque::new(), taken: vec![0; RING as usize] }
    }

    /// Lets a token go on as long as it stays in this half. Where it comes to then.
    pub(super) fn walk(&mut self, placed: Placed<P>) -> Placed<P> {
        let mut at = placed;
        while at.0 / (RING as usize / 2) == self.number {
            self.queue.push_back(at);
            let Some((place, token)) = black_box(&mut self.queue).pop_front() else { return at };
            self.taken[place] += 1;
            at = match roles::hop(&token) {
                Some(token) => ((place + 1) % RING as usize, token),
                None => (RING as usize, token),
            };
        }
        at
    }
}

fn ring<C: Channel, P: Payload>(tokens: u32) -> Box<dyn Course> {
    let (mut there, mut second) = C::pair::<Placed<P>>();
    let (mut back, mut first) = C::pair::<Placed<P>>();
    thread::spawn(move || {
        let mut half = Half::new(1);
        while second.take().is_some_and(|token| back.put(half.walk(token))) {}
    });
    let mut arrivals = Arrivals::default();
    let mut half = Half::new(0);
    bare(move |hops| {
        arrivals.begin(tokens);
        let mut begun: Vec<Placed<P>> =
            (0..tokens).map(|number| (roles::token_begins_at(number, tokens), roles::token(number, hops))).collect();
        loop {
            let placed = match begun.pop() {
                Some(placed) => placed,
                None => first.take().ok_or_else(broken)?,
            };
            let placed = half.walk(placed);
            if placed.0 < RING as usize {
                there.put(placed);
            } else if let Some(received) = arrivals.take(&placed.1) {
                return Ok(received);
            }
        }
    })
}

/// The hub's messages are under way all at once, so this wants channels that hold as many.
fn fan_out<C: Channel, P: Payload>(receivers: u32) -> Box<dyn Course> {
    let (mut there, mut inboxes) = C::pair::<(u32, P)>();
    let (mut back, mut acknowledgements) = C::pair::<Acknowledged>();
    thread::spawn(move || {
        let mut taken = vec![0_u64; receivers as usize];
        while inboxes.take().is_some_and(|(receiver, message)| {
            taken[receiver as usize] += 1;
            back.put(roles::acknowledge(&message))
        }) {}
    });
    let mut hub = Hub::default();
    bare(move |rounds| {
        let mut message: Option<P> = Some(hub.begin(receivers, rounds));
        loop {
            if let Some(message) = message {
                (0..receivers).for_each(|receiver| {
                    there.put((receiver, message));
                });
            }
            match hub.take(acknowledgements.take().ok_or_else(broken)?) {
                ControlFlow::Continue(next) => message = next,
                ControlFlow::Break(received) => return Ok(received),
            }
        }
    })
}
