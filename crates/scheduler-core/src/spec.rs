//! A pod as filters and scores read it, without its name, its labels and where it runs: what many pods share.
//!
//! Pods with equal specs are interned into one [`Spec`]; with the [`Identity`] (namespace, labels, owner) it decides everything
//! about the pod. Both are values that can be hashed; nothing in them depends on the cluster.

use crate::labels::{Labels, Operator, Selector};
use crate::migration;
use crate::objects::{
    Affinity, NodeSelector, NodeSelectorTerm, OwnerReference, Pod, PodAffinityTerm,
    PreferredSchedulingTerm, Text, Toleration, TopologySpreadConstraint, Volume,
};
use crate::requests::Requests;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spec {
    /// spec.nodeName of a pod that is still to be scheduled: empty, unless someone asks "what if".
    pub node_name: Text,
    pub scheduler_name: Text,
    pub requests: Requests,
    pub tolerations: Vec<Toleration>,
    pub node_selector: Labels,
    pub required_nodes: Option<NodeSelector>,
    pub preferred_nodes: Vec<PreferredSchedulingTerm>,
    pub ports: Vec<HostPort>,
    /// Normalised image names of init containers, containers and image volumes, in this order.
    pub images: Vec<Text>,
    pub container_count: usize,
    pub affinity: Vec<Term>,
    pub anti_affinity: Vec<Term>,
    pub preferred_affinity: Vec<(i64, Term)>,
    pub preferred_anti_affinity: Vec<(i64, Term)>,
    pub spread: Vec<TopologySpreadConstraint>,
    /// Claims by name. Nearly every pod has its own, so classes are made from specs without them (see [`Spec::without_claims`]).
    pub claims: Vec<ClaimUse>,
    /// Inline disks that exclude each other on a node.
    pub disks: Vec<Disk>,
    /// Driver and handle of the inline volumes that CSI drivers serve.
    pub attached: Vec<(Text, Text)>,
    /// Drivers of inline CSI volumes.
    pub csi_drivers: Vec<Text>,
    /// What a node must declare, sorted.
    pub features: Vec<&'static str>,
}

/// A volume of a pod that is a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimUse {
    /// The claim, in the pod's namespace.
    pub name: Text,
    /// For a claim made for this pod alone (ephemeral): the pod's name and uid, which must own it.
    pub owner: Option<(Text, Text)>,
}

/// An inline disk of the kinds that upstream lets only one pod write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Disk {
    Gce {
        name: Text,
        read_only: bool,
    },
    Aws {
        id: Text,
    },
    Iscsi {
        iqn: Text,
        read_only: bool,
    },
    Rbd {
        monitors: Vec<Text>,
        pool: Text,
        image: Text,
        read_only: bool,
    },
}

/// What of a pod other pods' rules look at, and what its default spreading follows from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    pub namespace: Text,
    pub labels: Labels,
    /// The controlling owner, of the kinds that spreading knows.
    pub owner: Option<OwnerReference>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    pub port: i32,
    pub protocol: Text,
    pub ip: Text,
}

impl HostPort {
    /// Two ports collide when number and protocol agree and the addresses are equal or one is the wildcard.
    pub fn conflicts(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == WILDCARD || other.ip == WILDCARD)
    }
}

const WILDCARD: &str = "0.0.0.0";

/// An inter-pod (anti-)affinity term. `namespaces` is empty when the pod's own namespace is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    pub selector: Selector,
    pub namespaces: Vec<Text>,
    pub namespace_selector: Selector,
    pub own_namespace: bool,
    pub topology_key: Text,
}

impl Term {
    fn new(term: &PodAffinityTerm) -> Self {
        let mut namespaces = term.namespaces.clone();
        namespaces.sort();
        namespaces.dedup();
        Self {
            selector: Selector::new(term.label_selector.as_ref()),
            own_namespace: namespaces.is_empty() && term.namespace_selector.is_none(),
            namespaces,
            namespace_selector: Selector::new(term.namespace_selector.as_ref()),
            topology_key: term.topology_key.clone(),
        }
    }
}

