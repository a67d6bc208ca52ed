//! See `qnfsm_tests::fuzzing::journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qnfsm_tests::fuzzing::journal(bytes));
