//! Services and what is published for them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{IntOrString, Meta, Object, Pairs, RawJson, nullable};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    pub metadata: Meta,
    #[serde(deserialize_with = "super::or_default")]
    pub spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    #[serde(rename = "type")]
    pub type_: Box<str>,
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Box<str>,
    #[serde(rename = "clusterIPs", deserialize_with = "nullable")]
    pub cluster_ips: Vec<Box<str>>,
    #[serde(deserialize_with = "nullable")]
    pub ip_families: Vec<Box<str>>,
    /// Absent: somebody else publishes the endpoints.
    pub selector: Option<Pairs>,
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<ServicePort>,
    pub publish_not_ready_addresses: bool,
    pub traffic_distribution: Option<Box<str>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    pub name: Box<str>,
    pub protocol: Box<str>,
    pub port: i32,
    pub target_port: Option<IntOrString>,
    pub app_protocol: Option<Box<str>>,
}

impl Object for Service {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Service {
    /// Whether `labels` are selected; a service without a selector selects nothing, an empty selector nothing either.
    pub fn selects(&self, labels: &Pairs) -> bool {
        let Some(selector) = self
            .spec
            .selector
            .as_ref()
            .filter(|selector| !selector.is_empty())
        else {
            return false;
        };
        selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    }

    pub fn is_headless(&self) -> bool {
        &*self.spec.cluster_ip == "None"
    }
}

/// A slice as it stands: compared with what should be, so endpoints are kept as text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    pub metadata: Meta,
    pub address_type: Box<str>,
    pub endpoints: RawJson,
    pub ports: RawJson,
}

impl Object for EndpointSlice {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Endpoints {
    pub metadata: Meta,
    pub subsets: RawJson,
}

impl Object for Endpoints {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// One port of a slice or of an Endpoints subset.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPort {
    pub name: String,
    pub port: i32,
    pub protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

/// A reference to a pod, as endpoints carry it.
pub fn pod_reference(meta: &Meta) -> Value {
    serde_json::json!({
        "kind": "Pod", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid,
    })
}
