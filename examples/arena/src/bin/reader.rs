//! The program `qnfsm` once more, beside the arena: a test of this crate has only this crate's programs to run.

use std::process::ExitCode;

fn main() -> ExitCode {
    qnfsm_replay::cli::tool_main()
}
