//! VolumeBinding: the volumes of bound claims are reachable, and claims that wait for a first consumer find a volume or a provisioner.
//!
//! What decides is [`crate::volumes`]; what is chosen is reserved with the placement and written by the shell before the pod is bound.

use smallvec::SmallVec;

use super::{Context, Plugin, Reach, Reason, Rejection};
use crate::cluster::NodeId;
use crate::events::{Event, Waiting};

pub struct VolumeBinding;

pub const NAME: &str = "VolumeBinding";

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reach(&self) -> Reach {
        Reach::Node
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        let plan = &context.plan.volumes;
        if !plan.binds() {
            return Ok(());
        }
        let conflicts = plan.conflicts(context.cluster, node);
        let reasons: SmallVec<[Reason; 1]> = [
            (
                conflicts.node,
                "node(s) didn't match PersistentVolume's node affinity",
            ),
            (
                conflicts.bind,
                "node(s) didn't find available persistent volumes to bind",
            ),
            (conflicts.space, "node(s) did not have enough free storage"),
            (
                conflicts.missing,
                "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
            ),
        ]
        .into_iter()
        .filter(|(applies, _)| *applies)
        .map(|(_, text)| Reason::Text(text))
        .collect();
        if reasons.is_empty() {
            return Ok(());
        }
        Err(Rejection {
            plugin: NAME,
            reasons,
            resolvable: false,
        })
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        match event {
            Event::NodeAdded { .. }
            | Event::VolumeChanged { .. }
            | Event::StorageClassChanged { added: true, .. } => true,
            Event::NodeUpdated { old, new } => old.labels != new.labels,
            Event::StorageClassChanged { topologies, .. } => *topologies,
            Event::ClaimChanged {
                namespace, name, ..
            } => {
                waiting.identity.namespace == **namespace
                    && waiting.spec.claims.iter().any(|one| one.name == **name)
            }
            Event::CsiNodeChanged { change } => change.added || change.migrated,
            Event::CsiDriverCapacityOff { driver } => waiting.spec.csi_drivers.contains(driver),
            Event::StorageCapacityChanged { change } => change.added || change.raised,
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "a node is added or relabelled",
            "one of its claims changes",
            "a volume, a storage class or storage capacity comes or changes",
            "a node's CSI drivers change",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bed, NOW, read, with_claims};
    use serde_json::{Value, json};

    fn on_host(name: &str) -> Value {
        json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [name]}]}]}})
    }

    fn two() -> Bed {
        Bed::new(&[("n1", json!({})), ("n2", json!({}))])
    }

    #[test]
    fn a_bound_volume_keeps_the_pod_where_it_is() {
        let mut bed = two();
        bed.volume("v", json!({}), json!({"nodeAffinity": on_host("n2")}));
        bed.claim("bound", json!({"volumeName": "v"}));
        assert_eq!(bed.decide(with_claims(&["bound"])), "n2");
        bed.volume("w", json!({}), json!({"nodeAffinity": on_host("n3")}));
        bed.claim("far", json!({"volumeName": "w"}));
        assert_eq!(
            bed.decide(with_claims(&["far"])),
            "2 node(s) didn't match PersistentVolume's node affinity."
        );
    }

    #[test]
    fn claims_that_cannot_do_are_named() {
        let mut bed = two();
        bed.claim("now", json!({"storageClassName": "other"}));
        assert_eq!(
            bed.decide(with_claims(&["now"])),
            "pod has unbound immediate PersistentVolumeClaims."
        );
        assert_eq!(
            bed.decide(with_claims(&["none"])),
            "persistentvolumeclaim \"none\" not found."
        );
        let claim = json!({"metadata": {"name": "old", "namespace": "ns", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        bed.core.apply_claim(&read(claim), NOW);
        assert_eq!(
            bed.decide(with_claims(&["old"])),
            "persistentvolumeclaim \"old\" is being deleted."
        );
        let ephemeral = json!({"volumes": [{"name": "e", "ephemeral": {}}]});
        assert_eq!(
            bed.decide(ephemeral.clone()),
            "waiting for ephemeral volume controller to create the persistentvolumeclaim \"p4-e\"."
        );
        bed.claim("p5-e", json!({"storageClassName": "wait"}));
        assert_eq!(
            bed.decide(ephemeral),
            "PVC ns/p5-e was not created for pod ns/p5 (pod is not owner)."
        );
    }

    #[test]
    fn a_volume_is_given_once_and_taken_back_when_binding_fails() {
        let mut bed = two();
        let spec = json!({"storageClassName": "local", "nodeAffinity": on_host("n2")});
        bed.volume("v", json!({}), spec);
        let wanted =
            json!({"storageClassName": "local", "resources": {"requests": {"storage": "1Gi"}}});
        bed.claim("a", wanted.clone());
        bed.claim("b", wanted);
        assert_eq!(bed.decide(with_claims(&["a"])), "n2");
        assert_eq!(
            bed.decide(with_claims(&["b"])),
            "2 node(s) didn't find available persistent volumes to bind."
        );
        let id = bed.core.cluster().pod_id("ns/p1").unwrap();
        let pod = bed.core.reference(id);
        bed.core.bind_failed(&pod, NOW);
        bed.core.delete_pod("ns/p1", NOW);
        assert_eq!(bed.decide(with_claims(&["b"])), "n2");
    }

    #[test]
    fn provisioning_needs_room_and_an_allowed_topology() {
        let mut bed = two();
        let driver =
            json!({"metadata": {"name": "csi.example.com"}, "spec": {"storageCapacity": true}});
        bed.core.apply_csi_driver(&read(driver), NOW);
        let capacity = json!({"metadata": {"name": "c", "namespace": "x"}, "storageClassName": "wait", "capacity": "1Gi",
            "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": "n2"}}});
        bed.core.apply_storage_capacity(&read(capacity), NOW);
        let size = |size: &str| json!({"storageClassName": "wait", "resources": {"requests": {"storage": size}}});
        bed.claim("small", size("1Gi"));
        bed.claim("large", size("2Gi"));
        assert_eq!(bed.decide(with_claims(&["small"])), "n2");
        assert_eq!(
            bed.decide(with_claims(&["large"])),
            "2 node(s) did not have enough free storage."
        );
        let class = json!({"metadata": {"name": "wait"}, "provisioner": "other", "volumeBindingMode": "WaitForFirstConsumer",
            "allowedTopologies": [{"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["n1"]}]}]});
        bed.core.apply_storage_class(&read(class), NOW);
        assert_eq!(bed.decide(with_claims(&["large"])), "n1");
    }

    #[test]
    fn an_event_about_its_claim_wakes_a_pod_and_another_does_not() {
        let mut bed = Bed::new(&[("n1", json!({}))]);
        bed.decide(with_claims(&["late"]));
        bed.claim("other", json!({}));
        assert_eq!(bed.core.lengths().unschedulable, 1);
        bed.claim("late", json!({}));
        assert_eq!(bed.core.lengths().unschedulable, 0);
    }
}
