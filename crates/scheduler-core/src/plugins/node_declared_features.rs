//! NodeDeclaredFeatures: a node declares every feature that the pod needs (KEP-5328; on by default since 1.36).

use super::{Context, Plugin, Reach, Rejection};
use crate::cluster::NodeId;
use crate::events::{Event, Waiting};
use crate::objects::{Container, Pod};

pub struct NodeDeclaredFeatures;

const NAME: &str = "NodeDeclaredFeatures";

const RESTART_ALL: &str = "RestartAllContainersOnContainerExits";
const HOST_NETWORK: &str = "UserNamespacesHostNetworkSupport";

/// What the pod needs of a node, sorted. The other features that upstream knows matter for updates only.
pub fn required(pod: &Pod) -> Vec<&'static str> {
    let restarts_all = |container: &Container| {
        let mut rules = container.restart_policy_rules.iter();
        rules.any(|rule| rule.action == "RestartAllContainers")
    };
    let spec = &pod.spec;
    let mut containers = spec.containers.iter().chain(&spec.init_containers);
    let mut features = Vec::new();
    if containers.any(restarts_all) {
        features.push(RESTART_ALL);
    }
    if spec.host_network && spec.host_users == Some(false) {
        features.push(HOST_NETWORK);
    }
    features
}

impl Plugin for NodeDeclaredFeatures {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reach(&self) -> Reach {
        Reach::Last
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        let declared = &context.cluster.nodes.entry(node).facts.features;
        let mut required = context.spec.features.iter();
        if required.all(|feature| declared.iter().any(|own| own == feature)) {
            return Ok(());
        }
        let reason = "node(s) didn't match Pod's required features";
        Err(Rejection::new(NAME, reason, false))
    }

    fn wakes(&self, _waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        match event {
            Event::NodeAdded { .. } => true,
            Event::NodeUpdated { old, new } => old.features != new.features,
            // What a pod needs follows from fields that do not change.
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &["a node is added", "a node declares other features"]
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bed, NOW, read};
    use serde_json::json;

    #[test]
    fn a_node_declares_what_the_pod_needs() {
        let mut bed = Bed::new(&[("n1", json!({}))]);
        let spec = json!({"hostNetwork": true, "hostUsers": false});
        assert_eq!(
            bed.decide(spec.clone()),
            "1 node(s) didn't match Pod's required features."
        );
        let node = json!({"metadata": {"name": "n2"}, "status": {"allocatable": {"pods": "1"},
                          "declaredFeatures": ["UserNamespacesHostNetworkSupport"]}});
        bed.core.apply_node(&read(node), NOW);
        assert_eq!(bed.core.lengths().unschedulable, 0);
        assert_eq!(bed.decide(spec), "n2");
    }
}
