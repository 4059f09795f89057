//! What every controller is given: requests under its own identity, shared caches, an event recorder, the options and a clock.

use std::sync::Arc;

use fluyt_client::events::{EventType, Recorder};
use fluyt_client::k8s_openapi::api::core::v1::ObjectReference;
use fluyt_client::kube::Client;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::clock::Clock;
use crate::informers::Informers;
use crate::objects::Meta;
use crate::options::Options;

/// Makes the client of one controller: one identity for all, or a service account of its own for each.
pub trait ClientFactory: Send + Sync + 'static {
    fn client(&self, controller: &str) -> Client;
}

/// Everybody uses the same client.
impl ClientFactory for Client {
    fn client(&self, _controller: &str) -> Client {
        self.clone()
    }
}

#[derive(Clone)]
pub struct Context {
    /// The controller's name, as upstream calls it.
    pub name: &'static str,
    pub api: Api,
    pub informers: Arc<Informers>,
    pub recorder: Recorder,
    pub options: Arc<Options>,
    pub clock: Clock,
    pub shutdown: CancellationToken,
}

impl Context {
    pub fn event(
        &self,
        (api_version, kind): (&str, &str),
        meta: &Meta,
        type_: EventType,
        reason: &str,
        message: String,
    ) {
        let regarding = ObjectReference {
            api_version: Some(api_version.to_owned()),
            kind: Some(kind.to_owned()),
            name: Some(meta.name.to_string()),
            namespace: Some(meta.namespace.to_string()).filter(|namespace| !namespace.is_empty()),
            uid: Some(meta.uid.to_string()),
            resource_version: Some(meta.resource_version.to_string()),
            field_path: None,
        };
        self.recorder.event(&regarding, type_, reason, message);
    }

    /// An event about a node, which upstream refers to by name and uid only.
    pub fn node_event(&self, meta: &Meta, reason: &str, message: String) {
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(meta.name.to_string()),
            uid: Some(meta.uid.to_string()),
            ..ObjectReference::default()
        };
        self.recorder
            .event(&regarding, EventType::Normal, reason, message);
    }
}
