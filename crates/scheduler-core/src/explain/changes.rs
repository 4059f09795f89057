//! Changes that could let a pod in, in words and applied: to the pod's spec, or to a node.
//!
//! Invariant: what a change says is what [`Change::apply`] does to the spec, so that a suggestion that was verified is true.

use serde::{Serialize, Serializer};

use crate::labels::{Labels, Operator};
use crate::objects::{Taint, Text, Toleration};
use crate::spec::Spec;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// The pod asks for less; millicores for cpu, else units.
    AskForLess {
        resource: Text,
        by: i64,
    },
    Tolerate {
        key: Text,
        value: Text,
        effect: Text,
    },
    DropNodeSelector {
        key: Text,
        value: Text,
    },
    DropNodeAffinity,
    DropHostPort {
        port: i32,
        protocol: Text,
        ip: Text,
    },
    /// The hard spread constraint with this index may be more uneven.
    RaiseMaxSkew {
        constraint: usize,
        key: Text,
        to: i32,
    },
    /// The hard spread constraint with this index becomes a wish (ScheduleAnyway).
    SoftenSpread {
        constraint: usize,
        key: Text,
    },
    /// The required affinity term with this index goes.
    DropAffinity {
        term: usize,
        key: Text,
    },
    /// All required anti-affinity terms over this topology go.
    DropAntiAffinity {
        key: Text,
    },
    Uncordon,
    LabelNode {
        key: Text,
        value: Text,
    },
    /// These pods go from the node; with the owner to scale down, where one is known.
    Remove {
        pods: Vec<Text>,
        owner: Option<Text>,
    },
}

impl Change {
    /// Changes of one kind, whatever the amounts: those are told apart by node, not by suggestion.
    pub(super) fn kind(&self) -> Self {
        match self {
            Self::AskForLess { resource, .. } => Self::AskForLess {
                resource: resource.clone(),
                by: 0,
            },
            Self::RaiseMaxSkew {
                constraint, key, ..
            } => Self::RaiseMaxSkew {
                constraint: *constraint,
                key: key.clone(),
                to: 0,
            },
            other => other.clone(),
        }
    }

    /// How much of a change it is; only the order matters. `spec`: the pod as it is.
    pub(super) fn effort(&self, spec: &Spec) -> u64 {
        match self {
            Self::Uncordon => 15,
            Self::AskForLess { resource, by } => {
                // From 10 (next to nothing) to 110 (nearly all that it asks for).
                let wanted = amount(spec, resource).max(1) as u128;
                10 + u64::try_from(*by as u128 * 100 / wanted)
                    .unwrap_or(100)
                    .min(100)
            }
            Self::LabelNode { .. } => 25,
            Self::Tolerate { .. } => 30,
            Self::RaiseMaxSkew { .. } => 35,
            Self::DropNodeSelector { .. } => 40,
            Self::SoftenSpread { .. } => 45,
            Self::DropHostPort { .. } => 50,
            Self::DropNodeAffinity | Self::DropAffinity { .. } | Self::DropAntiAffinity { .. } => {
                60
            }
            Self::Remove { pods, .. } => 70 + 20 * pods.len() as u64,
        }
    }

    /// Done to the node or its pods, not to the pod in question.
    pub(super) fn is_of_node(&self) -> bool {
        matches!(
            self,
            Self::Uncordon | Self::LabelNode { .. } | Self::Remove { .. }
        )
    }

    pub(super) fn apply(&self, spec: &mut Spec) {
        match self {
            Self::AskForLess { resource, by } => ask_for_less(spec, resource, *by),
            Self::Tolerate { key, value, effect } => spec.tolerations.push(Toleration {
                key: key.clone(),
                operator: "Equal".into(),
                value: value.clone(),
                effect: effect.clone(),
            }),
            Self::DropNodeSelector { key, .. } => {
                let rest = spec.node_selector.iter().filter(|(own, _)| *own != key);
                spec.node_selector = rest.map(|(k, v)| (k.clone(), v.clone())).collect();
            }
            Self::DropNodeAffinity => spec.required_nodes = None,
            Self::DropHostPort { port, protocol, ip } => spec
                .ports
                .retain(|own| own.port != *port || own.protocol != *protocol || own.ip != *ip),
            Self::RaiseMaxSkew { constraint, to, .. } => {
                if let Some(own) = hard_constraint(spec, *constraint) {
                    own.max_skew = *to;
                }
            }
            Self::SoftenSpread { constraint, .. } => {
                if let Some(own) = hard_constraint(spec, *constraint) {
                    own.when_unsatisfiable = "ScheduleAnyway".into();
                }
            }
            Self::DropAffinity { term, .. } if *term < spec.affinity.len() => {
                spec.affinity.remove(*term);
            }
            Self::DropAntiAffinity { key } => {
                spec.anti_affinity.retain(|term| term.topology_key != *key);
            }
            Self::DropAffinity { .. }
            | Self::Uncordon
            | Self::LabelNode { .. }
            | Self::Remove { .. } => {}
        }
    }

