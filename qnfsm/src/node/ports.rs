//! External values: asked of the program's ports while a round runs, and written down before the FSM gets them; and versions of
//! behaviours, likewise.

use super::shared::Shared;
use crate::{
    fsm::{ExternalFault, Externals},
    id::WorkerId,
    journal::{JournalError, Position, Record, RecordDraft},
};

/// External values from the program's ports, written down before the FSM gets them.
pub(super) struct Ports<'a> {
    shared: &'a Shared,
    round: u64,
    /// Where the values are only kept, and written down together once the round has ended.
    kept: Option<&'a mut Vec<Told>>,
    /// The end of the last value's record.
    pub(super) recorded: Position,
    /// Why a value could not be written down.
    pub(super) failed: Option<JournalError>,
}

impl<'a> Ports<'a> {
    pub(super) fn new(shared: &'a Shared, round: u64) -> Ports<'a> {
        Ports { shared, round, kept: None, recorded: Position::default(), failed: None }
    }

    /// Only keeps what FSMs are told, if there is a place for that: of a round of which nothing leaves before that is written down.
    pub(super) fn keeping(mut self, kept: Option<&'a mut Vec<Told>>) -> Ports<'a> {
        self.kept = kept;
        self
    }
}

/// What an FSM was told.
#[derive(Debug)]
pub(super) enum Told {
    Value { port: String, answer: Vec<u8> },
    Version { name: String, version: u32 },
}

impl Told {
    /// What is written down of it.
    pub(super) fn record(&self, worker: WorkerId, round: u64) -> RecordDraft<'_> {
        match self {
            Told::Value { port, answer } => Record::External { worker, round, port, answer },
            Told::Version { name, version } => Record::Version { worker, round, name, version: *version },
        }
    }
}

impl Ports<'_> {
    /// Writes down what an FSM is about to be told.
    fn record(&mut self, record: &RecordDraft<'_>) -> Result<(), ExternalFault> {
        let Some(journal) = &self.shared.journal else { return Ok(()) };
        match journal.write(record) {
            Ok(recorded) => {
                self.recorded = recorded;
                Ok(())
            }
            Err(error) => {
                let fault = ExternalFault(error.to_string());
                self.failed = Some(error);
                Err(fault)
            }
        }
    }
}

impl Externals for Ports<'_> {
    fn read(&mut self, worker: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        let answer = self.shared.ask_port(port, question)?;
        if let Some(kept) = &mut self.kept {
            kept.push(Told::Value { port: port.to_owned(), answer: answer.clone() });
            return Ok(answer);
        }
        self.record(&Record::External { worker, round: self.round, port, answer: &answer })?;
        Ok(answer)
    }

    fn version(&mut self, worker: WorkerId, name: &str, known: u32, latest: u32) -> Result<u32, ExternalFault> {
        if latest == known {
            return Ok(latest);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(Told::Version { name: name.to_owned(), version: latest });
        } else {
            self.record(&Record::Version { worker, round: self.round, name, version: latest })?;
        }
        Ok(latest)
    }
}
