//! Writes the fuzzers' seeds into their corpus: `cargo run -p qnfsm-tests --example seed_corpus`. To be run when a format
//! has changed, so that the fuzzers begin with bytes that are whole.

use std::{error::Error, fs, path::Path};

use qnfsm_tests::fuzzing::seeds::{corpus_file, seeds};

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut changed = 0;
    for (target, name, bytes) in seeds() {
        let file = corpus.join(corpus_file(target, &name));
        if fs::read(&file).ok().as_ref() != Some(&bytes) {
            fs::create_dir_all(file.parent().unwrap_or(&corpus))?;
            fs::write(&file, bytes)?;
            changed += 1;
        }
    }
    println!("{changed} seeds written");
    Ok(())
}
