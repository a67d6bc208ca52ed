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
/// A sound batch is written the same again, and what is skipped of it is what is read first.
///
/// # Panics
/// When that doesn't hold.
pub fn batch(bytes: &[u8]) {
    let Some((&count, bytes)) = bytes.split_first() else { return };
    let count = if count == u8::MAX { frames_in(bytes) } else { u32::from(count) };
    let batch = BatchRef { source: stage::source(0), epoch: Epoch::FIRST, first: u64::MAX - 3, count, bytes };
    let mut written = Batch::new(batch.source, batch.epoch, batch.first);
    let mut taken = 0;
    for frame in batch.frames() {
        let rest = batch.skip(taken).expect("frames that were read can be skipped");
        let next = rest.frames().next().expect("there is more");
        let (Ok(frame), Ok(next)) = (frame, next) else {
            assert!(frame.is_err() && next.is_err(), "behind {taken} frames: {frame:?}, then {next:?}");
            break;
        };
        assert_eq!(next, frame, "behind {taken} frames");
        written.push(&frame.header, frame.payload);
        taken += 1;
    }
    assert!(bytes.starts_with(written.as_ref().bytes), "frames have one spelling");
    if is_sound(batch) {
        assert_eq!((taken, written.as_ref()), (count, batch));
        assert_eq!(batch.to_batch(), written);
    } else if let Ok(rest) = batch.skip(count) {
        assert!(!rest.bytes.is_empty(), "an unsound batch was skipped whole");
    }
}

/// The first byte shapes the worker, the rest is rounds.
pub fn session(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut worker = stage::empty_worker(script.byte());
    stage::run(&mut worker, &mut script);
}
