//! Spreading over topology domains: hard constraints, soft ones, and the system's defaults.

use super::*;

pub struct Spread {
    key: Text,
    max_skew: i64,
    min_domains: usize,
    /// All must pick; none at all (or an empty one) picks every pod, but counts none.
    selectors: Selectors,
    nothing: bool,
    honor_affinity: bool,
    honor_taints: bool,
}

pub fn constraints(world: &World, pod: &Pod, action: &str) -> Vec<Spread> {
    let rules = world.rules(pod);
    let defaults = || {
        [(HOSTNAME, 3), ("topology.kubernetes.io/zone", 5)].map(|(key, max_skew)| {
            TopologySpreadConstraint {
                max_skew,
                topology_key: key.into(),
                when_unsatisfiable: "ScheduleAnyway".into(),
                ..TopologySpreadConstraint::default()
            }
        })
    };
    let explicit = !pod.spec.topology_spread_constraints.is_empty();
    let list = match (explicit, &rules.default_spread) {
        (true, _) => pod.spec.topology_spread_constraints.clone(),
        (false, Some(list)) => list.clone(),
        (false, None) => defaults().to_vec(),
    };
    let by_default = default_selectors(world, pod);
    if !explicit && by_default.iter().all(is_empty) {
        return Vec::new();
    }
    let policy =
        |policy: &Option<Text>, default: &str| policy.as_deref().unwrap_or(default) == "Honor";
    list.iter()
        .filter(|constraint| constraint.when_unsatisfiable == action)
        .map(|constraint| Spread {
            key: constraint.topology_key.clone(),
            max_skew: constraint.max_skew.into(),
            min_domains: constraint.min_domains.unwrap_or(1) as usize,
            selectors: match explicit {
                true => own_selectors(constraint, pod),
                false => by_default.clone(),
            },
            nothing: explicit && constraint.label_selector.is_none(),
            honor_affinity: policy(&constraint.node_affinity_policy, "Honor"),
            honor_taints: policy(&constraint.node_taints_policy, "Ignore"),
        })
        .collect()
}

/// The constraint's selector, and the pod's own values of matchLabelKeys.
fn own_selectors(constraint: &TopologySpreadConstraint, pod: &Pod) -> Selectors {
    let mut selectors: Selectors = constraint.label_selector.iter().cloned().collect();
    for key in &constraint.match_label_keys {
        if let Some(value) = pod.metadata.labels.get(key) {
            let one: Labels = [(key.clone(), value.clone())].into_iter().collect();
            selectors.push(equals(&one));
        }
    }
    selectors
}

/// Of the services that select the pod, and of its owner.
pub fn default_selectors(world: &World, pod: &Pod) -> Selectors {
    let mut selectors = Selectors::new();
    for ((namespace, _), labels) in &world.services {
        let service = equals(labels);
        if *namespace == pod.metadata.namespace && picks(Some(&service), &pod.metadata.labels) {
            selectors.push(service);
        }
    }
    for owner in &pod.metadata.owner_references {
        let key = (pod.metadata.namespace.clone(), owner.name.clone());
        if owner.controller && owner.kind == "ReplicaSet" && owner.api_version == "apps/v1" {
            selectors.extend(world.replica_sets.get(&key).cloned());
        }
    }
    selectors
}

pub fn counts_for(constraint: &Spread, pod: &Pod, node: &Node) -> bool {
    let untolerated = node.spec.taints.iter().any(|taint| {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
            && !tolerates(pod, &taint.key, &taint.value, &taint.effect)
    });
    (!constraint.honor_affinity || node_affinity_matches(pod, node))
        && (!constraint.honor_taints || !untolerated)
}

pub fn matching_on(world: &World, pod: &Pod, constraint: &Spread, node: &Node) -> i64 {
    if constraint.nothing || constraint.selectors.iter().all(is_empty) {
        return 0;
    }
    on(world, node)
        .filter(|other| {
            other.metadata.deletion_timestamp.is_none()
                && other.metadata.namespace == pod.metadata.namespace
                && all_pick(&constraint.selectors, &other.metadata.labels)
        })
        .count() as i64
}

pub fn has_all(constraints: &[Spread], node: &Node) -> bool {
    constraints
        .iter()
        .all(|constraint| node.metadata.labels.contains(&constraint.key))
}

pub fn hard_spread(world: &World, pod: &Pod, node: &Node) -> Option<&'static str> {
    let constraints = constraints(world, pod, "DoNotSchedule");
    for constraint in &constraints {
        let Some(value) = node.metadata.labels.get(&constraint.key) else {
            return Some(
                "node(s) didn't match pod topology spread constraints (missing required label)",
            );
        };
        let mut domains: BTreeMap<&Text, i64> = BTreeMap::new();
        for other in world.nodes.values() {
            if has_all(&constraints, other) && counts_for(constraint, pod, other) {
                let domain = other.metadata.labels.get(&constraint.key).unwrap();
                *domains.entry(domain).or_insert(0) += matching_on(world, pod, constraint, other);
            }
        }
        let least = match domains.len() < constraint.min_domains {
            true => 0,
            false => domains.values().copied().min().unwrap_or(0),
        };
        let own =
            i64::from(!constraint.nothing && all_pick(&constraint.selectors, &pod.metadata.labels));
        let count = domains.get(value).copied().unwrap_or(0);
        if count + own - least > constraint.max_skew {
            return Some("node(s) didn't match pod topology spread constraints");
        }
    }
    None
}

pub fn soft_spread(world: &World, pod: &Pod, nodes: &[&Node]) -> Vec<i64> {
    let constraints = constraints(world, pod, "ScheduleAnyway");
    if constraints.is_empty() {
        return vec![0; nodes.len()];
    }
    let system = world.rules(pod).default_spread.is_none();
    let needs_all = !(pod.spec.topology_spread_constraints.is_empty() && system);
    let counted: Vec<&&Node> = nodes
        .iter()
        .filter(|node| !needs_all || has_all(&constraints, node))
        .collect();
    let raw: Vec<Option<i64>> = nodes
        .iter()
        .map(|node| {
            if needs_all && !has_all(&constraints, node) {
                return None;
            }
            let mut score = 0.0;
            for constraint in &constraints {
                let Some(value) = node.metadata.labels.get(&constraint.key) else {
                    continue;
                };
                let (size, count) = if constraint.key == HOSTNAME {
                    (counted.len(), matching_on(world, pod, constraint, node))
                } else {
                    let domains: BTreeSet<Option<&Text>> = counted
                        .iter()
                        .map(|n| n.metadata.labels.get(&constraint.key))
                        .collect();
                    let count = world
                        .nodes
                        .values()
                        .filter(|other| {
                            other.metadata.labels.get(&constraint.key) == Some(value)
                                && (!needs_all || has_all(&constraints, other))
                                && counts_for(constraint, pod, other)
                        })
                        .map(|other| matching_on(world, pod, constraint, other))
                        .sum();
                    (domains.len(), count)
                };
                score += count as f64 * ((size + 2) as f64).ln() + (constraint.max_skew - 1) as f64;
            }
            Some(score.round() as i64)
        })
        .collect();
    let max = raw.iter().flatten().copied().max().unwrap_or(0).max(0);
    let min = raw.iter().flatten().copied().min().unwrap_or(0);
    raw.into_iter()
        .map(|score| match (score, max) {
            (None, _) => 0,
            (_, 0) => 100,
            (Some(score), _) => 100 * (max + min - score) / max,
        })
        .collect()
}
