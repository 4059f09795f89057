//! End-to-end tests: the binary as a user runs it, on real containers, networks and peers. They need root and what
//! `cargo xtask setup --tests` installs; `make test` does that first.
#![allow(clippy::unwrap_used)]

mod bench;
mod faults;
mod migration;
mod one_node;
mod registry;
mod scheduler_faults;
mod support;
mod up;
mod walkthrough;
