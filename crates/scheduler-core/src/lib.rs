//! Scheduling decisions, without any I/O: the cluster's events in, decisions out.
//!
//! [`core::Core`] is what a shell drives: it tells what happened (`apply_*`, `delete_*`), asks for the next decision
//! ([`core::Core::schedule_one`]) and reports failed bindings. The clock is an argument; equal calls give equal answers.
//!
//! # How it is fast, and exact
//!
//! - Pods that no filter or score can tell apart form a *class* ([`plan`], [`classes`]). The first decision of a class looks at every
//!   node; each later one only at the nodes that changed since (a log names them), so its time depends on neither the number of
//!   nodes nor that of running pods.
//! - A class keeps its feasible nodes in *groups* that rules across nodes cannot tell apart (same raw object scores, same topology
//!   domains, or same sums where domains are many), ordered by the scores that need no normalisation. A decision asks the filters
//!   across nodes once for each group, works out the ranges for normalisation from the groups, and takes the best node of the best
//!   group. So normalisation over the feasible set is exact although no node is looked at.
//! - What rules between pods count ([`cluster`]) is kept per node and summed per domain by difference.
//! - All nodes are scored, always. Ties go to the lowest row, or by a seed, so decisions can be repeated.
//!
//! `tests/decisions.rs` compares all of this with a scheduler written in the most obvious way, over random clusters and events.
//!
//! # Measured
//!
//! `cargo run --release -p fluyt-scheduler-core --example decisions`, one core of a busy two-core machine:
//!
//! | workload | nodes | decisions/s | first decision |
//! |---|---|---|---|
//! | plain | 1,000 | 715,757 | 0.4 ms |
//! | plain | 5,000 | 670,116 | 1.6 ms |
//! | plain, 100,000 running | 5,000 | 525,360 | 0.9 ms |
//! | plain | 100,000 | 600,083 | 44 ms |
//! | plain | 1,000,000 | 508,971 | 514 ms |
//! | 100 classes in turn | 5,000 | 62,227 | 0.9 ms |
//! | required affinity, zone | 5,000 | 431,865 | 1.4 ms |
//! | required anti-affinity, host | 5,000 | 585,718 | 1.2 ms |
//! | preferred affinity, host | 5,000 | 323,307 | 1.4 ms |
//! | preferred anti-affinity, host | 5,000 | 371,026 | 1.4 ms |
//! | spreading, hard, zone | 5,000 | 261,560 | 1.8 ms |
//! | spreading, soft, zone | 5,000 | 461,146 | 1.8 ms |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod claims;
pub mod classes;
pub mod cluster;
pub mod core;
pub mod diagnosis;
pub mod events;
pub mod explain;
pub mod extended;
pub mod gangs;
pub mod intern;
pub mod labels;
pub mod migration;
mod nominated;
pub mod objects;
pub mod plan;
pub mod plugins;
pub mod points;
pub mod preemption;
pub mod profile;
pub mod queue;
pub mod rankset;
pub mod requests;
mod sampling;
pub mod spec;
pub mod storage;
mod storage_events;
pub mod volumes;
