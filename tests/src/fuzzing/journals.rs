//! Bytes as what recovery finds of a journal.

use std::{path::Path, sync::Arc};

use qnfsm::{
    NodeId, Worker,
    journal::{Manifest, Reader, Record, fuzzing, segment_path, simulated::SimulatedDisk},
    playback::{Playback, PlaybackError},
};

use super::{
    script::Script,
    stage::{Ports, empty_worker},
    zoo,
};

/// The most messages that a recorded round may handle here.
const BOUND_MAX: u32 = 50;

/// The most records of one input.
const RECORDS_MAX: usize = 64;

/// Where the node's directory is, in memory.
pub const DIR: &str = "node";

/// A segment's file as it is.
pub fn segment(bytes: &[u8]) {
    let _ = fuzzing::read_segment_bytes(bytes);
}

/// A segment's file with its checksums and chain mended.
pub fn mended_segment(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    fuzzing::mend_segment(&mut bytes);
    let _ = fuzzing::read_segment_bytes(&bytes);
}

/// A node's directory: a byte whose bits say what is mended, the manifest, and up to three segments. It is read to
/// its end, and played back as far as that goes.
///
/// # Panics
/// When the reader doesn't say the same when asked again, or doesn't come back to where it was.
pub fn directory(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let how = script.byte();
    let files = SimulatedDisk::default();
    let dir = Path::new(DIR);
    let mut manifest = script.part().to_vec();
    if how & 1 != 0 {
        fuzzing::mend_manifest(&mut manifest);
    }
    files.put(&dir.join("manifest"), manifest);
    for number in 1..=3 {
        if !script.is_empty() {
            let mut segment = script.part().to_vec();
            if how & (1 << number) != 0 {
                fuzzing::mend_segment(&mut segment);
            }
            files.put(&segment_path(dir, number), segment);
        }
    }
    let files = Arc::new(files);
    let _ = Manifest::load(&*files, dir);
    let Ok(mut reader) = Reader::open(files, dir) else { return };
    let mut playback = Some(Player::new(how));
    let mut positions = vec![];
    let ended = loop {
        match reader.next() {
            Ok(Some(entry)) => {
                positions.push(entry.position);
                if let Some(player) = &mut playback
                    && player.apply(entry.record).is_err()
                {
                    playback = None;
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.to_string()),
        }
    };
    let again = reader.next().map(|entry| assert!(entry.is_none())).map_err(|error| error.to_string());
    assert_eq!(again, ended, "asked again, the reader says something else");
    assert_eq!(reader.tail().is_some(), ended.is_ok());
    if let Some(position) = positions.get(positions.len() / 2) {
        reader.seek(*position).expect("a record was there");
        let entry = reader.next().expect("it was sound").expect("it was there");
        assert_eq!(entry.position, *position);
    }
    if let Some(player) = playback {
        player.finish();
    }
}

/// Records without their headers, each a byte that names its kind and its body as a part. The first byte of all says
/// how they are played back.
pub fn records(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut player = Player::new(script.byte());
    for _ in 0..RECORDS_MAX {
        if script.is_empty() {
            break;
        }
        let Ok(record) = fuzzing::decode_record(script.byte(), script.part()) else { return };
        if player.apply(record).is_err() {
            return;
        }
    }
    player.finish();
}

/// A playback of hostile records.
struct Player {
    playback: Playback,
    how: u8,
    records: usize,
}

/// Bits of the byte that says how records are played back.
const RESUMES: u8 = 0x10;
const CHECKS_IMAGES: u8 = 0x20;
const ENDS_LIVE: u8 = 0x40;

impl Player {
    fn new(how: u8) -> Player {
        let mut playback = Playback::new(zoo::catalogue(), NodeId(0));
        if how & CHECKS_IMAGES != 0 {
            playback = playback.checking_images();
        }
        if how & RESUMES != 0 {
            playback.resume(empty_worker(how >> 6), 0);
        }
        Player { playback, how, records: 0 }
    }

    /// Plays a record back, with a round's bound kept small.
    fn apply(&mut self, record: Record<'_>) -> Result<(), PlaybackError> {
        self.records += 1;
        if self.records > RECORDS_MAX {
            return Ok(());
        }
        let record = match record {
            Record::Round { worker, round, bound, now, digest_before, batches } => {
                Record::Round { worker, round, bound: bound.min(BOUND_MAX), now, digest_before, batches }
            }
            other => other,
        };
        self.playback.apply(&record, &mut ())
    }

    fn finish(mut self) {
        let mut ports = Ports::default();
        let _ = self.playback.latest();
        if self.how & ENDS_LIVE != 0 {
            let unended: Vec<_> = self.playback.unended().map(|unended| unended.worker).collect();
            for worker in unended {
                if self.playback.finish_round(worker, &mut ports, &mut ()).is_err() {
                    return;
                }
            }
        }
        if self.playback.finish(&mut ()).is_err() {
            return;
        }
        let _ = (self.playback.progress(), self.playback.digest());
        if self.playback.faults().next().is_some() {
            return;
        }
        for (worker, _) in self.playback.into_workers() {
            let mut image = Vec::new();
            worker.snapshot(&mut image).expect("a worker that ran can be written");
            let restored = Worker::restore(zoo::catalogue(), &image).expect("what was written is a worker");
            assert_eq!(restored.rounds(), worker.rounds());
        }
    }
}
