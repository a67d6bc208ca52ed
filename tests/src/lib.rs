//! What tests of whole nodes share.

pub mod cogs;
pub mod fuzzing;
pub mod glutton;
#[cfg(doctest)]
mod guide;
