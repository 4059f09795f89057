//! VolumeZone: a node is in the zone and region that the labels of its pods' bound volumes name.

use std::collections::BTreeSet;

use super::{Context, Plugin, Reach, Rejection};
use crate::cluster::volumes::claim_key;
use crate::cluster::{Cluster, NodeId};
use crate::events::{Event, Waiting};
use crate::labels::Labels;
use crate::migration::ZONES_DELIMITER;
use crate::objects::Text;
use crate::spec::Spec;

pub struct VolumeZone;

pub const NAME: &str = "VolumeZone";

/// The older labels, with the ones that replace them.
const KEYS: [(&str, &str); 4] = [
    (
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/zone",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/region",
    ),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    (
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/region",
    ),
];

/// A label that a node must have with one of these values; `current` stands in for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Zone {
    key: &'static str,
    current: &'static str,
    values: BTreeSet<Text>,
}

/// What the labels of a volume ask of a node. A label with an empty zone in its list is ignored.
pub fn zones_of(labels: &Labels) -> Vec<Zone> {
    let zone = |(key, current): (&'static str, &'static str)| {
        let value = labels.get(key)?;
        let values: BTreeSet<Text> = value
            .split(ZONES_DELIMITER)
            .map(|zone| zone.trim().into())
            .collect();
        (!values.contains("")).then_some(Zone {
            key,
            current,
            values,
        })
    };
    KEYS.into_iter().filter_map(zone).collect()
}

/// Of all bound volumes of a pod.
pub fn zones(cluster: &Cluster, namespace: &str, spec: &Spec) -> Vec<Zone> {
    let mut zones = Vec::new();
    for one in spec.claims.iter().filter(|one| one.owner.is_none()) {
        let claim = cluster.volumes.claim(&claim_key(namespace, &one.name));
        let volume = claim.and_then(|claim| cluster.volumes.volume(&claim.volume_name));
        zones.extend(volume.map_or(Vec::new(), |volume| zones_of(&volume.offer.labels)));
    }
    zones.sort();
    zones.dedup();
    zones
}

/// Why no node will do.
pub fn rejection(cluster: &Cluster, namespace: &str, spec: &Spec) -> Option<String> {
    let why = |name: &Text| {
        let Some(claim) = cluster.volumes.claim(&claim_key(namespace, name)) else {
            return Some(crate::volumes::not_found(name));
        };
        if !claim.volume_name.is_empty() {
            let name = &claim.volume_name;
            let missing = cluster.volumes.volume(name).is_none();
            return missing.then(|| format!("persistentvolume \"{name}\" not found"));
        }
        if claim.class.is_empty() {
            return Some("PersistentVolumeClaim had no pv name and storageClass name".to_owned());
        }
        match cluster.volumes.class(&claim.class) {
            None => Some(format!(
                "storageclass.storage.k8s.io \"{}\" not found",
                claim.class
            )),
            Some(class) => (!class.waits).then(|| "PersistentVolume had no name".to_owned()),
        }
    };
    let direct = spec.claims.iter().filter(|one| one.owner.is_none());
    direct.map(|one| &one.name).find_map(why)
}

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reach(&self) -> Reach {
        Reach::Node
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        let zones = &context.plan.volumes.zones;
        if zones.is_empty() {
            return Ok(());
        }
        let labels = &context.cluster.nodes.entry(node).facts.labels;
        // A cluster of one zone need not say so on its nodes.
        if !KEYS.iter().any(|(key, _)| labels.contains(key)) {
            return Ok(());
        }
        let inside = |zone: &Zone| {
            let value = labels.get(zone.key).or_else(|| labels.get(zone.current));
            value.is_some_and(|value| zone.values.contains(value))
        };
        match zones.iter().all(inside) {
            true => Ok(()),
            false => Err(Rejection::new(
                NAME,
                "node(s) had no available volume zone",
                false,
            )),
        }
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        match event {
            Event::NodeAdded { .. } => true,
            Event::NodeUpdated { old, new } => old.labels != new.labels,
            Event::StorageClassChanged { added, waits, .. } => *added && *waits,
            Event::ClaimChanged {
                namespace, name, ..
            } => {
                let mut own = waiting.spec.claims.iter();
                waiting.identity.namespace == **namespace
                    && own.any(|one| one.owner.is_none() && one.name == **name)
            }
            Event::VolumeChanged { change } => change.added || change.moved,
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "a node is added or relabelled",
            "one of its claims changes",
            "a volume comes or moves",
            "a storage class that waits for consumers is added",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_come_in_lists_and_nonsense_is_ignored() {
        let zone = |value: &str| {
            let labels = [("topology.kubernetes.io/zone", value)];
            let zones = zones_of(&labels.into_iter().collect());
            let values = zones.first().map(|zone| zone.values.iter().cloned());
            values.map(|values| values.collect::<Vec<_>>().join(","))
        };
        assert_eq!(zone("a").as_deref(), Some("a"));
        assert_eq!(zone("b__ a").as_deref(), Some("a,b"));
        assert_eq!(zone("a____b"), None);
        assert_eq!(zone(""), None);
    }

    #[test]
    fn a_node_is_in_the_volumes_zone() {
        use super::super::testing::{Bed, with_claims};
        use serde_json::json;
        let zone = "topology.kubernetes.io/zone";
        let mut bed = Bed::new(&[("a", json!({zone: "za"})), ("b", json!({zone: "zb"}))]);
        bed.claim("in-b", json!({"volumeName": "b"}));
        bed.claim("in-c", json!({"volumeName": "c"}));
        let beta = "failure-domain.beta.kubernetes.io/zone";
        bed.volume("b", json!({beta: "zb__zc"}), json!({}));
        bed.volume("c", json!({zone: "zc"}), json!({}));
        assert_eq!(bed.decide(with_claims(&["in-b"])), "b");
        assert_eq!(
            bed.decide(with_claims(&["in-c"])),
            "2 node(s) had no available volume zone."
        );
        bed.claim("gone", json!({"volumeName": "missing"}));
        assert_eq!(
            bed.decide(with_claims(&["gone"])),
            "persistentvolume \"missing\" not found."
        );
    }
}
