//! What tests of whole nodes share.

pub mod cogs;
pub mod fuzzing;
#[cfg(doctest)]
mod guide;