    /// After "fits ": what is to be done to the pod.
    fn words(&self) -> String {
        match self {
            Self::AskForLess { resource, by } => {
                format!(
                    "if it asked for {} less {}",
                    quantity(resource, *by),
                    name_of(resource)
                )
            }
            Self::Tolerate { .. } => format!("with a toleration for {}", self.taint()),
            Self::DropNodeSelector { key, value } => {
                format!("without the node selector {key}={value}")
            }
            Self::DropNodeAffinity => "without its required node affinity".to_owned(),
            Self::DropHostPort { port, protocol, .. } => {
                format!("without the host port {port}/{protocol}")
            }
            Self::RaiseMaxSkew { key, to, .. } => {
                format!("with maxSkew {to} in its spread constraint over {key}")
            }
            Self::SoftenSpread { key, .. } => {
                format!("if its spread constraint over {key} were ScheduleAnyway")
            }
            Self::DropAffinity { key, .. } => {
                format!("without its required pod affinity over {key}")
            }
            Self::DropAntiAffinity { key } => {
                format!("without its required pod anti-affinity over {key}")
            }
            Self::Uncordon => "if uncordoned".to_owned(),
            Self::LabelNode { key, value } => format!("if labelled {key}={value}"),
            Self::Remove { pods, owner } => {
                let names: Vec<&str> = pods.iter().map(Text::as_str).collect();
                let hint = owner
                    .as_ref()
                    .map_or_else(String::new, |owner| format!(" (scale down {owner})"));
                format!(
                    "without the pod{} {}{hint}",
                    plural(pods.len()),
                    names.join(", ")
                )
            }
        }
    }

    fn taint(&self) -> String {
        match self {
            Self::Tolerate { key, value, effect } if value.is_empty() => format!("{key}:{effect}"),
            Self::Tolerate { key, value, effect } => format!("{key}={value}:{effect}"),
            _ => String::new(),
        }
    }
}

impl Serialize for Change {
    /// As words: a suggestion is read by people; programs have its nodes and whether it suffices.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.words())
    }
}

/// All of them after "fits ": like changes are drawn together.
pub(super) fn words(changes: &[Change]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let less: Vec<&Change> = changes
        .iter()
        .filter(|change| matches!(change, Change::AskForLess { .. }))
        .collect();
    if less.len() > 1 {
        let amounts: Vec<String> = less
            .iter()
            .filter_map(|change| match change {
                Change::AskForLess { resource, by } => Some(format!(
                    "{} less {}",
                    quantity(resource, *by),
                    name_of(resource)
                )),
                _ => None,
            })
            .collect();
        parts.push(format!("if it asked for {}", amounts.join(" and ")));
    } else {
        parts.extend(less.iter().map(|change| change.words()));
    }
    let taints: Vec<String> = changes
        .iter()
        .filter(|change| matches!(change, Change::Tolerate { .. }))
        .map(Change::taint)
        .collect();
    if !taints.is_empty() {
        let s = plural(taints.len());
        parts.push(match taints.len() {
            1 => format!("with a toleration for {}", taints[0]),
            _ => format!("with toleration{s} for {}", taints.join(" and ")),
        });
    }
    let others = changes
        .iter()
        .filter(|change| !matches!(change, Change::AskForLess { .. } | Change::Tolerate { .. }));
    parts.extend(others.map(Change::words));
    parts.join(", and ")
}

pub(super) fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

pub(super) fn amount(spec: &Spec, resource: &str) -> i64 {
    let requests = &spec.requests;
    match resource {
        "cpu" => requests.milli_cpu,
        "memory" => requests.memory,
        "ephemeral-storage" => requests.ephemeral_storage,
        name => requests.scalar(name),
    }
}

fn ask_for_less(spec: &mut Spec, resource: &str, by: i64) {
    let requests = &mut spec.requests;
    match resource {
        "cpu" => {
            requests.milli_cpu -= by;
            requests.nonzero_milli_cpu -= by;
        }
        "memory" => {
            requests.memory -= by;
            requests.nonzero_memory -= by;
        }
        "ephemeral-storage" => requests.ephemeral_storage -= by,
        name => {
            for (own, amount) in &mut requests.scalars {
                if own == name {
                    *amount -= by;
                }
            }
        }
    }
}

