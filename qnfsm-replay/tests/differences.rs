//! What differs from what was recorded is found, and named where it is.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{fs, path::Path};

use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder, Recording, playback::Divergence};
use qnfsm_replay::{CorruptJournal, Diverged, Options, ReplayError, UnusableDirectory, WrongProgram, replay};
use rig::{Order, PATIENCE, Teller, kinds, node, place_of};
use serde::{Deserialize, Serialize};

/// A run with two additions, and a total that shows them.
fn record(dir: &Path, recording: Recording) {
    let node = node(dir, recording).start(&Teller::<1>::default()).unwrap();
    let (host, root) = (node.host(), node.root());
    let _: u64 = host.request(root, PATIENCE, |reply| Order::AfterBeats(5, reply)).unwrap();
    host.send(root, &Order::Add(3)).unwrap();
    let _: u64 = host.request(root, PATIENCE, Order::Count).unwrap();
    host.send(root, &Order::Add(4)).unwrap();
    let total: u64 = host.request(root, PATIENCE, Order::Total).unwrap();
    assert_eq!(total, 7);
    let _: u64 = host.request(root, PATIENCE, |reply| Order::AfterBeats(5, reply)).unwrap();
    node.stop().unwrap();
}

fn error_of<const STEP: u64>(dir: &Path) -> ReplayError {
    replay(dir, kinds::<STEP>(), &Options::new().program("bank")).expect_err("the replay is red")
}

fn divergence_of<const STEP: u64>(dir: &Path) -> Diverged {
    match error_of::<STEP>(dir) {
        error @ ReplayError::Diverged(_) => {
            assert_eq!(error.exit_status(), 30);
            let ReplayError::Diverged(diverged) = error else { unreachable!("just matched") };
            *diverged
        }
        other => panic!("not a divergence: {other}"),
    }
}

#[test]
fn changed_code_diverges_in_the_round_where_it_shows() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), Recording::Inputs);
    // The sums differ from the first addition on, and that shows with the total.
    let (worker, round, _) = place_of(dir.path(), |order| matches!(order, Order::Total(_)));
    let diverged = divergence_of::<2>(dir.path());
    assert_eq!((diverged.divergence.worker, diverged.divergence.round), (worker, round));
    assert_eq!(diverged.divergence.delivery, None);
    assert!(diverged.to_string().contains("Recording::Everything"), "{diverged}");
    assert!(diverged.file.ends_with("00000001.qjl") && diverged.offset > 0, "{diverged}");
}

#[test]
fn with_everything_recorded_changed_code_is_named_by_fsm_and_message() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), Recording::Everything);
    let (worker, round, at) = place_of(dir.path(), |order| matches!(order, Order::Add(_)));
    let diverged = divergence_of::<2>(dir.path()).divergence;
    assert_eq!((diverged.worker, diverged.round), (worker, round));
    let delivery = diverged.delivery.expect("everything was recorded");
    let place = format!("delivery {} of the round: kind teller (w0/0.1)", at.unwrap());
    assert!(delivery.starts_with(&place) && delivery.contains("Order"), "{delivery}, not {place}");
    assert!(diverged.expected.starts_with("the FSM's data after it"), "{}", diverged.expected);
}

/// Counts in steps, with messages and states that have names.
#[derive(Serialize, Deserialize)]
struct Meter<const STEP: u64>(u64);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Level {
    Low { since: u8 },
    High,
}

#[derive(Serialize, Deserialize)]
enum Pulse {
    Flow { litres: u64, meter: String },
}

impl<const STEP: u64> Fsm for Meter<STEP> {
    const NAME: &'static str = "meter";
    type State = Level;
    type Message = Pulse;

    fn start(&mut self, _: &mut Context<'_, Self>) -> Level {
        Level::Low { since: 7 }
    }

    fn handle(&mut self, level: Level, Pulse::Flow { litres, .. }: Pulse, _: &mut Context<'_, Self>) -> Next<Self> {
        self.0 += litres;
        let is_high = level == Level::High || self.0 * STEP >= 10;
        if is_high { Next::Goto(Level::High) } else { Next::Stay }
    }
}

#[test]
fn a_difference_is_told_with_the_names_of_fields() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeBuilder::new("bank", Kinds::new().with::<Meter<1>>()).dir(dir.path());
    let node = node.recording(Recording::Everything).start(&Meter::<1>(0)).unwrap();
    for litres in [1, 6, 30] {
        node.host().send(node.root(), &Pulse::Flow { litres, meter: "cellar".to_owned() }).unwrap();
    }
    node.stop().unwrap();
    let error = replay(dir.path(), Kinds::new().with::<Meter<2>>(), &Options::new()).unwrap_err();
    let ReplayError::Diverged(diverged) = error else { panic!("not a divergence: {error}") };
    let message = r#"the state after it: message Flow { litres: 6, meter: "cellar" }, state "#;
    let Divergence { expected, found, .. } = &diverged.divergence;
    assert!(expected.starts_with(&format!("{message}Low {{ since: 7 }}, data ")), "{expected}");
    assert!(found.starts_with(&format!("{message}High, data ")), "{found}");
}

