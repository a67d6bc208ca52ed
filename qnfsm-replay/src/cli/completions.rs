//! The subcommand `completions`: what a shell needs to complete a program's arguments.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, Command};
use clap_complete::Shell;

use super::output;

/// Prints what a shell needs to complete the arguments of this program.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  qnfsm completions bash > ~/.local/share/bash-completion/completions/qnfsm\n\n\
    Exit statuses: 0 printed, 2 no such shell, 40 the system failed to write.")]
pub struct CompletionsArgs {
    /// For which shell.
    pub shell: Shell,
}

impl CompletionsArgs {
    /// Prints it for the program with that command.
    #[must_use]
    pub fn execute(&self, mut command: Command, program: &str) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, program, &mut script);
        output::conclude(false, io::stdout().write_all(&script).map_err(Into::into))
    }
}
