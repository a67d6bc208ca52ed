//! External values: asked of the program's ports while a round runs, and written down before the FSM gets them.

use super::shared::Shared;
use crate::{
    fsm::{ExternalFault, Externals},
    id::WorkerId,
    journal::{JournalError, Position, Record},
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

impl Externals for Ports<'_> {
    fn read(&mut self, worker: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        let answer = self.shared.ask_port(port, question)?;
        if let Some(journal) = &self.shared.journal {
            let record = Record::External { worker, round: self.round, port, answer: &answer };
            match journal.write(&record) {
                Ok(recorded) => self.recorded = recorded,
                Err(error) => {
                    let fault = ExternalFault(error.to_string());
                    self.failed = Some(error);
                    return Err(fault);
                }
            }
        }
        Ok(answer)
    }
}
