//! The vocabulary of the API: which resources exist, how their objects are shaped, and the
//! words in which the server answers.
//!
//! Invariant: this crate is pure. It has no runtime, no clock, no network and no state; the
//! tables are statics, so that asking a question costs nothing at start-up and no heap.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catalogue;
pub mod field;
pub mod names;
pub mod quantity;
pub mod schema;
pub mod selector;
pub mod status;
pub mod text;