fn hard_constraint(
    spec: &mut Spec,
    index: usize,
) -> Option<&mut crate::objects::TopologySpreadConstraint> {
    spec.spread
        .iter_mut()
        .filter(|own| own.when_unsatisfiable == "DoNotSchedule")
        .nth(index)
}

/// The taint that stands for a cordon goes with it.
pub(super) fn stands_for_cordon(taint: &Taint) -> bool {
    taint.key == "node.kubernetes.io/unschedulable"
}

/// The labels that a node lacks to be selected; `None` when labels alone cannot do it.
pub(super) fn missing_labels(spec: &Spec, labels: &Labels) -> Option<Vec<(Text, Text)>> {
    let mut missing: Vec<(Text, Text)> = spec
        .node_selector
        .iter()
        .filter(|(key, value)| labels.get(key) != Some(*value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if let Some(required) = &spec.required_nodes {
        let of_term = |term: &crate::objects::NodeSelectorTerm| {
            let mut lacking = Vec::new();
            // A name is nothing that a label could change.
            if !term.match_fields.is_empty() {
                return None;
            }
            for one in term
                .match_expressions
                .iter()
                .filter(|one| !one.matches(labels))
            {
                match one.operator {
                    Operator::In => lacking.push((one.key.clone(), one.values.first()?.clone())),
                    Operator::Exists => lacking.push((one.key.clone(), Text::default())),
                    _ => return None,
                }
            }
            (!term.match_expressions.is_empty()).then_some(lacking)
        };
        let terms = required.node_selector_terms.iter();
        missing.extend(terms.filter_map(of_term).min_by_key(Vec::len)?);
    }
    missing.sort();
    missing.dedup();
    let mut keys: Vec<&Text> = missing.iter().map(|(key, _)| key).collect();
    keys.dedup();
    (!missing.is_empty() && keys.len() == missing.len()).then_some(missing)
}

fn name_of(resource: &str) -> &str {
    match resource {
        "cpu" => "CPU",
        other => other,
    }
}

/// An amount as people write it: 200m, 2, 1536Mi.
pub(super) fn quantity(resource: &str, amount: i64) -> String {
    if resource == "cpu" {
        return match amount % 1000 {
            0 => (amount / 1000).to_string(),
            _ => format!("{amount}m"),
        };
    }
    if !(resource == "memory"
        || resource == "ephemeral-storage"
        || resource.starts_with("hugepages-"))
    {
        return amount.to_string();
    }
    for (unit, size) in [("Gi", 1_i64 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
        if amount >= size && amount % size == 0 {
            return format!("{}{unit}", amount / size);
        }
    }
    amount.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_read_as_sentences() {
        let less = |resource: &str, by| Change::AskForLess {
            resource: resource.into(),
            by,
        };
        let tolerate = |key: &str, value: &str| Change::Tolerate {
            key: key.into(),
            value: value.into(),
            effect: "NoSchedule".into(),
        };
        for (changes, expected) in [
            (vec![less("cpu", 200)], "if it asked for 200m less CPU"),
            (
                vec![less("cpu", 2000), less("memory", 3 << 20)],
                "if it asked for 2 less CPU and 3Mi less memory",
            ),
            (
                vec![tolerate("dedicated", "gpu")],
                "with a toleration for dedicated=gpu:NoSchedule",
            ),
            (
                vec![tolerate("a", ""), tolerate("b", "c"), less("cpu", 1)],
                "if it asked for 1m less CPU, and with tolerations for a:NoSchedule and b=c:NoSchedule",
            ),
            (
                vec![Change::Remove {
                    pods: vec!["default/web-1".into()],
                    owner: Some("ReplicaSet web".into()),
                }],
                "without the pod default/web-1 (scale down ReplicaSet web)",
            ),
        ] {
            assert_eq!(words(&changes), expected);
        }
    }

    #[test]
    fn labels_that_are_missing() {
        let spec = Spec {
            node_selector: [("disk", "ssd"), ("zone", "a")].into_iter().collect(),
            ..Spec::default()
        };
        let labels: Labels = [("zone", "a")].into_iter().collect();
        let missing = missing_labels(&spec, &labels).unwrap();
        assert_eq!(missing, [("disk".into(), "ssd".into())]);
    }
}
