//! Affinity between pods: required both ways, and preferred.

use super::*;

/// Does the term of a pod in `own` select `other`? `later`: the term is a placed pod's, seen by a pod that comes later.
pub fn selects(
    world: &World,
    term: &PodAffinityTerm,
    own: &Text,
    other: &Pod,
    later: bool,
) -> bool {
    let namespace = &other.metadata.namespace;
    let selected = match (&term.namespace_selector, world.namespaces.get(namespace)) {
        (None, _) => false,
        (Some(selector), _) if is_empty(selector) => true,
        (Some(selector), Some(labels)) => picks(Some(selector), labels),
        (Some(selector), None) => later && picks(Some(selector), &Labels::default()),
    };
    let listed = match term.namespaces.is_empty() && term.namespace_selector.is_none() {
        true => namespace == own,
        false => term.namespaces.contains(namespace),
    };
    (listed || selected) && picks(term.label_selector.as_ref(), &other.metadata.labels)
}

pub fn required(pod: &Pod, anti: bool) -> Vec<PodAffinityTerm> {
    let Some(affinity) = &pod.spec.affinity else {
        return Vec::new();
    };
    let side = if anti {
        &affinity.pod_anti_affinity
    } else {
        &affinity.pod_affinity
    };
    side.as_ref()
        .map(|side| side.required.clone())
        .unwrap_or_default()
}

pub fn preferred(pod: &Pod) -> Vec<(i64, PodAffinityTerm)> {
    let Some(affinity) = &pod.spec.affinity else {
        return Vec::new();
    };
    let mut terms = Vec::new();
    for (side, sign) in [
        (&affinity.pod_affinity, 1),
        (&affinity.pod_anti_affinity, -1),
    ] {
        for term in side.iter().flat_map(|side| &side.preferred) {
            terms.push((
                sign * i64::from(term.weight),
                term.pod_affinity_term.clone(),
            ));
        }
    }
    terms
}

/// Every placed pod on a node that exists, with that node.
pub fn everywhere(world: &World) -> impl Iterator<Item = (&Pod, &Node)> {
    world
        .placed
        .values()
        .filter_map(|(pod, at)| Some((pod, world.nodes.get(at)?)))
}

pub fn same_domain(a: &Node, b: &Node, key: &str) -> bool {
    let value = a.metadata.labels.get(key);
    value.is_some() && value == b.metadata.labels.get(key)
}

pub fn pod_affinity(world: &World, pod: &Pod, node: &Node) -> Option<&'static str> {
    let own = &pod.metadata.namespace;
    let terms = required(pod, false);
    let all = |other: &Pod| {
        terms
            .iter()
            .all(|term| selects(world, term, own, other, false))
    };
    let mut satisfied = true;
    for term in &terms {
        if !node.metadata.labels.contains(&term.topology_key) {
            return Some("node(s) didn't match pod affinity rules");
        }
        satisfied &= everywhere(world)
            .any(|(other, at)| all(other) && same_domain(node, at, &term.topology_key));
    }
    if !satisfied {
        let nobody = !everywhere(world).any(|(other, at)| {
            all(other)
                && terms
                    .iter()
                    .any(|term| at.metadata.labels.contains(&term.topology_key))
        });
        if !(nobody && all(pod)) {
            return Some("node(s) didn't match pod affinity rules");
        }
    }
    for term in &required(pod, true) {
        if everywhere(world).any(|(other, at)| {
            selects(world, term, own, other, false) && same_domain(node, at, &term.topology_key)
        }) {
            return Some("node(s) didn't match pod anti-affinity rules");
        }
    }
    for (other, at) in everywhere(world) {
        for term in &required(other, true) {
            if selects(world, term, &other.metadata.namespace, pod, true)
                && same_domain(node, at, &term.topology_key)
            {
                return Some("node(s) didn't satisfy existing pods anti-affinity rules");
            }
        }
    }
    None
}

pub fn preferred_pods(world: &World, pod: &Pod, nodes: &[&Node]) -> Vec<i64> {
    let own = preferred(pod);
    let rules = world.rules(pod);
    let ignored = own.is_empty() && rules.ignore_preferred_terms_of_existing_pods;
    let raw: Vec<i64> = nodes
        .iter()
        .map(|node| {
            let mut sum = 0;
            for (other, at) in everywhere(world) {
                for (weight, term) in &own {
                    if selects(world, term, &pod.metadata.namespace, other, false)
                        && same_domain(node, at, &term.topology_key)
                    {
                        sum += weight;
                    }
                }
                if ignored {
                    continue;
                }
                let weight = rules.hard_pod_affinity_weight;
                let hard = required(other, false)
                    .into_iter()
                    .map(|term| (weight, term));
                for (weight, term) in hard.chain(preferred(other)) {
                    if selects(world, &term, &other.metadata.namespace, pod, true)
                        && same_domain(node, at, &term.topology_key)
                    {
                        sum += weight;
                    }
                }
            }
            sum
        })
        .collect();
    let (min, max) = (
        raw.iter().copied().min().unwrap_or(0),
        raw.iter().copied().max().unwrap_or(0),
    );
    raw.into_iter()
        .map(|score| match max - min {
            0 => 0,
            difference => (100.0 * ((score - min) as f64 / difference as f64)) as i64,
        })
        .collect()
}