impl Spec {
    /// `placed`: the pod runs on a node, so granted resizes count and its node is no wish.
    pub fn of(pod: &Pod, placed: bool) -> Self {
        let spec = &pod.spec;
        let empty = Affinity::default();
        let affinity = spec.affinity.as_deref().unwrap_or(&empty);
        let nodes = affinity.node_affinity.clone().unwrap_or_default();
        let pods = affinity.pod_affinity.clone().unwrap_or_default();
        let anti = affinity.pod_anti_affinity.clone().unwrap_or_default();
        let weighted = |terms: &[crate::objects::WeightedPodAffinityTerm]| {
            let one = |term: &crate::objects::WeightedPodAffinityTerm| {
                (i64::from(term.weight), Term::new(&term.pod_affinity_term))
            };
            terms.iter().map(one).collect::<Vec<_>>()
        };
        Self {
            node_name: match placed {
                true => Text::default(),
                false => spec.node_name.clone(),
            },
            scheduler_name: spec.scheduler_name.clone(),
            requests: Requests::of(pod, placed),
            tolerations: spec.tolerations.clone(),
            node_selector: spec.node_selector.clone(),
            required_nodes: nodes.required,
            preferred_nodes: nodes.preferred,
            ports: host_ports(pod),
            images: images(pod),
            container_count: spec.containers.len() + spec.init_containers.len(),
            affinity: pods.required.iter().map(Term::new).collect(),
            anti_affinity: anti.required.iter().map(Term::new).collect(),
            preferred_affinity: weighted(&pods.preferred),
            preferred_anti_affinity: weighted(&anti.preferred),
            spread: spec.topology_spread_constraints.clone(),
            claims: claims(pod),
            disks: spec.volumes.iter().flat_map(disks).collect(),
            attached: spec.volumes.iter().filter_map(attached).collect(),
            csi_drivers: {
                let drivers = spec.volumes.iter().filter_map(|one| one.csi.as_ref());
                drivers.map(|csi| csi.driver.clone()).collect()
            },
            features: crate::plugins::node_declared_features::required(pod),
        }
    }

    /// Has volumes that count on its node.
    pub fn has_volumes(&self) -> bool {
        !(self.claims.is_empty() && self.disks.is_empty() && self.attached.is_empty())
    }

    /// What pods share whose volumes look alike.
    pub fn without_claims(&self) -> Self {
        Self {
            claims: Vec::new(),
            ..self.clone()
        }
    }

    pub fn holds_terms(&self) -> bool {
        !(self.affinity.is_empty()
            && self.anti_affinity.is_empty()
            && self.preferred_affinity.is_empty()
            && self.preferred_anti_affinity.is_empty())
    }

    /// The nodes that required node affinity names (matchFields metadata.name), when every term names some.
    /// `Some(empty)`: the terms contradict themselves and no node can match.
    pub fn named_nodes(&self) -> Option<Vec<Text>> {
        let terms = &self.required_nodes.as_ref()?.node_selector_terms;
        if terms.is_empty() {
            return None;
        }
        let mut names = Vec::new();
        for term in terms {
            names.extend(names_of_term(term)?);
        }
        names.sort();
        names.dedup();
        Some(names)
    }
}

fn names_of_term(term: &NodeSelectorTerm) -> Option<Vec<Text>> {
    let mut names: Option<Vec<Text>> = None;
    for field in &term.match_fields {
        if field.key == "metadata.name" && field.operator == Operator::In {
            names = Some(match names {
                None => field.values.clone(),
                Some(before) => before
                    .into_iter()
                    .filter(|name| field.values.contains(name))
                    .collect(),
            });
        }
    }
    names
}

impl Identity {
    pub fn of(pod: &Pod) -> Self {
        let controller = pod
            .metadata
            .owner_references
            .iter()
            .find(|owner| owner.controller);
        let known = |owner: &&OwnerReference| {
            matches!(
                (owner.api_version.as_str(), owner.kind.as_str()),
                ("v1", "ReplicationController") | ("apps/v1", "ReplicaSet" | "StatefulSet")
            )
        };
        Self {
            namespace: pod.metadata.namespace.clone(),
            labels: pod.metadata.labels.clone(),
            owner: controller.filter(known).map(|owner| OwnerReference {
                uid: Text::default(),
                ..owner.clone()
            }),
        }
    }
}

impl Disk {
    /// One disk, which at least one of the two writes to. EBS has no readers at all.
    pub fn conflicts(&self, other: &Self) -> bool {
        let overlap = |mine: &[Text], theirs: &[Text]| mine.iter().any(|one| theirs.contains(one));
        match (self, other) {
            (
                Self::Gce { name, read_only },
                Self::Gce {
                    name: other,
                    read_only: theirs,
                },
            )
            | (
                Self::Iscsi {
                    iqn: name,
                    read_only,
                },
                Self::Iscsi {
                    iqn: other,
                    read_only: theirs,
                },
            ) => name == other && !(*read_only && *theirs),
            (Self::Aws { id }, Self::Aws { id: other }) => id == other,
            (
                Self::Rbd {
                    monitors,
                    pool,
                    image,
                    read_only,
                },
                Self::Rbd {
                    monitors: other,
                    pool: other_pool,
                    image: other_image,
                    read_only: theirs,
                },
            ) => {
                overlap(monitors, other)
                    && pool == other_pool
                    && image == other_image
                    && !(*read_only && *theirs)
            }
            _ => false,
        }
    }
}

