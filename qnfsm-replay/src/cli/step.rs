//! A step in words, for commands that come to one: as the debugger shows it, and the command that goes there.

use std::{fmt, path::Path};

use qnfsm::{Catalogue, WorkerId, spelt::shell_word};

use crate::{
    Session,
    debug::step_in_short,
    session::{Spot, Step},
};

/// The most characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 300;
/// What the lines below the first are indented by.
const INDENT: &str = "          ";

/// A step, and the tables of its program.
pub(super) struct StepText<'a> {
    pub(super) step: &'a Step,
    pub(super) catalogue: &'a Catalogue,
}

impl StepText<'_> {
    /// The step in lines, with the fields first that are named by what is said of it.
    pub(super) fn of(&self, said: &str) -> String {
        let shown = step_in_short(self.catalogue, self.step, said);
        let (first, rest) = shown.split_once('\n').unwrap_or((&shown, ""));
        let rest = rest.lines().map(|line| format!("{INDENT}{line}\n"));
        format!("  step:     {first}\n{}", rest.collect::<String>())
    }

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
}

impl fmt::Display for StepText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.of(""))
    }
}

/// The command that shows the step at which a session stands, with all around it: to be gone on from by adding to it.
pub(super) fn go_there(dir: &Path, session: &Session) -> String {
    let Some(Spot { worker, round, step, .. }) = session.spot() else { return String::new() };
    let further = if step == 0 { String::new() } else { format!(" --command 'step {step}'") };
    format!("  go there: {} --command 'goto {worker}:{round}'{further}\n", own_command("debug", dir))
}

/// Likewise, of a round's last step: that in which it failed, if it did.
pub(super) fn go_to_last_step(dir: &Path, worker: WorkerId, round: u64) -> String {
    format!("  go there: {} --command 'end {worker}:{round}'\n", own_command("debug", dir))
}

/// A command of this program, as it was called.
pub(super) fn own_command(command: &str, dir: &Path) -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    format!("{} {command} {}", shell_word(Path::new(&program)), shell_word(dir))
}
