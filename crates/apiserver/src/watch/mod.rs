//! Watching: one hub per stored resource turns the store's events into shared frames, and each watcher keeps
//! only its position among them.

pub(crate) mod filter;
pub(crate) mod frame;
pub(crate) mod hub;
pub(crate) mod ring;
pub(crate) mod watcher;
