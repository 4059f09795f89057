//! Pods on this node: where they come from, one worker for each, and what a worker does.

pub(crate) mod admission;
pub(crate) mod config;
pub(crate) mod hooks;
pub(crate) mod manager;
pub(crate) mod operations;
pub(crate) mod probes;
pub(crate) mod sources;
pub(crate) mod worker;
pub(crate) mod writer;
