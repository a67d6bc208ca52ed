//! What tests of whole nodes share.
