//! NodeAffinity: nodeSelector and required node affinity filter, preferred node affinity scores.

use super::{Context, Plugin, Range, Rejection, default_normalize};
use crate::cluster::NodeId;
use crate::events::{Event, Waiting};
use crate::labels::{Labels, Operator};
use crate::objects::{NodeSelector, NodeSelectorTerm, PreferredSchedulingTerm, Text};
use crate::spec::Spec;

#[derive(Clone, Debug, Default)]
pub struct NodeAffinity {
    /// NodeAffinityArgs.addedAffinity: what all pods of the profile must match besides their own rules.
    pub added_required: Option<NodeSelector>,
    /// The same for preferences.
    pub added_preferred: Vec<PreferredSchedulingTerm>,
}

pub const NAME: &str = "NodeAffinity";

/// nodeSelector and required terms together.
pub fn matches(spec: &Spec, name: &Text, labels: &Labels) -> bool {
    let selected = spec
        .node_selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value));
    selected
        && spec
            .required_nodes
            .as_ref()
            .is_none_or(|required| matches_any(required, name, labels))
}

fn matches_any(selector: &NodeSelector, name: &Text, labels: &Labels) -> bool {
    selector
        .node_selector_terms
        .iter()
        .any(|term| matches_term(term, name, labels))
}

/// An empty term matches nothing; metadata.name is the only field there is, and takes exactly one value.
pub fn matches_term(term: &NodeSelectorTerm, name: &Text, labels: &Labels) -> bool {
    if term.match_expressions.is_empty() && term.match_fields.is_empty() {
        return false;
    }
    let field = |field: &crate::labels::Requirement| {
        field.key == "metadata.name"
            && field.values.len() == 1
            && match field.operator {
                Operator::In => field.values[0] == *name,
                Operator::NotIn => field.values[0] != *name,
                _ => false,
            }
    };
    term.match_expressions.iter().all(|one| one.matches(labels))
        && term.match_fields.iter().all(field)
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        let entry = context.cluster.nodes.entry(node);
        if !self.is_allowed(&entry.name, &entry.facts.labels) {
            let reason = "node(s) didn't match scheduler-enforced node affinity";
            return Err(Rejection::new(NAME, reason, false));
        }
        if matches(context.spec, &entry.name, &entry.facts.labels) {
            return Ok(());
        }
        let reason = "node(s) didn't match Pod's node affinity/selector";
        Err(Rejection::new(NAME, reason, false))
    }

    fn score(&self, context: &Context<'_>, node: NodeId) -> i64 {
        let preferred = &context.spec.preferred_nodes;
        if preferred.is_empty() && self.added_preferred.is_empty() {
            return 0;
        }
        let entry = context.cluster.nodes.entry(node);
        preferred
            .iter()
            .chain(&self.added_preferred)
            .filter(|term| matches_term(&term.preference, &entry.name, &entry.facts.labels))
            .map(|term| i64::from(term.weight))
            .sum()
    }

    fn normalize(&self, raw: i64, range: Range) -> i64 {
        default_normalize(raw, range, false)
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        // Names do not change, so only labels are compared; a node is looked at under its own name either way.
        let matches = |name: &Text, labels: &Labels| {
            self.is_allowed(name, labels) && matches(waiting.spec, name, labels)
        };
        match event {
            Event::NodeAdded { new } => matches(new.name, new.labels),
            Event::NodeUpdated { old, new } => {
                !matches(old.name, old.labels) && matches(new.name, new.labels)
            }
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "a node with matching labels is added",
            "a node is relabelled so that it matches",
        ]
    }
}

impl NodeAffinity {
    /// By the profile's own rule.
    fn is_allowed(&self, name: &Text, labels: &Labels) -> bool {
        self.added_required
            .as_ref()
            .is_none_or(|added| matches_any(added, name, labels))
    }
}
