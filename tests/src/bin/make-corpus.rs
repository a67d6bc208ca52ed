//! Writes the seeds of the fuzzers' corpus: `cargo run -p qnfsm-tests --bin make-corpus -- fuzz/corpus`.

use std::{error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let dir: PathBuf = std::env::args_os().nth(1).ok_or("usage: make-corpus <directory>")?.into();
    let mut total_bytes = 0;
    for (target, name, bytes) in qnfsm_tests::fuzzing::seeds::seeds() {
        let dir = dir.join(target);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(format!("seed-{name}")), &bytes)?;
        total_bytes += bytes.len();
    }
    println!("{total_bytes} bytes of seeds in {}", dir.display());
    Ok(())
}
