//! What tests of whole nodes share.

pub mod cogs;
pub mod fuzzing;
pub mod glutton;
pub mod golden;
#[cfg(doctest)]
mod guide;
pub mod rally;
pub mod shop;
