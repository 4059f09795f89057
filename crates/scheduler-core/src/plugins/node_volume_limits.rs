//! NodeVolumeLimits: a node attaches at most so many volumes of a CSI driver as its CSINode says.

use super::{Context, Plugin, Reach, Rejection};
use crate::cluster::NodeId;
use crate::cluster::volumes::Handle;
use crate::events::{Event, Waiting};

pub struct NodeVolumeLimits;

pub const NAME: &str = "NodeVolumeLimits";

impl Plugin for NodeVolumeLimits {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reach(&self) -> Reach {
        Reach::Node
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        let wanted = &context.plan.volumes.attach;
        if wanted.is_empty() {
            return Ok(());
        }
        let volumes = &context.cluster.volumes;
        let name = context.cluster.nodes.name(node);
        let Some(csi_node) = volumes.csi_node(name) else {
            return Ok(());
        };
        let limit = |driver: &str| {
            let mut limits = csi_node.limits.iter();
            limits
                .find(|(own, _)| own == driver)
                .map(|(_, limit)| *limit)
        };
        if wanted.iter().all(|one| limit(&one.driver).is_none()) {
            return Ok(());
        }
        let (of_pods, others) = volumes.attached.on(node, name);
        for one in wanted {
            let Some(limit) = limit(&one.driver) else {
                continue;
            };
            let of_driver = |handle: &&&Handle| handle.driver == one.driver;
            // A volume that only an attachment names counts beside the new one, as upstream.
            let new = one.fresh
                + one
                    .handles
                    .iter()
                    .filter(|handle| {
                        let mut own = of_pods.iter().filter(of_driver);
                        !own.any(|other| other.handle == **handle)
                    })
                    .count();
            let attached = of_pods.iter().chain(&others).filter(of_driver).count();
            if new > 0 && (attached + new) as i64 > limit {
                let reason = "node(s) exceed max volume count";
                return Err(Rejection::new(NAME, reason, true));
            }
        }
        Ok(())
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        match event {
            Event::CsiNodeChanged { change } => change.added || change.raised,
            Event::PlacedPodDeleted { old, .. } => {
                !(old.claims.is_empty() && old.attached.is_empty())
            }
            Event::ClaimChanged {
                namespace,
                name,
                added,
            } => {
                *added
                    && waiting.identity.namespace == **namespace
                    && waiting.spec.claims.iter().any(|one| one.name == **name)
            }
            Event::VolumeDetached { driver } => {
                let mut claims = waiting.spec.claims.iter();
                claims.any(|one| one.owner.is_none())
                    || waiting.spec.attached.iter().any(|(own, _)| own == *driver)
            }
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "a node's limits of volumes are raised",
            "a pod with volumes ends",
            "a volume is detached",
            "one of its claims is added",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bed, NOW, read, with_claims};
    use serde_json::json;

    fn limited(limit: i64) -> Bed {
        let mut bed = Bed::new(&[("n1", json!({}))]);
        let node = json!({"metadata": {"name": "n1"}, "spec": {"drivers": [
            {"name": "csi.example.com", "allocatable": {"count": limit}}]}});
        bed.core.apply_csi_node(&read(node), NOW);
        for name in ["a", "b", "c"] {
            let source = json!({"csi": {"driver": "csi.example.com", "volumeHandle": name}});
            bed.volume(name, json!({}), source);
            bed.claim(name, json!({"volumeName": name}));
        }
        bed
    }

    const FULL: &str = "1 node(s) exceed max volume count.";

    #[test]
    fn each_volume_counts_once() {
        let mut bed = limited(2);
        bed.placed("n1", with_claims(&["a"]));
        bed.placed("n1", with_claims(&["b"]));
        assert_eq!(bed.decide(with_claims(&["a"])), "n1");
        assert_eq!(bed.decide(with_claims(&["c"])), FULL);
        bed.core.delete_pod("ns/p2", NOW);
        assert_eq!(bed.core.lengths().unschedulable, 0);
    }

    #[test]
    fn claims_to_be_provisioned_and_attachments_count() {
        let mut bed = limited(2);
        bed.claim("new", json!({"storageClassName": "wait"}));
        let attachment = json!({"metadata": {"name": "x"}, "spec": {"attacher": "csi.example.com", "nodeName": "n1",
            "source": {"persistentVolumeName": "a"}}});
        bed.core.apply_volume_attachment(&read(attachment));
        bed.placed("n1", with_claims(&["b"]));
        assert_eq!(bed.decide(with_claims(&["new"])), FULL);
        bed.core.delete_volume_attachment("x", NOW);
        assert_eq!(bed.core.lengths().unschedulable, 0);
    }
}
