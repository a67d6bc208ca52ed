//! What the fuzzers run on arbitrary bytes, and `cargo test` on the fuzzers' corpus: one function for each target.
//!
//! Bytes may be refused or do something; they may never panic, run without end, or allocate beyond what they are. Each
//! function also checks what must hold of bytes that were taken: what was read can be written and read again, and a
//! restored worker is the worker. The first byte of an input chooses the layer, so that checksums don't stop the
//! fuzzer at the door: a layer takes the bytes as they are, with their checksums mended, or behind the checksums.

pub mod codec;
pub mod frames;
pub mod journals;
pub mod script;
pub mod seeds;
pub mod snapshots;
pub mod stage;
pub mod zoo;

/// What a fuzzer runs on each input.
pub type Target = fn(&[u8]);

/// The targets with their names.
pub const TARGETS: [(&str, Target); 4] =
    [("frames", frame), ("journal", journal), ("snapshot", snapshot), ("wire", wire)];

/// Bytes as what comes in at a worker's perimeter: a batch, a message of one type, or rounds of batches that a worker
/// with all kinds of FSMs is fed.
pub fn frame(bytes: &[u8]) {
    let Some((&layer, bytes)) = bytes.split_first() else { return };
    match layer % 3 {
        0 => frames::batch(bytes),
        1 => codec::value(bytes),
        _ => frames::session(bytes),
    }
}

/// Bytes as what recovery finds of a journal: a segment, a node's directory, or records that are played back.
pub fn journal(bytes: &[u8]) {
    let Some((&layer, bytes)) = bytes.split_first() else { return };
    match layer % 4 {
        0 => journals::segment(bytes),
        1 => journals::mended_segment(bytes),
        2 => journals::directory(bytes),
        _ => journals::records(bytes),
    }
}

/// Bytes as what recovery finds of a snapshot: a file, or a worker's image that then runs.
pub fn snapshot(bytes: &[u8]) {
    let Some((&layer, bytes)) = bytes.split_first() else { return };
    match layer % 4 {
        0 => snapshots::file(bytes),
        1 => snapshots::mended_file(bytes),
        2 => snapshots::image(bytes),
        _ => snapshots::driver(bytes),
    }
}

/// Bytes as what a peer sends over TCP.
pub fn wire(bytes: &[u8]) {
    qnfsm_net::wire::fuzz(bytes);
}
