//! `rally record <dir> <dir> <hits> <recording>` plays between two nodes; all else is done with what they recorded.

use std::{path::Path, process::ExitCode};

use qnfsm::Recording;
use qnfsm_tests::rally::{ferry, programs};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "record", east, west, hits, recording] => {
            let recording = if recording == "everything" { Recording::Everything } else { Recording::Inputs };
            ferry::play([Path::new(east), Path::new(west)], hits.parse().unwrap_or(10), recording);
            ExitCode::SUCCESS
        }
        _ => programs().main(),
    }
}
