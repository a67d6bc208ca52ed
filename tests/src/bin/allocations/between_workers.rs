//! Two workers on one thread that hand batches to one another, as drivers do: by swapping the batch for one that was used.

use std::{error::Error, mem};

use qnfsm::{Epoch, Place, Worker, WorkerId, frame::Batch};

use crate::{
    Outcome,
    counting::counted,
    player::{Player, Say, kinds},
    stage::{Stage, first_of, round},
};

const SENDER: WorkerId = WorkerId(3);
const RECEIVER: WorkerId = WorkerId(4);
const TIMES: u32 = 20_000;

/// What a worker has put out for the other, with its buffer.
struct Between {
    batch: Batch,
    waits: bool,
}

impl Between {
    fn from(source: WorkerId) -> Between {
        Between { batch: Batch::new(Place::worker(source), Epoch::FIRST, 1), waits: false }
    }

    /// Takes what a round put out, and leaves the buffer that was used before.
    fn take_from(&mut self, worker: &mut Worker) {
        worker.drain_outputs(|_, batch| {
            assert!(!self.waits, "what is out is fed before more is put out");
            mem::swap(&mut self.batch, batch);
            self.waits = true;
        });
    }

    /// Runs a round of `worker` with what waits for it.
    fn enter(&mut self, worker: &mut Worker) {
        let batch = mem::take(&mut self.waits).then(|| self.batch.as_ref());
        round(worker, 1, batch);
    }
}

/// Two workers, and what is between them.
struct Pair {
    sender: Stage,
    receiver: Worker,
    there: Between,
    back: Between,
}

impl Pair {
    fn new() -> Result<Pair, Box<dyn Error>> {
        let catalogue = kinds().seal()?;
        let sender = Stage::with(SENDER, &catalogue, &Player::with(first_of(RECEIVER)))?;
        let receiver = Stage::with(RECEIVER, &catalogue, &Player::spawning(0))?.worker;
        Ok(Pair { sender, receiver, there: Between::from(SENDER), back: Between::from(RECEIVER) })
    }

    /// Says from outside when to begin, and runs the round in which that is heard.
    fn begin(&mut self, begin: &Say) -> Result<(), Box<dyn Error>> {
        self.sender.tell(first_of(SENDER), begin)?;
        self.sender.run_for(1);
        self.there.take_from(&mut self.sender.worker);
        Ok(())
    }

    /// Runs until nothing is left to do.
    fn play(&mut self) {
        while self.there.waits {
            self.there.enter(&mut self.receiver);
            self.back.take_from(&mut self.receiver);
            if self.back.waits {
                self.back.enter(&mut self.sender.worker);
                self.there.take_from(&mut self.sender.worker);
            }
        }
        assert!(self.receiver.is_idle() && self.sender.worker.is_idle(), "rounds end when all is handled");
    }

    /// Messages handled, and rounds run.
    fn done(&self) -> (u64, u64) {
        let (sender, receiver) = (&self.sender.worker, &self.receiver);
        (sender.counters().handled + receiver.counters().handled, sender.rounds() + receiver.rounds())
    }
}

/// Plays it twice, and counts what is done the second time.
fn twice(begin: &Say) -> Outcome {
    let mut pair = Pair::new()?;
    pair.begin(begin)?;
    pair.play();
    pair.begin(begin)?;
    let before = pair.done();
    counted(|| {
        pair.play();
        let after = pair.done();
        Ok((after.0 - before.0, after.1 - before.1))
    })
}

/// A ping-pong: each batch is one message.
pub fn batches_of_one() -> Outcome {
    twice(&Say::Serve(TIMES))
}

/// A stream: each batch is a burst, or the credit for one.
pub fn batches_of_many() -> Outcome {
    twice(&Say::Stream(TIMES / crate::player::BURST))
}
