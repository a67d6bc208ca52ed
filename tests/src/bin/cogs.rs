//! `cogs record <dir> <plant> <recording>`, and `cogs replay <dir>`: the two processes of a test of replays.

use std::{error::Error, process::ExitCode, time::Duration};

use qnfsm::{NodeBuilder, Recording};
use qnfsm_tests::cogs::{COGS, FAULTS, Reaches, Shaft, TurnCog, kinds, move_the_counter};

const PATIENCE: Duration = Duration::from_secs(30);

fn record(dir: &str, plant: &str, recording: &str) -> Result<(), Box<dyn Error>> {
    let reached = [Reaches::Message, Reaches::State, Reaches::Data];
    let mut plants = FAULTS.iter().flat_map(|fault| reached.map(|reaches| (*fault, reaches)));
    let plant = plants.find(|planted| format!("{planted:?}") == plant);
    let recording = if recording == "everything" { Recording::Everything } else { Recording::Inputs };
    let node = NodeBuilder::new("cogs", kinds()).dir(dir).recording(recording).start(&Shaft::new(plant))?;
    for _ in 0..3 {
        for cog in 0..COGS {
            let _: u64 = node.host().request(node.root(), PATIENCE, |reply| TurnCog { cog, reply })?;
        }
    }
    node.stop()?;
    Ok(())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    move_the_counter();
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "record", dir, plant, recording] => record(dir, plant, recording).map(|()| ExitCode::SUCCESS),
        _ => Ok(qnfsm_replay::cli::main("cogs", kinds())),
    }
}
