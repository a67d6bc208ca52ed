//! Journals of every version of the format: each build reads, replays, shows and goes on from all of them.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use qnfsm::{OnOtherBuild, journal::FORMAT_VERSION};
use qnfsm_replay::{
    Options, ReplayError,
    dump::{self, What, dump},
    replay,
};
use qnfsm_tests::golden::{Foreman, Known, PROGRAM, builder, copy, gold, kinds};

/// Each recording with what is known of it.
fn recordings() -> Vec<(PathBuf, Known)> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut found = Vec::new();
    for version in 1..=FORMAT_VERSION {
        for name in ["stopped", "killed"] {
            let dir = golden.join(version.to_string()).join(name);
            let known =
                fs::read(dir.with_extension("json")).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
            found.push((dir, serde_json::from_slice(&known).unwrap()));
        }
    }
    found
}

fn copied(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(from, dir.path()).unwrap();
    dir
}

fn replayed(dir: &Path) -> Result<(u32, u64, u64, String), ReplayError> {
    let report = replay(dir, kinds(), &Options::new().program(PROGRAM))?;
    Ok((report.workers, report.rounds, report.messages, format!("{:016x}", report.digest)))
}

#[test]
fn each_replays_as_it_was_recorded() {
    for (dir, known) in recordings() {
        let dir = copied(&dir);
        assert_eq!(replayed(dir.path()).unwrap(), (known.workers, known.rounds, known.messages, known.digest));
    }
}

#[test]
fn a_node_goes_on_from_each() {
    for (dir, known) in recordings() {
        let dir = copied(&dir);
        let node = builder(dir.path()).0.on_other_build(OnOtherBuild::Run).start(&Foreman::default()).unwrap();
        assert_eq!(gold(&node).unwrap(), known.gold);
        node.stop().unwrap();
        assert!(replayed(dir.path()).unwrap().1 > known.rounds);
    }
}

#[test]
fn each_is_shown_with_the_names_of_all_its_fields() {
    for (dir, known) in recordings() {
        let dir = copied(&dir);
        let (mut rounds, mut fsms, mut opaque) = (0, Vec::new(), None);
        let mut take = |line: &dump::Line<'_>| -> io::Result<()> {
            match &line.what {
                What::Round { .. } => rounds += 1,
                What::Fsm { .. } => fsms.push(line.to_string()),
                What::Summary(summary) => opaque = Some(summary.opaque.len()),
                _ => {}
            }
            Ok(())
        };
        dump(dir.path(), &dump::Options::new(), &mut take, |_, _| {}).unwrap();
        assert_eq!((rounds, opaque), (known.rounds, Some(0)));
        assert!(fsms.iter().any(|fsm| fsm.contains("foreman: Foreman { gold: ")), "{fsms:?}");
    }
}
