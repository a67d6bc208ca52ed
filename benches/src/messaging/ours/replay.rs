//! Replay: a case is recorded in a directory and timed; then the directory is replayed in the same process, and timed.

use std::time::Instant;

use qnfsm_replay::Options;

use super::{
    super::{case::Case, lap, message::Payload},
    Leader, Running, with_leader,
};
use crate::{
    pace::Lap,
    plan::{Class, Failure, Figures, Recording},
};

/// Nanoseconds for each message of a replay, and as the limit those that it took live, in the same units: of the case's own
/// messages, over all laps.
///
/// # Errors
/// When anything fails, or the replay doesn't prove all that it ran.
pub fn replayed<P: Payload>(case: Case, class: Class, recording: Recording, quick: bool) -> Result<Figures, Failure> {
    struct Replayed {
        case: Case,
        class: Class,
        recording: Recording,
        quick: bool,
    }
    impl super::WithLeader for Replayed {
        type Output = Result<Figures, Failure>;

        fn call<L: Leader>(self, leader: L) -> Result<Figures, Failure> {
            let Replayed { case, class, recording, quick } = self;
            let mut running = Running::start(leader, class, recording)?;
            let (_, live) = lap::timed(&mut running, case, quick)?;
            let Running { node, dir } = running;
            node.stop()?;
            let dir = dir.ok_or("there is nothing to replay of what isn't recorded in files")?;
            let begun = Instant::now();
            let report = qnfsm_replay::replay(dir.path(), super::Lead::<L>::kinds(), &Options::new())?;
            let took = begun.elapsed();
            if !report.clean || report.rounds_unproved > 0 || report.messages < live.messages {
                return Err(
                    format!("the replay proves less than there was, {} messages: {report}", live.messages).into()
                );
            }
            let replayed = Lap { messages: live.messages, took };
            Ok(Figures { value: replayed.ns_each(), also: Vec::new(), limit: Some(live.ns_each()) })
        }
    }
    with_leader::<P, _>(case, Replayed { case, class, recording, quick })
}