fn claims(pod: &Pod) -> Vec<ClaimUse> {
    let meta = &pod.metadata;
    let one = |volume: &Volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(ClaimUse {
            name: claim.claim_name.clone(),
            owner: None,
        }),
        (None, Some(_)) => Some(ClaimUse {
            name: compact_str::format_compact!("{}-{}", meta.name, volume.name),
            owner: Some((meta.name.clone(), meta.uid.clone())),
        }),
        (None, None) => None,
    };
    pod.spec.volumes.iter().filter_map(one).collect()
}

fn disks(volume: &Volume) -> Vec<Disk> {
    let gce = volume.gce_persistent_disk.as_ref().map(|disk| Disk::Gce {
        name: disk.pd_name.clone(),
        read_only: disk.read_only,
    });
    let aws = volume.aws_elastic_block_store.as_ref();
    let aws = aws.map(|disk| Disk::Aws {
        id: disk.volume_id.clone(),
    });
    let iscsi = volume.iscsi.as_ref().map(|disk| Disk::Iscsi {
        iqn: disk.iqn.clone(),
        read_only: disk.read_only,
    });
    let rbd = volume.rbd.as_ref().map(|disk| Disk::Rbd {
        monitors: disk.monitors.clone(),
        pool: match disk.pool.is_empty() {
            true => "rbd".into(),
            false => disk.pool.clone(),
        },
        image: disk.image.clone(),
        read_only: disk.read_only,
    });
    [gce, aws, iscsi, rbd].into_iter().flatten().collect()
}

fn attached(volume: &Volume) -> Option<(Text, Text)> {
    let source = volume.in_tree();
    let plugin = migration::plugin_of(&source)?;
    let handle = migration::handle_of(&source, &Labels::default())?;
    Some((plugin.driver().into(), handle))
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let sidecars = pod
        .spec
        .init_containers
        .iter()
        .filter(|container| container.restart_policy == "Always");
    let mut ports: Vec<HostPort> = pod
        .spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| &container.ports)
        .filter(|port| port.host_port > 0)
        .map(|port| HostPort {
            port: port.host_port,
            protocol: match port.protocol.is_empty() {
                true => "TCP".into(),
                false => port.protocol.clone(),
            },
            ip: match port.host_ip.is_empty() {
                true => WILDCARD.into(),
                false => port.host_ip.clone(),
            },
        })
        .collect();
    ports.sort();
    ports.dedup();
    ports
}

fn images(pod: &Pod) -> Vec<Text> {
    let volumes = pod
        .spec
        .volumes
        .iter()
        .filter_map(|volume| volume.image.as_ref())
        .map(|image| &image.reference);
    pod.spec
        .init_containers
        .iter()
        .chain(&pod.spec.containers)
        .map(|container| &container.image)
        .chain(volumes)
        .map(|name| normalized_image(name))
        .collect()
}

/// `name` with `:latest` when it has no tag; a colon before the last slash is a port.
pub fn normalized_image(name: &str) -> Text {
    match (name.rfind(':'), name.rfind('/')) {
        (Some(colon), Some(slash)) if colon > slash => name.into(),
        (Some(_), None) => name.into(),
        _ => compact_str::format_compact!("{name}:latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn images_get_their_default_tag() {
        for (name, expected) in [
            ("a", "a:latest"),
            ("a:1", "a:1"),
            ("host:5000/a", "host:5000/a:latest"),
            ("host:5000/a:1", "host:5000/a:1"),
        ] {
            assert_eq!(normalized_image(name), expected);
        }
    }

    #[test]
    fn named_nodes_need_every_term_to_name_some() {
        let field =
            |values: &[&str]| json!({"key": "metadata.name", "operator": "In", "values": values});
        let check = |terms: serde_json::Value, expected: Option<Vec<&str>>| {
            let pod: Pod = serde_json::from_value(json!({"spec": {"affinity": {"nodeAffinity":
                {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}}))
            .unwrap();
            let expected = expected.map(|names| names.into_iter().map(Text::from).collect());
            assert_eq!(Spec::of(&pod, false).named_nodes(), expected);
        };
        check(json!([{"matchFields": [field(&["a"])]}]), Some(vec!["a"]));
        check(
            json!([{"matchFields": [field(&["a"])]}, {"matchExpressions": []}]),
            None,
        );
        check(
            json!([{"matchFields": [field(&["a"]), field(&["b"])]}]),
            Some(vec![]),
        );
    }
}
