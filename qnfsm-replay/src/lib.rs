#![forbid(unsafe_code)]
//! qnfsm-replay
