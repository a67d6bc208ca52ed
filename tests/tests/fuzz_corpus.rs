//! The fuzzers' corpus, and their seeds, through the functions that the fuzzers run.

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::Mutex,
};

use qnfsm_tests::fuzzing::{
    TARGETS, Target,
    seeds::{corpus_file, seeds},
};

/// Runs a target on an input. `Err` with the text of the first panic in it, even of one that a worker caught: in a
/// fuzzer each of them is a finding.
fn run(target: Target, bytes: &[u8]) -> Result<(), String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    static PANICKED: Mutex<Option<String>> = Mutex::new(None);
    let panicked = || PANICKED.lock().expect("nobody panics while holding a text").take();
    let _turn = ONE_AT_A_TIME.lock().expect("what panics in a turn is caught in it");
    panicked();
    let before = panic::take_hook();
    panic::set_hook(Box::new(|panic| {
        PANICKED.lock().expect("nobody panics while holding a text").get_or_insert(panic.to_string());
    }));
    let ended = panic::catch_unwind(AssertUnwindSafe(|| target(bytes)));
    panic::set_hook(before);
    match (panicked(), ended) {
        (Some(text), _) => Err(text),
        (None, Ok(())) => Ok(()),
        (None, Err(_)) => Err("a panic that went past the hook".to_owned()),
    }
}

#[test]
fn no_input_of_the_corpus_is_a_finding() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpus.join(name)).expect("the corpus is in the repository") {
            let path = entry.expect("the corpus can be listed").path();
            let bytes = fs::read(&path).expect("the corpus can be read");
            if let Err(text) = run(target, &bytes) {
                panic!("{}: {text}", path.display());
            }
            inputs += 1;
        }
        assert!(inputs >= 5, "{inputs} inputs for {name}");
    }
}

#[test]
fn no_seed_is_a_finding_nor_is_it_cut_or_with_a_byte_changed() {
    for (target, name, bytes) in seeds() {
        let (_, function) = TARGETS.into_iter().find(|(name, _)| *name == target).expect("seeds are of a target");
        let check = |bytes: &[u8], how: &str| {
            if let Err(text) = run(function, bytes) {
                panic!("{target} {name}, {how}: {text}\n{bytes:?}");
            }
        };
        check(&bytes, "as it is");
        let step = bytes.len() / 40 + 1;
        for at in (0..bytes.len()).step_by(step) {
            check(&bytes[..at], "cut");
            let mut changed = bytes.clone();
            changed[at] = changed[at].wrapping_add(0x81);
            check(&changed, "with a byte changed");
        }
    }
}

#[test]
fn a_target_that_panics_is_a_finding_even_if_the_panic_is_caught() {
    let planted: [Target; 2] = [
        |bytes| assert!(!bytes.contains(&7), "planted"),
        |bytes| {
            let caught = panic::catch_unwind(|| assert!(!bytes.contains(&7), "planted"));
            drop(caught);
        },
    ];
    for target in planted {
        assert_eq!(run(target, &[1, 2]), Ok(()));
        assert!(run(target, &[1, 7]).is_err_and(|text| text.contains("planted")));
    }
}

#[test]
fn the_corpus_begins_with_the_seeds_of_today() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (target, name, bytes) in seeds() {
        let file = corpus.join(corpus_file(target, &name));
        let there = fs::read(&file).ok();
        assert!(
            there.as_ref() == Some(&bytes),
            "{} is not the seed of today: cargo run -p qnfsm-tests --example seed_corpus",
            file.display()
        );
    }
}
