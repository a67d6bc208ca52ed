//! What tests of whole nodes share.

pub mod cogs;
#[cfg(doctest)]
mod guide;
