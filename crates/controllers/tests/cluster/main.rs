//! The controllers against a real API server: what their pure cores decide really happens, under the roles of the default policy.
#![allow(clippy::unwrap_used)]

mod accounts;
mod harness;
mod nodes;
mod ownership;
mod services;
mod workloads;
