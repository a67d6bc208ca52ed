//! A step in words: which FSM, what it was told, how it ended.

use std::fmt;

use qnfsm::{Catalogue, End, Handler};

use crate::session::Step;

/// The most characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 300;

/// A step, and the tables of its program.
pub(super) struct StepText<'a> {
    pub(super) step: &'a Step,
    pub(super) catalogue: &'a Catalogue,
}

impl StepText<'_> {
    /// The name of the FSM's kind.
    pub(super) fn kind(&self) -> String {
        self.catalogue.kind_name(self.step.kind).to_owned()
    }

    /// The message by the names of its fields.
    pub(super) fn message(&self) -> Option<String> {
        let message = self.step.message.as_ref()?;
        let schema = &self.catalogue.table().messages.get(message.type_number as usize)?.schema;
        Some(schema.printer().text(&message.bytes, VALUE_CHARS_MAX))
    }

    fn state(&self, state: &[u8]) -> String {
        let kind = self.catalogue.table().kinds.get(self.step.kind as usize);
        kind.map_or_else(String::new, |kind| kind.state.printer().text(state, VALUE_CHARS_MAX))
    }
}

impl fmt::Display for StepText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { delivery, queue, handler, message, before, after, end, .. } = self.step;
        writeln!(f, "  step:     delivery {delivery}: kind {} ({queue})", self.kind())?;
        match (handler, message, self.message()) {
            (Handler::Start, ..) => writeln!(f, "  handles:  its start")?,
            (Handler::Enter, ..) => writeln!(f, "  handles:  its enter action")?,
            (_, Some(message), Some(text)) => writeln!(f, "  handles:  {text} from {}", message.sender)?,
            _ => writeln!(f, "  handles:  a message")?,
        }
        let was =
            if before.data.is_empty() && before.state.is_empty() { None } else { Some(self.state(&before.state)) };
        let (was, is) = (was.unwrap_or_default(), self.state(&after.state));
        let state = if was == is { is } else { format!("{was} → {is}") };
        writeln!(f, "  state:    {state}")?;
        match end {
            End::Failed(what) => writeln!(f, "  ended:    {what}"),
            End::Stayed | End::Changed => Ok(()),
            other => writeln!(f, "  ended:    {other:?}"),
        }
    }
}
