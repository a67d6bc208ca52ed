//! Something to be found at once, to see that a finding is told: `fuzz/run 60 planted`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assert!(!bytes.contains(&b'!'), "planted"));
