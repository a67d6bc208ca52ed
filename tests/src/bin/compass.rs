//! The commands that look at nodes of the programs `east`, `west` and `north`.

use std::process::ExitCode;

fn main() -> ExitCode {
    qnfsm_tests::rally::programs().main()
}
