//! What tests of whole nodes share.

pub mod cogs;
