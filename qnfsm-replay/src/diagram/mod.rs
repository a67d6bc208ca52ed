//! Journals as diagrams: who sent what to whom, the states that FSMs were observed in, what they were given in each, and a trace for viewers
//! of such.
//!
//! There are two ways in and one code: `ways` turns a walk with the program's kinds, or several at once, into the events of `event`, `records`
//! the records alone, and all else is drawn from these. `observed` counts them by kind, for `states` and `cover`. `seq` and `trace` take them as they come. `mermaid`, `svg` and `layout` know
//! texts and boxes, and nothing of journals.

pub(crate) mod cover;
pub(crate) mod event;
mod layout;
mod mermaid;
pub(crate) mod observed;
pub(crate) mod records;
pub(crate) mod seq;
pub(crate) mod states;
mod svg;
#[cfg(test)]
mod tests;
pub(crate) mod trace;
pub(crate) mod ways;
