//! Listening: sockets, TLS, connections, and calls from within the process.

pub(crate) mod connection;
pub(crate) mod listener;
pub(crate) mod tls;
pub mod transport;
