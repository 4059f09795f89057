//! Certificates, keys and kubeconfig files: what a cluster needs to be secure without its user doing anything.
//!
//! All keys are ECDSA P-256, made in about a millisecond. Private files are written with mode 0600, atomically. Must not know: HTTP,
//! the API, or any component.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod authority;
mod files;
mod kubeconfig;
mod public;

pub use authority::{CertificateAuthority, Issued, PkiError, Request, Usage, service_account_key};
pub use files::{read, write_private, write_public};
pub use kubeconfig::{Credentials, kubeconfig};
pub use public::public_key_der;
