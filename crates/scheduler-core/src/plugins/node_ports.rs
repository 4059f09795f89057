//! NodePorts: host ports are taken at most once on a node.

use super::{Context, Plugin, Reach, Rejection};
use crate::cluster::NodeId;
use crate::events::{Event, Waiting};
use crate::spec::HostPort;

pub struct NodePorts;

const NAME: &str = "NodePorts";

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reach(&self) -> Reach {
        Reach::Node
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        if context.spec.ports.is_empty() {
            return Ok(());
        }
        let used = &context.cluster.nodes.entry(node).ports;
        let taken = |port: &HostPort| used.iter().any(|(own, _)| own.conflicts(port));
        if context.spec.ports.iter().any(taken) {
            let reason = "node(s) didn't have free ports for the requested pod ports";
            return Err(Rejection::new(NAME, reason, true));
        }
        Ok(())
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        match event {
            Event::NodeAdded { .. } => true,
            Event::PlacedPodDeleted { old, .. } => old
                .ports
                .iter()
                .any(|port| waiting.spec.ports.iter().any(|own| own.conflicts(port))),
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "a node is added",
            "a pod that holds one of its host ports ends",
        ]
    }
}
