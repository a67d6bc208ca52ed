//! Brings what a worker was from one version of a program to another: its image and the frames that were under way, with the
//! numbers and forms of one table, to those of this program's kinds and message types.
//!
//! Only what stands there and will be read has to be carried over: a kind that is gone is no hindrance as long as there is no FSM of
//! it, and a frame is none that its receiver has taken.

use std::{borrow::Cow, sync::Arc};

use crate::{
    frame::{Batch, BatchRef, Class, Frame, FrameError, Header, put_varint},
    fsm::{OldMessage, UpgradeError},
    id::{Place, RawQueueId},
    worker::{
        Admission, Catalogue, Table, TableMessage, Worker,
        catalogue::{Convert, NO_TYPE},
        image::{CellImage, Image, ImageError},
    },
};

/// What of a worker can't be carried over, and why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{of}: {why}")]
pub struct CarryOverError {
    /// Which FSM, message or part.
    pub of: String,
    /// Why not.
    pub why: UpgradeError,
}

/// How bytes of an old number are written today: under which number, and of which version they are if their form is another.
#[derive(Debug, Clone, Copy)]
struct Way {
    number: u32,
    from: Option<u32>,
}

/// From a table to this program's kinds and message types.
pub(crate) struct CarryOver<'a> {
    from: &'a Table,
    to: &'a Arc<Catalogue>,
}

