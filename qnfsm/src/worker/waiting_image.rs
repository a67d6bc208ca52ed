//! What waits for one FSM as it stands in its worker's image: as [`Waiting`], with each message's bytes where that has a
//! reference. What a message weighs is weighed anew when it is read.

use serde::{Deserialize, Serialize};

use super::{
    catalogue::Intake,
    envelope::{Claim, Envelope},
    image_bytes::ImageBytes,
    queue::{Envelopes, Queue},
    waiting::{Beat, Extras, Fired, Pending, SetTimer, Waiting},
};
use crate::{
    codec::{DecodeError, EncodeError, Trust},
    fsm::{AnyPool, MessageRef, Pools, TimerId, TimerName},
    id::{RawQueueId, RequestId},
    time::Time,
};

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct WaitingImage {
    pub(super) queue: Vec<EnvelopeImage>,
    pub(super) timers_next: bool,
    pub(super) extras: Option<Box<ExtrasImage>>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct ExtrasImage {
    pub(super) ahead: Vec<EnvelopeImage>,
    pub(super) postponed: Vec<EnvelopeImage>,
    pub(super) timers: Vec<TimerImage>,
    pub(super) fired: Vec<FiredImage>,
    pub(super) postponed_fired: Vec<FiredImage>,
    pub(super) pending: Vec<Pending>,
    pub(super) born: Vec<(RequestId, RawQueueId)>,
    pub(super) watched: Vec<RawQueueId>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct EnvelopeImage {
    pub(super) sender: RawQueueId,
    pub(super) claim: Claim,
    pub(super) message: ImageBytes,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct TimerImage {
    pub(super) timer: TimerId,
    pub(super) name: TimerName,
    pub(super) deadline: Time,
    pub(super) what: BeatImage,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) enum BeatImage {
    Once(ImageBytes),
    Every { period_ns: u64, message: ImageBytes },
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct FiredImage {
    pub(super) timer: TimerId,
    pub(super) name: TimerName,
    pub(super) beats: u64,
    pub(super) message: ImageBytes,
}

impl WaitingImage {
    /// Carries it over to another version of the program: each message's bytes, and the number of each answer's type that is
    /// awaited.
    pub(super) fn carry_over<E>(
        &mut self,
        message: &mut impl FnMut(&mut Vec<u8>) -> Result<(), E>,
        answer: &impl Fn(u32) -> Result<u32, E>,
    ) -> Result<(), E> {
        self.queue.iter_mut().try_for_each(|envelope| message(&mut envelope.message.0))?;
        let Some(extras) = &mut self.extras else { return Ok(()) };
        let ExtrasImage { ahead, postponed, timers, fired, postponed_fired, pending, born: _, watched: _ } =
            &mut **extras;
        ahead.iter_mut().chain(postponed).try_for_each(|envelope| message(&mut envelope.message.0))?;
        for timer in timers {
            match &mut timer.what {
                BeatImage::Once(beat) | BeatImage::Every { message: beat, .. } => message(&mut beat.0)?,
            }
        }
        fired.iter_mut().chain(postponed_fired).try_for_each(|fired| message(&mut fired.message.0))?;
        for pending in pending {
            pending.answer = answer(pending.answer)?;
        }
        Ok(())
    }
}

impl Waiting {
    /// The image of what waits, whose messages lie in that pool.
    pub(super) fn to_image(&self, pool: &dyn AnyPool, envelopes: &Envelopes) -> Result<WaitingImage, EncodeError> {
        let queue = envelopes.iter(&self.queue).map(|envelope| envelope.to_image(pool)).collect::<Result<_, _>>()?;
        let extras = self.extras.as_ref().map(|extras| extras.to_image(pool).map(Box::new)).transpose()?;
        Ok(WaitingImage { queue, timers_next: self.timers_next, extras })
    }

    /// What an image says that waits for an FSM of a kind that takes messages as `intake` says.
    pub(super) fn of_image(
        image: WaitingImage,
        intake: Intake,
        pools: &mut Pools,
        envelopes: &mut Envelopes,
    ) -> Result<Waiting, DecodeError> {
        let mut reader = Reader { intake, pools };
        let mut queue = Queue::default();
        for image in image.queue {
            let envelope = reader.envelope(image)?;
            envelopes.push_back(&mut queue, envelope);
        }
        let extras = image.extras.map(|image| reader.extras(*image)).transpose()?.map(Box::new);
        if let Some(extras) = &extras {
            let messages = extras.ahead.iter().chain(&extras.postponed).map(|envelope| envelope.weight);
            let beats = extras.fired.iter().chain(&extras.postponed_fired).map(|fired| fired.weight);
            messages.chain(beats).for_each(|weight| envelopes.load.more(weight));
        }
        Ok(Waiting { queue, start_is_due: false, timers_next: image.timers_next, extras })
    }
}

fn bytes_of(message: MessageRef, pool: &dyn AnyPool) -> Result<ImageBytes, EncodeError> {
    let mut bytes = Vec::new();
    pool.encode_image(message, &mut bytes)?;
    Ok(ImageBytes(bytes))
}

impl Envelope {
    fn to_image(self, pool: &dyn AnyPool) -> Result<EnvelopeImage, EncodeError> {
        let Envelope { sender, claim, message, .. } = self;
        Ok(EnvelopeImage { sender, claim, message: bytes_of(message, pool)? })
    }
}

impl Extras {
    fn to_image(&self, pool: &dyn AnyPool) -> Result<ExtrasImage, EncodeError> {
        let envelope = |envelope: &Envelope| envelope.to_image(pool);
        let timer = |set: &SetTimer| {
            let what = match &set.what {
                Beat::Once(message) => BeatImage::Once(bytes_of(*message, pool)?),
                Beat::Every { period_ns, message } => {
                    BeatImage::Every { period_ns: *period_ns, message: ImageBytes(message.clone()) }
                }
            };
            Ok(TimerImage { timer: set.timer, name: set.name.clone(), deadline: set.deadline, what })
        };
        let fired = |fired: &Fired| {
            let Fired { timer, beats, message, .. } = *fired;
            Ok(FiredImage { timer, name: fired.name.clone(), beats, message: bytes_of(message, pool)? })
        };
        Ok(ExtrasImage {
            ahead: self.ahead.iter().map(envelope).collect::<Result<_, _>>()?,
            postponed: self.postponed.iter().map(envelope).collect::<Result<_, _>>()?,
            timers: self.timers.iter().map(timer).collect::<Result<_, _>>()?,
            fired: self.fired.iter().map(fired).collect::<Result<_, _>>()?,
            postponed_fired: self.postponed_fired.iter().map(fired).collect::<Result<_, _>>()?,
            pending: self.pending.clone(),
            born: self.born.clone(),
            watched: self.watched.clone(),
        })
    }
}

/// Puts the messages of an image into their pool.
struct Reader<'a> {
    intake: Intake,
    pools: &'a mut Pools,
}

impl Reader<'_> {
    fn message(&mut self, bytes: &ImageBytes) -> Result<(MessageRef, u32), DecodeError> {
        let message = self.pools.any(self.intake.message).decode_image(&bytes.0)?;
        Ok((message, self.intake.weigh(self.pools, message)))
    }

    fn envelope(&mut self, image: EnvelopeImage) -> Result<Envelope, DecodeError> {
        let EnvelopeImage { sender, claim, message } = image;
        let (message, weight) = self.message(&message)?;
        Ok(Envelope { sender, claim, weight, message, origin: 0 })
    }

    fn timer(&mut self, image: TimerImage) -> Result<SetTimer, DecodeError> {
        let TimerImage { timer, name, deadline, what } = image;
        let what = match what {
            BeatImage::Once(message) => Beat::Once(self.message(&message)?.0),
            BeatImage::Every { period_ns, message: ImageBytes(message) } => {
                // Each beat decodes it, so it must be a message.
                let pool = self.pools.any(self.intake.message);
                let beat = pool.decode(&message, Trust::Node)?;
                pool.discard(beat);
                Beat::Every { period_ns, message }
            }
        };
        Ok(SetTimer { timer, name, deadline, what, origin: 0 })
    }

    fn fired(&mut self, image: FiredImage) -> Result<Fired, DecodeError> {
        let FiredImage { timer, name, beats, message } = image;
        let (message, weight) = self.message(&message)?;
        Ok(Fired { timer, name, beats, weight, message, origin: 0 })
    }

    fn extras(&mut self, image: ExtrasImage) -> Result<Extras, DecodeError> {
        let ExtrasImage { ahead, postponed, timers, fired, postponed_fired, pending, born, watched } = image;
        Ok(Extras {
            ahead: ahead.into_iter().map(|image| self.envelope(image)).collect::<Result<_, _>>()?,
            postponed: postponed.into_iter().map(|image| self.envelope(image)).collect::<Result<_, _>>()?,
            timers: timers.into_iter().map(|image| self.timer(image)).collect::<Result<_, _>>()?,
            fired: fired.into_iter().map(|image| self.fired(image)).collect::<Result<_, _>>()?,
            postponed_fired: postponed_fired.into_iter().map(|image| self.fired(image)).collect::<Result<_, _>>()?,
            pending,
            born,
            watched,
            beat: None,
        })
    }
}
