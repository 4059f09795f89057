//! Routes from this machine to the pods of private nodes, so that the API server's proxy, and people, reach pods by their addresses.
//!
//! Invariant: the routes go over the cluster's bridge and vanish with it.

use std::collections::HashSet;

use fluyt_client::ObjectMeta;
use fluyt_client::informer::{Event, Slim, Source, watch};
use fluyt_client::kube::Client;
use futures::StreamExt;
use serde::Deserialize;

use super::network::Network;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeView {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "podCIDR")]
    pod_cidr: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    addresses: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

impl Slim for NodeView {
    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl NodeView {
    /// The range of the node's pods and where to send it; `None` until both are known.
    fn route(&self) -> Option<(String, String)> {
        let mut addresses = self.status.addresses.iter();
        let via = addresses.find(|address| address.kind == "InternalIP")?;
        let range = &self.spec.pod_cidr;
        (!range.is_empty()).then(|| (range.clone(), via.address.clone()))
    }
}

/// Keeps the routes for as long as it is polled. A route that cannot be set is logged; the others go on.
pub async fn keep(client: &Client, network: &Network) {
    let events = watch::<NodeView>(client.clone(), Source::new("", "v1", "nodes"));
    let mut events = std::pin::pin!(events);
    let mut set = HashSet::new();
    while let Some(event) = events.next().await {
        let nodes = match event {
            Event::Restarted(all) => all,
            Event::Applied(node) => vec![node],
            // The range may be given to another node, which then takes the route over.
            Event::Deleted(_) => Vec::new(),
        };
        for (range, via) in nodes.iter().filter_map(NodeView::route) {
            if !set.insert((range.clone(), via.clone())) {
                continue;
            }
            set.retain(|(other, address)| *other != range || *address == via);
            if let Err(error) = network.route(&range, &via) {
                tracing::warn!("pods in {range} cannot be reached from this machine: {error:#}");
            }
        }
    }
}
