//! One object's life in the API server, as pure functions: decode, default, validate, prepare for
//! create, update and status, patch, convert, delete, encode.
//!
//! Objects are [`serde_json::Value`]s that follow the schema tables of `fluyt_api`; the codec lets
//! nothing else in. Behaviour that depends on the kind is in [`strategy`] and `kinds`, one file per
//! kind.
//!
//! What one object costs (`cargo run --release -p fluyt-machinery --example object_life`; a pod of
//! 1.5 KB, 2 shared cores, the system's allocator, other builds running beside it):
//! decode 13-23 µs, validate 11 µs, encode 1.2-1.6 µs; decode, default, prepare, validate and
//! encode together 35 µs. The goal is 40 µs.
//!
//! Invariant: nothing here knows of a clock, a store, a network or another object than those it is
//! given; the time, identifiers and randomness come in a [`Ctx`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admission;
pub mod at;
pub mod binding;
pub mod codec;
pub mod convert;
mod ctx;
pub mod defaults;
pub mod delete;
pub mod discovery;
pub mod errors;
pub mod eviction;
pub mod get;
mod kinds;
pub mod meta;
pub mod openapi;
pub mod patch;
pub mod strategy;
pub mod table;

pub use ctx::Ctx;
