//! Follows the nodes of the cluster: our own for its pod CIDR, the others for the routes
//! to their pods.

use crate::context::Context;
use crate::network;
use fluyt_client::ObjectMeta;
use fluyt_client::informer::{self, Event, Slim, Source};
use fluyt_client::rest::{self, PatchType};
use fluyt_kubelet_core::admission::NodeFacts;
use fluyt_kubelet_core::amount::ResourceList;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Taint;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a controller is given to choose the node's pod CIDR before the node does.
const PATIENCE: Duration = Duration::from_secs(5);
/// What nodes choose from when nobody says anything: 256 networks of 254 pods.
const DEFAULT_CLUSTER_CIDR: &str = "10.244.0.0/16";

#[derive(Debug, Deserialize)]
pub(crate) struct SlimNode {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimSpec,
    #[serde(default)]
    status: SlimStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimSpec {
    #[serde(rename = "podCIDR")]
    pod_cidr: String,
    taints: Option<Vec<Taint>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SlimStatus {
    allocatable: Option<ResourceList>,
    features: SlimFeatures,
    addresses: Option<Vec<SlimAddress>>,
    conditions: Option<Vec<SlimCondition>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimFeatures {
    supplemental_groups_policy: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SlimAddress {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SlimCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl SlimNode {
    /// What decides about pods. Of the resources that the kubelet reports its own figures
    /// hold; the API may know more, reported by others.
    pub fn facts(&self, own: &ResourceList) -> NodeFacts {
        let mut allocatable = self.status.allocatable.clone().unwrap_or_default();
        allocatable.extend(own.clone());
        NodeFacts {
            name: self.metadata.name.clone(),
            labels: self.metadata.labels.clone(),
            taints: self.spec.taints.clone().unwrap_or_default(),
            allocatable,
            supplemental_groups_policy: self.status.features.supplemental_groups_policy,
        }
    }
}

impl Slim for SlimNode {
    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
}

/// What is kept of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Peer {
    cidr: String,
    address: Option<IpAddr>,
}

/// Follows until shutdown. `contradicted` is notified when the API shows us as not ready.
pub(crate) async fn run(
    context: Arc<Context>,
    contradicted: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let mut nodes: BTreeMap<String, Peer> = BTreeMap::new();
    let mut events = Box::pin(informer::watch_batches::<SlimNode>(
        context.client.clone(),
        Source::new("", "v1", "nodes"),
    ));
    let mut applied = BTreeMap::new();
    let mut configured = context.settings.pod_cidr.is_some();
    let started = tokio::time::Instant::now();
    let mut listed = false;
    loop {
        tokio::select! {
            Some(batch) = events.next() => {
                listed = true;
                for event in batch {
                    take(&context, event, &mut nodes, &contradicted);
                }
            }
            () = tokio::time::sleep_until(started + PATIENCE), if listed && !configured => {
                choose(&context, &nodes).await;
                configured = true;
            }
            () = shutdown.cancelled() => return,
        }
        let own = nodes
            .get(&context.settings.node_name)
            .map(|peer| peer.cidr.clone())
            .unwrap_or_default();
        let own = if own.is_empty() {
            context.settings.pod_cidr.clone().unwrap_or_default()
        } else {
            own
        };
        if !own.is_empty() {
            configured = true;
            network::configure(&context, &own).await;
        }
        if nodes != applied && listed {
            let peers = nodes
                .iter()
                .filter(|(name, _)| **name != context.settings.node_name);
            let routes = peers
                .filter_map(|(_, peer)| Some((peer.cidr.clone(), peer.address?)))
                .filter(|(cidr, _)| !cidr.is_empty());
            network::routes::apply(&context.routes, routes.collect()).await;
            let all = nodes
                .values()
                .map(|peer| peer.cidr.clone())
                .filter(|cidr| !cidr.is_empty())
                .collect();
            network::masquerade::apply(
                &context.masquerade,
                &own,
                all,
                context.settings.cluster_cidr.as_deref(),
            )
            .await;
            applied.clone_from(&nodes);
        }
    }
}

fn take(
    context: &Context,
    event: Event<SlimNode>,
    nodes: &mut BTreeMap<String, Peer>,
    contradicted: &Notify,
) {
    match event {
        Event::Restarted(list) => {
            nodes.clear();
            for node in list {
                insert(context, node, nodes, contradicted);
            }
        }
        Event::Applied(node) => insert(context, node, nodes, contradicted),
        Event::Deleted(node) => {
            if node.metadata.name == context.settings.node_name {
                *context.own_node.write() = None;
            }
            nodes.remove(&node.metadata.name);
        }
    }
}

fn insert(
    context: &Context,
    node: SlimNode,
    nodes: &mut BTreeMap<String, Peer>,
    contradicted: &Notify,
) {
    if node.metadata.name == context.settings.node_name {
        *context.own_node.write() = Some(node.facts(&context.allocatable));
        let conditions = node.status.conditions.iter().flatten();
        let unknown = conditions
            .filter(|condition| condition.kind == "Ready")
            .any(|condition| condition.status == "Unknown");
        if unknown {
            contradicted.notify_one();
        }
    }
    let addresses = node.status.addresses.iter().flatten();
    let internal = addresses
        .filter(|address| address.kind == "InternalIP")
        .find_map(|address| address.address.parse().ok());
    nodes.insert(
        node.metadata.name,
        Peer {
            cidr: node.spec.pod_cidr,
            address: internal,
        },
    );
}

/// Nobody gave us addresses for pods: take a network that no other node has. Without a
/// controller manager a cluster would otherwise never run a pod.
async fn choose(context: &Context, nodes: &BTreeMap<String, Peer>) {
    let range = context
        .settings
        .cluster_cidr
        .as_deref()
        .unwrap_or(DEFAULT_CLUSTER_CIDR);
    let taken: Vec<&str> = nodes.values().map(|peer| peer.cidr.as_str()).collect();
    let Some(cidr) = free_network(range, &context.settings.node_name, &taken) else {
        tracing::error!(range, "no network is left for this node's pods");
        return;
    };
    tracing::info!(
        cidr,
        "no controller gave this node a pod CIDR; it chose one"
    );
    let path = rest::path("", "v1", "", "nodes", &context.settings.node_name);
    let patch = json!({"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
    if let Err(error) = rest::patch::<Value>(&context.client, &path, PatchType::Merge, &patch).await
    {
        tracing::warn!(%error, "cannot write the node's pod CIDR");
    }
}

/// A /24 of the range that is not taken; the search begins at a place that depends on the
/// name, so that nodes that choose at the same time rarely meet.
fn free_network(range: &str, name: &str, taken: &[&str]) -> Option<String> {
    let (base, length) = range.split_once('/')?;
    let base = u32::from(base.parse::<Ipv4Addr>().ok()?);
    let length: u32 = length
        .parse()
        .ok()
        .filter(|length| (8..=24).contains(length))?;
    let count = 1u32 << (24 - length);
    let start = name.bytes().fold(0u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    (0..count)
        .map(|step| base + ((start.wrapping_add(step) % count) << 8))
        .map(|network| format!("{}/24", Ipv4Addr::from(network)))
        .find(|cidr| !taken.contains(&cidr.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_choose_different_networks() {
        let first = free_network("10.244.0.0/16", "node1", &[]).unwrap();
        let second = free_network("10.244.0.0/16", "node1", &[&first]).unwrap();
        assert_ne!(first, second);
        assert!(first.starts_with("10.244.") && first.ends_with(".0/24"));
        assert_eq!(
            free_network("10.1.2.0/24", "x", &[]).as_deref(),
            Some("10.1.2.0/24")
        );
        assert_eq!(free_network("10.1.2.0/24", "x", &["10.1.2.0/24"]), None);
    }
}
