#![forbid(unsafe_code)]
//! qnfsm-net
