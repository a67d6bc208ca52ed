//! The commands of the program `shop`.

use std::process::ExitCode;

fn main() -> ExitCode {
    qnfsm_tests::shop::program().main()
}
