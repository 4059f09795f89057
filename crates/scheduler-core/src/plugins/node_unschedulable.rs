//! NodeUnschedulable: keeps pods off cordoned nodes unless they tolerate the taint that stands for it.

use super::{Context, Plugin, Rejection};
use crate::cluster::NodeId;
use crate::events::{Event, Waiting};
use crate::objects::Taint;
use crate::spec::Spec;

pub struct NodeUnschedulable;

const NAME: &str = "NodeUnschedulable";

fn tolerates(spec: &Spec) -> bool {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    };
    spec.tolerations.iter().any(|one| one.tolerates(&taint))
}

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        let unschedulable = context.cluster.nodes.entry(node).facts.unschedulable;
        if unschedulable && !tolerates(context.spec) {
            return Err(Rejection::new(NAME, "node(s) were unschedulable", false));
        }
        Ok(())
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        match event {
            Event::NodeAdded { new } => !new.unschedulable,
            Event::NodeUpdated { old, new } => old.unschedulable && !new.unschedulable,
            Event::PodUpdated { pod, change } => {
                *pod == waiting.pod && change.tolerations && tolerates(waiting.spec)
            }
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "a node that is not cordoned is added",
            "a node is uncordoned",
            "the pod itself is changed to tolerate cordoned nodes",
        ]
    }
}
