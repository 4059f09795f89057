//! VolumeRestrictions: disks that one pod at a time may write, and claims that one pod at a time may use.

use super::{Context, Plugin, Reach, Rejection};
use crate::cluster::volumes::{READ_WRITE_ONCE_POD, claim_key};
use crate::cluster::{Cluster, NodeId};
use crate::events::{Event, Waiting};
use crate::objects::Text;
use crate::spec::Spec;

pub struct VolumeRestrictions;

pub const NAME: &str = "VolumeRestrictions";

const DISK: &str = "node(s) had no available disk";
const IN_USE: &str = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";

/// The pod's ReadWriteOncePod claims that a placed pod uses.
pub fn exclusive(cluster: &Cluster, namespace: &str, spec: &Spec) -> Vec<Text> {
    let direct = spec.claims.iter().filter(|one| one.owner.is_none());
    let exclusive = |key: &Text| {
        let claim = cluster.volumes.claim(key);
        claim.is_some_and(|claim| claim.modes & READ_WRITE_ONCE_POD != 0) && is_used(cluster, key)
    };
    let keys = direct.map(|one| claim_key(namespace, &one.name));
    keys.filter(exclusive).collect()
}

fn is_used(cluster: &Cluster, claim: &str) -> bool {
    let mut users = cluster.volumes.attached.users(claim);
    users.any(|node| cluster.nodes.is_present(node))
}

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reach(&self) -> Reach {
        Reach::Node
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        let cluster = context.cluster;
        let disks = &context.spec.disks;
        if !disks.is_empty() && cluster.volumes.attached.conflicts(node, disks) {
            return Err(Rejection::new(NAME, DISK, true));
        }
        let claims = &context.plan.volumes.exclusive;
        if claims.iter().any(|claim| is_used(cluster, claim)) {
            return Err(Rejection::new(NAME, IN_USE, true));
        }
        Ok(())
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        let own = |name: &Text| {
            let mut claims = waiting.spec.claims.iter();
            claims.any(|one| one.owner.is_none() && one.name == *name)
        };
        let disks = &waiting.spec.disks;
        match event {
            Event::NodeAdded { .. } => true,
            Event::ClaimChanged {
                namespace,
                name,
                added,
            } => *added && waiting.identity.namespace == **namespace && own(name),
            Event::PlacedPodDeleted { old, identity } => {
                let mut claims = old.claims.iter();
                identity.namespace == waiting.identity.namespace
                    && (old
                        .disks
                        .iter()
                        .any(|disk| disks.iter().any(|one| one.conflicts(disk)))
                        || claims.any(|one| one.owner.is_none() && own(&one.name)))
            }
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "a node is added",
            "a pod that uses one of its disks or claims ends",
            "one of its claims is added",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bed, NOW, with_claims};
    use serde_json::{Value, json};

    #[test]
    fn a_disk_has_one_writer() {
        let disk = |read_only: bool| json!({"volumes": [{"name": "d", "gcePersistentDisk": {"pdName": "d", "readOnly": read_only}}]});
        let mut bed = Bed::new(&[("n1", json!({}))]);
        bed.placed("n1", disk(true));
        assert_eq!(bed.decide(disk(true)), "n1");
        assert_eq!(bed.decide(disk(false)), "1 node(s) had no available disk.");
        let rbd = |monitor: &str| -> Value {
            json!({"volumes": [{"name": "d", "rbd": {"monitors": ["m0", monitor], "image": "i"}}]})
        };
        bed.placed("n1", rbd("m1"));
        assert_eq!(bed.decide(rbd("m2")), "1 node(s) had no available disk.");
    }

    #[test]
    fn an_exclusive_claim_has_one_pod() {
        let mut bed = Bed::new(&[("n1", json!({})), ("n2", json!({}))]);
        bed.claim(
            "c",
            json!({"storageClassName": "wait", "accessModes": ["ReadWriteOncePod"]}),
        );
        bed.placed("n1", with_claims(&["c"]));
        assert_eq!(
            bed.decide(with_claims(&["c"])),
            format!("2 {}.", super::IN_USE)
        );
        bed.core.delete_pod("ns/p1", NOW);
        assert_eq!(bed.core.lengths().unschedulable, 0);
    }
}
