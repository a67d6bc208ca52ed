//! What records is held against this: bytes in batches over crossbeam-channel, and each batch written to a file before it is
//! acted on. Frames are as long as ours would be; nothing is checked, numbered or synced.

use std::{
    fs::File,
    io::{self, Write},
    ops::ControlFlow,
    sync::Arc,
    thread,
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use qnfsm::{
    Codec, Epoch, NodeId, Place, RawQueueId, WorkerId,
    frame::{Batch, Header},
};
use tempfile::TempDir;

use super::{
    super::{
        case::Case,
        lap::Course,
        message::Payload,
        roles::{self, Acknowledged, Arrivals, BURST, Hub, Pinger, RING, Sink, Then},
    },
    bare, broken, not_measured,
    two_threads::Half,
};
use crate::{plan::Failure, recorded};

/// How many buffers of fan-in go round.
const BUFFERS: usize = 8;
/// How many bytes of a frame say where it goes.
const TARGET_BYTES: usize = 4;

/// The loops for a case.
///
/// # Errors
/// When the case isn't measured so, or there is no file to write to.
pub fn course<P: Payload>(case: Case) -> Result<Box<dyn Course>, Failure> {
    match case {
        Case::PingPong => ping_pong::<P>(),
        Case::FanIn(senders) => fan_in::<P>(senders),
        Case::Ring(tokens) => ring::<P>(tokens),
        Case::FanOut(receivers) => fan_out::<P>(receivers),
        Case::Spawn | Case::SpawnMemory => not_measured(case),
    }
}

/// The one file, and the directory that goes away with it.
struct Journal {
    file: File,
    _dir: TempDir,
}

impl Journal {
    fn new() -> Result<Arc<Journal>, Failure> {
        let dir = recorded::directory()?;
        Ok(Arc::new(Journal { file: File::create_new(dir.path().join("batches"))?, _dir: dir }))
    }

    fn write(&self, batch: &[u8]) -> io::Result<()> {
        (&self.file).write_all(batch)
    }
}

/// Frames of one length: where it goes, as many zeros as make it as long as one of ours, the payload.
#[derive(Debug, Clone, Copy)]
struct Frames {
    zeros: usize,
    bytes: usize,
}

/// Longer than what any frame of ours has beside its payload.
static ZEROS: [u8; 64] = [0; 64];

impl Frames {
    fn of<P: Payload>() -> Result<Frames, Failure> {
        Frames::like(&P::new(1, u32::MAX / 2), P::BYTES as usize)
    }

    /// As long as ours with that message, of whose bytes so many are handed over as they are.
    fn like(message: &impl qnfsm::Message, bytes: usize) -> Result<Frames, Failure> {
        let (mut payload, mut batch) = (Vec::new(), Batch::new(Place::worker(WorkerId(1)), Epoch::FIRST, 1));
        Codec::CURRENT.encode(message, &mut payload)?;
        let queue = RawQueueId::new(NodeId(0), Place::worker(WorkerId(1)), 1, 1);
        batch.push(&Header::message(1, queue, queue), &payload);
        let zeros = batch.bytes_len().saturating_sub(TARGET_BYTES + bytes).min(ZEROS.len());
        Ok(Frames { zeros, bytes: TARGET_BYTES + zeros + bytes })
    }

    fn put<P: Payload>(self, batch: &mut Vec<u8>, target: u32, message: &P) {
        self.head(batch, target);
        message.put(batch);
    }

    fn head(self, batch: &mut Vec<u8>, target: u32) {
        batch.extend_from_slice(&target.to_le_bytes());
        batch.extend_from_slice(&ZEROS[..self.zeros]);
    }

    fn payloads(self, batch: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
        batch.chunks_exact(self.bytes).map(move |frame| {
            let target = frame.first_chunk().map_or(0, |target| u32::from_le_bytes(*target));
            (target, &frame[TARGET_BYTES + self.zeros..])
        })
    }

    fn messages<P: Payload>(self, batch: &[u8]) -> impl Iterator<Item = (u32, P)> {
        self.payloads(batch).filter_map(|(target, payload)| Some((target, P::read(payload)?)))
    }
}

/// A thread that writes each batch down, makes another of it, and sends that back; in the end, it ends.
fn second_thread(
    journal: Arc<Journal>,
    mut answer: impl FnMut(&[u8], &mut Vec<u8>) + Send + 'static,
) -> (Sender<Vec<u8>>, Receiver<Vec<u8>>) {
    let (there, batches) = unbounded::<Vec<u8>>();
    let (back, answers) = unbounded();
    thread::spawn(move || {
        let mut spare = Vec::new();
        for mut batch in batches {
            if journal.write(&batch).is_err() {
                // The first thread finds the channel closed.
                return;
            }
            spare.clear();
            answer(&batch, &mut spare);
            std::mem::swap(&mut batch, &mut spare);
            if back.send(batch).is_err() {
                return;
            }
        }
    });
    (there, answers)
}

fn ping_pong<P: Payload>() -> Result<Box<dyn Course>, Failure> {
    let (frames, journal) = (Frames::of::<P>()?, Journal::new()?);
    let (there, back) = second_thread(journal.clone(), move |batch, answer| {
        frames.messages::<P>(batch).for_each(|(_, ping)| frames.put(answer, 0, &roles::pong(&ping)));
    });
    let mut pinger = Pinger::default();
    let mut batch = Vec::new();
    Ok(bare(move |rounds| {
        let mut message = pinger.begin::<P>(rounds);
        loop {
            frames.put(&mut batch, 1, &message);
            there.send(std::mem::take(&mut batch))?;
            batch = back.recv()?;
            journal.write(&batch)?;
            let (_, answer) = frames.messages(&batch).next().ok_or_else(broken)?;
            batch.clear();
            match pinger.take(&answer) {
                ControlFlow::Continue(next) => message = next,
                ControlFlow::Break(received) => return Ok(received),
            }
        }
    }))
}

/// A batch is a burst of each sender: half of what ours may have under way.
fn fan_in<P: Payload>(senders: u32) -> Result<Box<dyn Course>, Failure> {
    let (frames, journal) = (Frames::of::<P>()?, Journal::new()?);
    let (begin, laps) = unbounded::<u32>();
    let (there, batches) = unbounded::<Vec<u8>>();
    let (back, buffers) = unbounded::<Vec<u8>>();
    (0..BUFFERS).try_for_each(|_| back.send(Vec::new()))?;
    thread::spawn(move || {
        for burst in laps.iter().flat_map(|bursts| 0..bursts) {
            let Ok(mut batch) = buffers.recv() else { return };
            batch.clear();
            for (sender, number) in (0..senders).flat_map(|sender| (0..BURST).map(move |number| (sender, number))) {
                frames.put(&mut batch, 1, &P::new(sender, burst * BURST + number));
            }
            if there.send(batch).is_err() {
                return;
            }
        }
    });
    let mut sink = Sink::default();
    Ok(bare(move |bursts| {
        sink.begin(senders, bursts);
        begin.send(bursts)?;
        loop {
            let batch = batches.recv()?;
            journal.write(&batch)?;
            let mut done = None;
            for (_, message) in frames.messages::<P>(&batch) {
                if let Then::Done(received) = sink.take(&message) {
                    done = Some(received);
                }
            }
            back.send(batch)?;
            if let Some(received) = done {
                return Ok(received);
            }
        }
    }))
}

fn ring<P: Payload>(tokens: u32) -> Result<Box<dyn Course>, Failure> {
    let (frames, journal) = (Frames::of::<P>()?, Journal::new()?);
    let step = move |half: &mut Half<P>, (place, token): (u32, P)| {
        let (place, token) = half.walk((place as usize, token));
        (u32::try_from(place).expect("a place of the ring"), token)
    };
    let mut second = Half::new(1);
    let (there, back) = second_thread(journal.clone(), move |batch, answer| {
        for placed in frames.messages::<P>(batch) {
            let (place, token) = step(&mut second, placed);
            frames.put(answer, place, &token);
        }
    });
    let mut arrivals = Arrivals::default();
    let mut first = Half::new(0);
    Ok(bare(move |hops| {
        arrivals.begin(tokens);
        let mut batch = Vec::new();
        for number in 0..tokens {
            let place = u32::try_from(roles::token_begins_at(number, tokens)).expect("a place of the ring");
            frames.put(&mut batch, place, &roles::token::<P>(number, hops));
        }
        loop {
            let mut out = Vec::with_capacity(batch.len());
            for placed in frames.messages::<P>(&batch) {
                let (place, token) = step(&mut first, placed);
                if place < RING {
                    frames.put(&mut out, place, &token);
                } else if let Some(received) = arrivals.take(&token) {
                    return Ok(received);
                }
            }
            there.send(out)?;
            batch = back.recv()?;
            journal.write(&batch)?;
        }
    }))
}

fn fan_out<P: Payload>(receivers: u32) -> Result<Box<dyn Course>, Failure> {
    let (frames, journal) = (Frames::of::<P>()?, Journal::new()?);
    let acknowledgements = Frames::like(&Acknowledged { value: u64::MAX }, size_of::<Acknowledged>())?;
    let mut taken = vec![0_u64; receivers as usize];
    let (there, back) = second_thread(journal.clone(), move |batch, answer| {
        for (receiver, message) in frames.messages::<P>(batch) {
            taken[receiver as usize] += 1;
            acknowledgements.head(answer, receiver);
            answer.extend_from_slice(&roles::acknowledge(&message).value.to_le_bytes());
        }
    });
    let mut hub = Hub::default();
    let mut batch = Vec::new();
    Ok(bare(move |rounds| {
        let mut message: P = hub.begin(receivers, rounds);
        loop {
            batch.clear();
            (0..receivers).for_each(|receiver| frames.put(&mut batch, receiver, &message));
            there.send(std::mem::take(&mut batch))?;
            batch = back.recv()?;
            journal.write(&batch)?;
            for (_, value) in acknowledgements.payloads(&batch) {
                let value = u64::from_le_bytes(*value.first_chunk().ok_or_else(broken)?);
                match hub.take(Acknowledged { value }) {
                    ControlFlow::Continue(next) => message = next.unwrap_or(message),
                    ControlFlow::Break(received) => return Ok(received),
                }
            }
        }
    }))
}
