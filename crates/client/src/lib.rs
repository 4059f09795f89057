//! What every component needs to talk to an API server, and nothing else: connecting, slim informers, work queues, events,
//! leader election. It is a thin layer over the `kube` crate; a component that runs beside the API server in one process gets a
//! `kube::Client` over the in-process transport and cannot tell the difference.
//!
//! Must not know: any component, or anything about how objects are stored.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod availability;
pub mod backoff;
pub mod connect;
pub mod events;
pub mod informer;
pub mod leader;
pub mod meta;
pub mod queue;
pub mod rest;
pub mod store;

pub use connect::{ClientOptions, ConnectError, connect};
pub use k8s_openapi;
pub use kube;
pub use meta::ObjectMeta;
