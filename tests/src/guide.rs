//! The documents outside of the crates whose code is tested: nothing is in here but their code blocks.

#[doc = include_str!("../../docs/guide.md")]
struct Guide;

#[doc = include_str!("../../README.md")]
struct Readme;

#[doc = include_str!("../../qnfsm/README.md")]
struct QnfsmReadme;
