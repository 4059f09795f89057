//! A client for container runtimes: CRI v1 over a unix socket, and containerd's own
//! event stream, which tells of exits long before any list would.
//! Knows nothing of pods as the API has them: values in, values out.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
mod events;
pub mod health;
mod messages;

pub use client::{Client, Error, Result};
pub use events::{TaskEvent, subscribe};
pub use messages::*;
