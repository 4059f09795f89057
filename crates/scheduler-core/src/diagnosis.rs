//! The words in which a pod learns why it is pending: upstream's, letter by letter, because people and tests match on them.

use std::collections::BTreeMap;

use crate::plugins::{Reason, Rejection};

pub const NO_NODES: &str = "no nodes available to schedule pods";

/// Why no node does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    pub nodes: usize,
    /// A reason that holds for all nodes at once, and the plugin that gave it.
    pub common: Option<(&'static str, String)>,
    pub rejections: Vec<(Rejection, usize)>,
    /// Nodes that were not looked at because required affinity names others.
    pub unnamed: usize,
    /// Reasons that services outside gave, with the number of nodes.
    pub extended: BTreeMap<String, usize>,
    /// What preemption has to say, when it was tried.
    pub preemption: Option<String>,
}

impl Diagnosis {
    pub fn message(&self) -> String {
        let mut message = format!("0/{} nodes are available:", self.nodes);
        match &self.common {
            Some((_, common)) => message += &format!(" {common}."),
            None => {
                let parts = self.parts();
                if !parts.is_empty() {
                    message += &format!(" {}.", parts.join(", "));
                }
            }
        }
        if let Some(preemption) = &self.preemption {
            message += &format!(" {preemption}");
        }
        message
    }

    fn parts(&self) -> Vec<String> {
        let mut counts = self.extended.clone();
        for (rejection, nodes) in &self.rejections {
            for reason in &rejection.reasons {
                *counts.entry(reason.to_string()).or_insert(0) += nodes;
            }
        }
        if self.unnamed > 0 {
            let reason = "node(s) didn't satisfy plugin(s) [NodeAffinity]";
            *counts.entry(reason.to_owned()).or_insert(0) += self.unnamed;
        }
        histogram(counts)
    }

    /// The plugins that turned nodes away, sorted.
    pub fn plugins(&self) -> Vec<&'static str> {
        let mut plugins: Vec<&'static str> = self
            .rejections
            .iter()
            .map(|(rejection, _)| rejection.plugin)
            .collect();
        if self.unnamed > 0 {
            plugins.push("NodeAffinity");
        }
        if !self.extended.is_empty() {
            plugins.push(crate::extended::EXTENDER);
        }
        if let Some((plugin, _)) = &self.common {
            // Whatever else was found out is not what keeps the pod away.
            plugins = vec![plugin];
        }
        plugins.sort_unstable();
        plugins.dedup();
        plugins
    }
}

/// `count reason` parts, sorted as strings.
pub(crate) fn histogram(counts: BTreeMap<String, usize>) -> Vec<String> {
    let mut parts: Vec<String> = counts
        .into_iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    parts.sort();
    parts
}

/// What preemption says when it cannot help: for every node why not.
pub fn preemption_message(nodes: usize, counts: BTreeMap<String, usize>) -> String {
    let parts = histogram(counts).join(", ");
    format!("preemption: 0/{nodes} nodes are available: {parts}.")
}

/// For tests and messages about single reasons.
pub fn text(reason: &Reason) -> String {
    reason.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_sorted_as_strings() {
        let cpu = Rejection {
            plugin: "NodeResourcesFit",
            reasons: [Reason::Insufficient("cpu".into())].into_iter().collect(),
            resolvable: true,
        };
        let taint = Rejection::new("TaintToleration", "node(s) had untolerated taint(s)", false);
        let diagnosis = Diagnosis {
            nodes: 12,
            rejections: vec![(taint, 10), (cpu, 2)],
            preemption: Some("preemption: x".into()),
            ..Diagnosis::default()
        };
        assert_eq!(
            diagnosis.message(),
            "0/12 nodes are available: 10 node(s) had untolerated taint(s), 2 Insufficient cpu. preemption: x"
        );
        assert_eq!(diagnosis.plugins(), ["NodeResourcesFit", "TaintToleration"]);
    }
}
