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
    /// The end of the last value's record.
    pub(super) recorded: Position,
    /// Why a value could not be written down.
    pub(super) failed: Option<JournalError>,
}

impl<'a> Ports<'a> {
    pub(super) fn new(shared: &'a Shared, round: u64) -> Ports<'a> {
        Ports { shared, round, recorded: Position::default(), failed: None }
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
        self.record(&Record::External { worker, round: self.round, port, answer: &answer })?;
        Ok(answer)
    }

    fn version(&mut self, worker: WorkerId, name: &str, known: u32, latest: u32) -> Result<u32, ExternalFault> {
        if latest != known {
            self.record(&Record::Version { worker, round: self.round, name, version: latest })?;
        }
        Ok(latest)
    }
}
