//! What a node must do for a pod, and what it tells about it: pure decisions.
//! Desired pod, observed sandboxes and containers, probe results and the time go in; the
//! next actions and the pod's status come out. No clock, no I/O, no task lives here.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admission;
pub mod amount;
pub mod backoff;
pub mod conditions;
pub mod env;
pub mod fields;
pub mod files;
pub mod model;
pub mod names;
pub mod plan;
pub mod probe;
pub mod qos;
pub mod resources;
pub mod security;
pub mod services;
pub mod status;
pub mod termination;

pub use k8s_openapi::api::core::v1 as api;
