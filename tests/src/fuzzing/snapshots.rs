//! Bytes as what recovery finds of a snapshot.

use qnfsm::{
    Codec, Place, Trust, Worker,
    frame::Batch,
    journal::{fuzzing, snapshots::read_snapshot_bytes},
};

use super::{script::Script, stage, zoo};

/// A snapshot's file as it is.
pub fn file(bytes: &[u8]) {
    let _ = read_snapshot_bytes(bytes);
}

/// A snapshot's file with its checksums mended.
pub fn mended_file(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    fuzzing::mend_snapshot(&mut bytes);
    let _ = read_snapshot_bytes(&bytes);
}

/// A worker's image, and then rounds for the worker that it makes.
///
/// # Panics
/// When that worker isn't as good as any other.
pub fn image(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let Ok(mut worker) = Worker::restore(zoo::catalogue(), script.part()) else { return };
    let (_, _, _) = (worker.waiting_bytes(), worker.largest_queues(), worker.next_timer());
    stage::run(&mut worker, &mut script);
}

/// What stands beside the image: outputs and requests that are under way, with where they go.
pub fn driver(bytes: &[u8]) {
    type Kept = Vec<(Place, Batch)>;
    let Ok((unacknowledged, held)) = Codec::CURRENT.decode::<(Kept, Kept)>(bytes, Trust::Node) else { return };
    for (_, batch) in unacknowledged.iter().chain(&held) {
        let _ = (stage::is_sound(batch.as_ref()), batch.as_ref().next_number());
        let mut rest = batch.clone();
        if let Some(front) = rest.take_front(1) {
            let both = front.as_ref().frames().chain(rest.as_ref().frames());
            assert!(
                both.map(Result::ok).eq(batch.as_ref().frames().map(Result::ok)),
                "a batch that is taken apart has the same frames"
            );
        }
    }
}
