//! Records the golden journals of the format that this build writes: `cargo run -p qnfsm-tests --example record_golden`. To be run when
//! the format has changed, before it is released; those of a released version are never recorded again.
#![allow(clippy::disallowed_methods, reason = "it looks now and then whether the node has come to rest")]

use std::{error::Error, fs, path::Path};

use qnfsm::{Durability, Recording, journal::FORMAT_VERSION};
use qnfsm_replay::{Options, replay};
use qnfsm_tests::golden::{Foreman, Known, Order, builder, copy, gold, kinds};

fn main() -> Result<(), Box<dyn Error>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{FORMAT_VERSION}"));
    let scratch = tempfile::tempdir()?;
    for (name, recording, durability, is_killed) in [
        ("stopped", Recording::Everything, Durability::Durable, false),
        ("killed", Recording::Inputs, Durability::Buffered, true),
    ] {
        let (running, kept) = (scratch.path().join(name), golden.join(name));
        if kept.exists() {
            fs::remove_dir_all(&kept)?;
        }
        let mut left = 0;
        // Two epochs, of which the last one is killed or stopped.
        for epoch in 1..=2 {
            let (builder, assay) = builder(&running);
            let node = builder.recording(recording).durability(durability).start(&Foreman::default())?;
            if epoch == 1 {
                node.host().send(node.root(), &Order::Hire { assay })?;
            }
            for grams in 1..=12 {
                node.host().send(node.root(), &Order::Dig(grams))?;
                node.host().send(node.root(), &Order::Throw)?;
                left = gold(&node)?;
            }
            // What is under way comes to rest.
            loop {
                std::thread::sleep(std::time::Duration::from_millis(50));
                let now = gold(&node)?;
                if std::mem::replace(&mut left, now) == now {
                    break;
                }
            }
            if is_killed && epoch == 2 {
                copy(&running, &kept)?;
            }
            node.stop()?;
        }
        if !is_killed {
            copy(&running, &kept)?;
        }
        let report = replay(&kept, kinds(), &Options::new())?;
        let (workers, rounds, messages) = (report.workers, report.rounds, report.messages);
        let known = Known { workers, rounds, messages, digest: format!("{:016x}", report.digest), gold: left };
        fs::write(kept.with_extension("json"), serde_json::to_string_pretty(&known)? + "\n")?;
        println!("{}: {known:?}", kept.display());
    }
    Ok(())
}