#[test]
fn data_that_have_yet_to_show_differ_from_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
    node.host().send(node.root(), &Order::Add(1)).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Count).unwrap();
    node.stop().unwrap();
    let diverged = divergence_of::<2>(dir.path());
    assert!(diverged.divergence.expected.contains("image"), "{diverged}");
}

/// Each byte, flipped, is found before anything is run past it: as damage, or as a header that doesn't fit.
#[test]
fn a_flipped_byte_before_the_last_sync_mark_is_found() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), Recording::Inputs);
    let segment = dir.path().join("journal").join("00000001.qjl");
    let whole = fs::read(&segment).unwrap();
    // The last record is the sync mark itself, behind which nothing is known to be on disk.
    let end = whole.len() - 64;
    let step = end / 97;
    for at in (0..end).step_by(step) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(&segment, bytes).unwrap();
        let error = error_of::<1>(dir.path());
        match &error {
            ReplayError::Corrupt(corrupt) => {
                let CorruptJournal::Bytes(bytes) = &**corrupt else { panic!("byte {at}: {error}") };
                assert_eq!((&bytes.file, error.exit_status()), (&segment, 20));
                assert!(bytes.offset <= at as u64, "byte {at}: {error}");
            }
            // A version or a kind of a later time.
            ReplayError::Unsupported(_) => assert_eq!(error.exit_status(), 21),
            other => panic!("byte {at}: {other}"),
        }
    }
}

#[test]
fn a_cut_before_the_last_sync_mark_is_found() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), Recording::Inputs);
    let segment = dir.path().join("journal").join("00000001.qjl");
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(error_of::<1>(dir.path()).exit_status(), 20);
    fs::remove_file(&segment).unwrap();
    assert_eq!(error_of::<1>(dir.path()).exit_status(), 20);
}

#[test]
fn another_program_is_refused_by_name_and_by_kinds() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), Recording::Inputs);
    let error = replay(dir.path(), kinds::<1>(), &Options::new().program("shop")).unwrap_err();
    assert!(matches!(&error, ReplayError::Program(WrongProgram::Another { wrote, .. }) if wrote == "bank"), "{error}");
    let error = replay(dir.path(), Kinds::new(), &Options::new()).unwrap_err();
    assert_eq!(error.exit_status(), 15, "{error}");
}

/// Two types of one name, which can't be told apart in one message, and the first with its fields swapped.
mod reading {
    macro_rules! height {
        ($module:ident { $($field:ident: $type:ty),* }) => {
            pub(crate) mod $module {
                #[derive(serde::Serialize, serde::Deserialize)]
                pub(crate) struct Height {
                    $(pub(crate) $field: $type,)*
                }
            }
        };
    }
    height!(metric { millimetres: u32 });
    height!(imperial { feet: u8, inches: u8 });
    height!(swapped { inches: u8, feet: u8 });

    pub(crate) mod before {
        use super::{imperial, metric};
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(crate) struct Reading(metric::Height, imperial::Height);
    }
    pub(crate) mod after {
        use super::{metric, swapped};
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(crate) struct Reading(metric::Height, swapped::Height);
    }
}

#[test]
fn an_opaque_type_whose_fields_were_swapped_is_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let before = || kinds::<1>().message_named::<reading::before::Reading>("reading");
    let node = NodeBuilder::new("bank", before()).dir(dir.path()).external::<rig::Price>(|_| 1);
    node.start(&Teller::<1>::default()).unwrap().stop().unwrap();
    replay(dir.path(), before(), &Options::new()).unwrap();
    let after = kinds::<1>().message_named::<reading::after::Reading>("reading");
    let error = replay(dir.path(), after, &Options::new()).unwrap_err();
    let ReplayError::Program(WrongProgram::Changed { differences, .. }) = &error else { panic!("{error}") };
    assert_eq!(differences[..], ["message type reading has other fields"]);
}

#[test]
fn no_type_of_these_tests_is_opaque() {
    assert_eq!(kinds::<1>().seal().unwrap().opaque().collect::<Vec<_>>(), []);
}

#[test]
fn a_directory_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
    let error = error_of::<1>(dir.path());
    assert!(matches!(&error, ReplayError::Directory(why) if matches!(**why, UnusableDirectory::InUse(_))), "{error}");
    node.stop().unwrap();
}

#[test]
fn a_node_that_was_killed_before_it_recorded_anything_replays() {
    let dir = tempfile::tempdir().unwrap();
    // A root that isn't registered is noticed before the directory is touched; one that can't be encoded likewise.
    assert!(NodeBuilder::new("bank", Kinds::new()).dir(dir.path()).start(&Teller::<1>::default()).is_err());
    let error = error_of::<1>(dir.path());
    assert!(matches!(&error, ReplayError::Directory(why) if matches!(**why, UnusableDirectory::Empty(_))), "{error}");
}
