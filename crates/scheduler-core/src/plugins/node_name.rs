//! NodeName: a pod that names its node fits only there.

use super::{Context, Plugin, Rejection};
use crate::cluster::NodeId;
use crate::events::{Event, Waiting};

pub struct NodeName;

const NAME: &str = "NodeName";

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        let wanted = &context.spec.node_name;
        if wanted.is_empty() || wanted == context.cluster.nodes.name(node) {
            return Ok(());
        }
        let reason = "node(s) didn't match the requested node name";
        Err(Rejection::new(NAME, reason, false))
    }

    fn wakes(&self, _waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        matches!(event, Event::NodeAdded { .. })
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &["a node is added"]
    }
}
