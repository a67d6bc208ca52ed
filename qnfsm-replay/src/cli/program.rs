//! What subcommands that run what was recorded know of the program: its name, its kinds, and what must always hold.

use std::{error::Error, ffi::OsString, process::ExitCode};

use qnfsm::{Invariants, Kinds};

use super::NodeArgs;

/// A program, for its subcommands.
///
/// ```no_run
/// # fn kinds() -> qnfsm::Kinds { qnfsm::Kinds::new() }
/// # fn invariants() -> qnfsm::Invariants { qnfsm::Invariants::new() }
/// use qnfsm_replay::cli::Program;
///
/// fn main() -> std::process::ExitCode {
///     Program::new("my-service", kinds()).invariants(invariants()).main()
/// }
/// ```
pub struct Program {
    pub(super) name: String,
    pub(super) kinds: Kinds,
    pub(super) invariants: Invariants,
}

impl Program {
    /// A program by the name that its node was built with, without invariants.
    #[must_use]
    pub fn new(name: impl Into<String>, kinds: Kinds) -> Program {
        Program { name: name.into(), kinds, invariants: Invariants::new() }
    }

    /// What must always hold of its FSMs, which `bisect` looks for.
    #[must_use]
    pub fn invariants(self, invariants: Invariants) -> Program {
        Program { invariants, ..self }
    }

    /// [`run`](Program::run) with the process's own arguments.
    #[must_use]
    pub fn main(self) -> ExitCode {
        self.run(std::env::args_os())
    }

    /// Does what `args` say, the program's name first, and says with which status the program ends.
    #[must_use]
    pub fn run(self, args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
        super::run_program(args, self)
    }

    /// As [`node_main`](super::node_main).
    #[must_use]
    pub fn node_main(self, run: impl FnOnce(NodeArgs) -> Result<(), Box<dyn Error>>) -> ExitCode {
        super::run_node(self, run)
    }
}