impl<'a> CarryOver<'a> {
    pub(crate) fn new(from: &'a Table, to: &'a Arc<Catalogue>) -> CarryOver<'a> {
        CarryOver { from, to }
    }

    /// The worker whose image that was.
    ///
    /// # Errors
    /// When something of it can't be carried over, or the bytes are no image.
    pub(crate) fn worker(&self, image: &[u8]) -> Result<Worker, CarryOverError> {
        let in_image = |error: ImageError| CarryOverError {
            of: "what it left".to_owned(),
            why: UpgradeError::Refused(error.to_string()),
        };
        let mut image = Image::read(image).map_err(in_image)?;
        let (node, place, seed) = (image.head.node, Place::worker(image.head.worker), image.head.config.seed);
        for cell in &mut image.cells {
            let queue = RawQueueId::new(node, place, cell.slot, cell.generation);
            self.cell(queue, seed, cell)?;
        }
        Worker::of_image(self.to.clone(), image).map_err(in_image)
    }

    fn cell(&self, queue: RawQueueId, seed: u64, cell: &mut CellImage) -> Result<(), CarryOverError> {
        let name = || self.from.kinds.get(cell.kind as usize).map_or("an unknown kind", |kind| &kind.name);
        let of = format!("{queue} of kind {}", name());
        let failed = |why| CarryOverError { of: of.clone(), why };
        let Way { number, from } = self.kind(cell.kind).map_err(failed)?;
        let known = self.to.kind(number).expect("ways lead to kinds of the catalogue");
        cell.bytes.0 = (known.carry_over)(&cell.bytes.0, from, known.setup(queue, seed)).map_err(failed)?;
        let theirs = self.from.kinds[cell.kind as usize].message;
        cell.kind = number;
        // The queue's own type, whatever it is called now.
        let own = known.intake.message;
        let mut message = |bytes: &mut Vec<u8>| {
            let upgraded = self.from.messages.get(theirs as usize).ok_or_else(|| no_type(theirs));
            let upgraded = upgraded.and_then(|theirs| self.upgraded(self.form(theirs, own)?, bytes));
            let waits = |why| CarryOverError { of: format!("a message that waits for {of}"), why };
            if let Cow::Owned(upgraded) = upgraded.map_err(waits)? {
                *bytes = upgraded;
            }
            Ok(())
        };
        let answer = |theirs| self.answer(theirs, own).map_err(failed);
        cell.waiting.carry_over(&mut message, &answer)
    }

    /// The number of an answer's type that an FSM with messages of the type `own` waits for. Its form is not looked at: the answer is
    /// yet to come.
    fn answer(&self, theirs: u32, own: u32) -> Result<u32, UpgradeError> {
        let name = &self.from.messages.get(theirs as usize).ok_or_else(|| no_type(theirs))?.name;
        let number = self.number_of(name).filter(|from| self.to.answer(Convert { from: *from, to: own }).is_some());
        number.ok_or_else(|| UpgradeError::NoAnswer { answer: name.clone() })
    }

    /// Frames that were put out for a worker, as far as that has not taken them, with the same source, epoch and numbers; none if it has
    /// them all.
    ///
    /// # Errors
    /// When a frame can't be carried over or isn't taken by the FSM that it goes to, or the bytes are no frames.
    pub(crate) fn outputs(
        &self,
        batch: &BatchRef<'_>,
        receiver: Option<&Worker>,
    ) -> Result<Option<Batch>, CarryOverError> {
        let taken = match receiver.map(|receiver| receiver.admission(&[], batch)) {
            Some(Admission::Seen | Admission::Stale) => return Ok(None),
            Some(Admission::Take { skip }) => skip,
            Some(Admission::Gap { .. }) | None => 0,
        };
        let mut over = Batch::new(batch.source, batch.epoch, batch.first + u64::from(taken));
        for frame in batch.frames().skip(taken as usize) {
            let frame = frame.map_err(|error| no_frames(batch, &error))?;
            if let Some(receiver) = receiver {
                self.check_taken(&frame, receiver)?;
            }
            self.push(&mut over, &frame)?;
        }
        Ok(Some(over))
    }

    /// An FSM takes messages of its own type and of those that its kind accepts. What it doesn't take would be lost as a dead letter.
    fn check_taken(&self, frame: &Frame<'_>, receiver: &Worker) -> Result<(), CarryOverError> {
        let Header { class: Class::Message, type_number, slot, generation, .. } = frame.header else { return Ok(()) };
        let target = receiver.queue_at(slot, generation);
        let Some(theirs) = self.from.messages.get(type_number as usize) else { return Ok(()) };
        let Some(to) = receiver.message_type(target) else { return Ok(()) };
        let takes = |from: u32| from == to || self.to.accept(Convert { from, to }).is_some();
        if self.number_of(&theirs.name).is_some_and(takes) {
            return Ok(());
        }
        let of = format!("{target} of kind {}", receiver.kind_name(target));
        Err(CarryOverError { of, why: UpgradeError::NotAccepted { message: theirs.name.clone() } })
    }

    /// A request to an edge. One that the edge will not get keeps what it is known by, and nothing else of it has to be carried over.
    ///
    /// # Errors
    /// When it can't be carried over, or the bytes are no frames.
    pub(crate) fn request(&self, batch: &BatchRef<'_>, is_sent_again: bool) -> Result<Batch, CarryOverError> {
        let mut over = Batch::new(batch.source, batch.epoch, batch.first);
        for frame in batch.frames() {
            let frame = frame.map_err(|error| no_frames(batch, &error))?;
            if is_sent_again {
                self.push(&mut over, &frame)?;
            } else {
                let theirs = self.from.messages.get(frame.header.type_number as usize);
                let type_number = theirs.and_then(|theirs| self.number_of(&theirs.name)).unwrap_or(NO_TYPE);
                over.push(&Header { type_number, ..frame.header }, &[]);
            }
        }
        Ok(over)
    }

    fn push(&self, over: &mut Batch, frame: &Frame<'_>) -> Result<(), CarryOverError> {
        let under_way = |why| CarryOverError { of: format!("a frame under way from {}", frame.header.sender), why };
        let (type_number, payload) = self.frame(frame).map_err(under_way)?;
        over.push(&Header { type_number, ..frame.header }, &payload);
        Ok(())
    }

    fn frame<'b>(&self, frame: &Frame<'b>) -> Result<(u32, Cow<'b, [u8]>), UpgradeError> {
        let Frame { header, payload } = *frame;
        match header.class {
            Class::Message | Class::Reply | Class::Spawned => {
                let way = self.message(header.type_number)?;
                Ok((way.number, self.upgraded(way, payload)?))
            }
            Class::Spawn => {
                let way = self.kind(header.type_number)?;
                let cut = || UpgradeError::Refused("a spawn's frame is cut short".to_owned());
                let (answer, value) = frame.spawned().ok_or_else(cut)?;
                // Without a request nobody is answered.
                let answer = if header.request.is_some() { self.message(answer)?.number } else { answer };
                let mut over = Vec::new();
                put_varint(&mut over, u64::from(answer));
                match way.from {
                    None => over.extend_from_slice(value),
                    Some(version) => {
                        let known = self.to.kind(way.number).expect("ways lead to kinds of the catalogue");
                        over.extend((known.upgrade_start)(value, version)?);
                    }
                }
                Ok((way.number, over.into()))
            }
            // The library's own, and what has no type.
            _ => Ok((header.type_number, payload.into())),
        }
    }

    fn kind(&self, theirs: u32) -> Result<Way, UpgradeError> {
        let kind = self.from.kinds.get(theirs as usize);
        let kind = kind.ok_or_else(|| UpgradeError::Refused(format!("no kind had the number {theirs}")))?;
        let kinds = &self.to.table().kinds;
        let at = kinds.iter().position(|own| own.name == kind.name);
        let at = at.ok_or_else(|| UpgradeError::Gone { what: format!("kind ({})", kind.name) })?;
        let own = &kinds[at];
        if self.to.lacks_kind(number(at)) {
            return Err(UpgradeError::Gone { what: format!("kind ({})", kind.name) });
        }
        Ok(Way { number: number(at), from: kind.upgrades(own)? })
    }

    fn message(&self, theirs: u32) -> Result<Way, UpgradeError> {
        let message = self.from.messages.get(theirs as usize).ok_or_else(|| no_type(theirs))?;
        let gone = || UpgradeError::Gone { what: format!("message type ({})", message.name) };
        self.form(message, self.number_of(&message.name).ok_or_else(gone)?)
    }

    /// The number of this program's message type of that name.
    fn number_of(&self, name: &str) -> Option<u32> {
        self.to.table().messages.iter().position(|own| own.name == name).map(number)
    }

    /// How messages of one of their types become those of one of this program's.
    fn form(&self, theirs: &TableMessage, own_number: u32) -> Result<Way, UpgradeError> {
        let own = &self.to.table().messages[own_number as usize];
        Ok(Way { number: own_number, from: theirs.upgrades(own)? })
    }

    fn upgraded<'b>(&self, way: Way, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, UpgradeError> {
        let Some(version) = way.from else { return Ok(bytes.into()) };
        let known = self.to.message_type(way.number).expect("ways lead to types of the catalogue");
        match &known.upgrade {
            Some(upgrade) => upgrade(OldMessage::new(version, bytes)).map(Cow::Owned),
            None => Err(UpgradeError::UnknownVersion { version }),
        }
    }
}

fn no_frames(batch: &BatchRef<'_>, error: &FrameError) -> CarryOverError {
    CarryOverError { of: format!("what {} had put out", batch.source), why: UpgradeError::Refused(error.to_string()) }
}

fn no_type(number: u32) -> UpgradeError {
    UpgradeError::Refused(format!("no message type had the number {number}"))
}

fn number(at: usize) -> u32 {
    u32::try_from(at).expect("a program has few kinds and message types")
}
