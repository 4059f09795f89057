//! The controllers: one folder each, a pure `reconcile` that decides and a shell in `mod.rs` that feeds it and does what it says.
//!
//! They share one runner: one watch per resource for the process, work queues of keys, one leader lease. Nothing polls; a loop is
//! woken by a change, a due deadline or a failed attempt's back-off.
//!
//! Must not know: the API server's insides, the store, the scheduler, or any node.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
pub mod clock;
pub mod context;
pub mod expectations;
pub mod informers;
pub mod objects;
pub mod options;
pub mod registry;
pub mod runner;
pub mod worker;

pub mod deployment;
pub mod endpoints;
pub mod endpointslice;
pub mod garbage_collector;
pub mod namespace;
pub mod node_ipam;
pub mod node_lifecycle;
pub mod pod_gc;
pub mod replicaset;
pub mod root_ca_publisher;
pub mod service_account;
pub mod service_account_token;
pub mod taint_eviction;

pub use clock::Clock;
pub use context::ClientFactory;
pub use options::Options;
pub use registry::CONTROLLERS;
pub use runner::{run, run_with};
