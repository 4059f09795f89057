//! The API server: HTTP, TLS, who may do what, admission, routing and watches over a store. What an object is and
//! how it changes is the business of `fluyt-machinery`; how it is kept, of `fluyt-store`.
//!
//! Invariant: stored bytes are the answer. Objects are decoded when they are written, or when a selector, a Table or
//! another version asks for it, and never kept decoded.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod alloc;
mod authn;
mod authz;
mod bootstrap;
mod core;
mod dispatch;
mod endpoints;
mod expiry;
mod feeds;
mod handlers;
mod http;
mod kubelet;
mod lifecycle;
mod metrics;
mod options;
mod present;
mod running;
mod server;
mod stored;
mod subresources;
pub mod testing;
mod views;
mod watch;

pub use endpoints::GIT_VERSION;
pub use http::body::{Body, BoxError};
pub use options::{Options, Storage};
pub use running::{Running, open_embedded, open_etcd, start};
pub use server::transport::Transport;
pub use stored::splice;
