//! Bytes at a worker's perimeter.

use qnfsm::{
    Epoch,
    frame::{Batch, BatchRef},
};

use super::{
    script::Script,
    stage::{self, frames_in, is_sound},
};

/// The first byte says how many frames there are, or with 255 that there are as many as there are; the rest is they.
/// What a sound batch is read as is what it is read as when it has been written again, which takes no more bytes.
///
/// # Panics
/// When that doesn't hold.
pub fn batch(bytes: &[u8]) {
    let Some((&count, bytes)) = bytes.split_first() else { return };
    let count = if count == u8::MAX { frames_in(bytes) } else { u32::from(count) };
    let batch = BatchRef { source: stage::source(0), epoch: Epoch::FIRST, first: u64::MAX - 3, count, bytes };
    let mut written = Batch::new(batch.source, batch.epoch, batch.first);
    let mut frames = Vec::new();
    for frame in batch.frames().map_while(Result::ok) {
        written.push(&frame.header, frame.payload);
        frames.push(frame);
    }
    assert!(written.bytes_len() <= bytes.len(), "what is written repeats headers where it can");
    let again: Vec<_> = written.as_ref().frames().collect::<Result<_, _>>().expect("what was written can be read");
    assert_eq!(again, frames);
    if is_sound(batch) {
        assert_eq!(written.as_ref().count, count);
    }
}

/// The first byte shapes the worker, the rest is rounds.
pub fn session(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut worker = stage::empty_worker(script.byte());
    stage::run(&mut worker, &mut script);
}
