//! See `qnfsm_tests::fuzzing::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qnfsm_tests::fuzzing::frame(bytes));
