//! Requests that other servers answer: kubelets (logs, exec, attach, port-forward, proxy) and pods or services behind
//! a proxy path. Bodies and upgraded connections pass through byte for byte.

mod backend;
mod locate;
mod tls;

pub(crate) use backend::{Backend, Forward};
pub(crate) use locate::Node;

use std::sync::Arc;

use rustls::ClientConfig;

use crate::options::Options;

/// How kubelets are reached.
pub(crate) struct KubeletClient {
    pub(crate) tls: Arc<ClientConfig>,
    /// For backends that are not kubelets: shows no certificate and verifies none.
    pub(crate) plain_tls: Arc<ClientConfig>,
    pub(crate) address_types: Vec<String>,
}

impl KubeletClient {
    pub(crate) fn new(options: &Options) -> anyhow::Result<Self> {
        Ok(KubeletClient {
            tls: tls::config(options)?,
            plain_tls: tls::unverified()?,
            address_types: options.kubelet_preferred_address_types.clone(),
        })
    }
}
