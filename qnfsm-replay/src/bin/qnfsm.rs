//! `qnfsm`: what can be done with a journal without the program that wrote it.

use std::process::ExitCode;

fn main() -> ExitCode {
    qnfsm_replay::cli::tool_main()
}
