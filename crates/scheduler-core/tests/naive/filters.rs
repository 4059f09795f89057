//! Filters on a node itself, in upstream's order; the first that fails gives the reasons.

use super::*;

pub fn filter(world: &World, pod: &Pod, node: &Node) -> Vec<String> {
    let text = |reason: &str| vec![reason.to_owned()];
    let rules = world.rules(pod);
    if rules.filters("NodeUnschedulable")
        && node.spec.unschedulable
        && !tolerates(pod, "node.kubernetes.io/unschedulable", "", "NoSchedule")
    {
        return text("node(s) were unschedulable");
    }
    let untolerated = node.spec.taints.iter().any(|taint| {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
            && !tolerates(pod, &taint.key, &taint.value, &taint.effect)
    });
    if untolerated && rules.filters("TaintToleration") {
        return text("node(s) had untolerated taint(s)");
    }
    if rules.filters("NodeAffinity") && !node_affinity_matches(pod, node) {
        return text("node(s) didn't match Pod's node affinity/selector");
    }
    if rules.filters("NodePorts") && ports_taken(world, pod, node) {
        return text("node(s) didn't have free ports for the requested pod ports");
    }
    let insufficient = resources(world, pod, node);
    if rules.filters("NodeResourcesFit") && !insufficient.is_empty() {
        return insufficient;
    }
    let volumes = filter_volumes(world, pod, node);
    if !volumes.is_empty() {
        return volumes;
    }
    if rules.filters("PodTopologySpread")
        && let Some(reason) = hard_spread(world, pod, node)
    {
        return text(reason);
    }
    if rules.filters("InterPodAffinity")
        && let Some(reason) = pod_affinity(world, pod, node)
    {
        return text(reason);
    }
    if lacks_features(pod, node) {
        return text("node(s) didn't match Pod's required features");
    }
    Vec::new()
}

pub fn tolerates(pod: &Pod, key: &str, value: &str, effect: &str) -> bool {
    let one = |t: &Toleration| {
        (t.effect.is_empty() || t.effect == effect)
            && (t.key.is_empty() || t.key == key)
            && (t.operator == "Exists"
                || (matches!(t.operator.as_str(), "" | "Equal") && t.value == value))
    };
    pod.spec.tolerations.iter().any(one)
}

pub fn named_nodes(pod: &Pod) -> Option<BTreeSet<Text>> {
    let affinity = pod.spec.affinity.as_ref()?;
    let terms = &affinity
        .node_affinity
        .as_ref()?
        .required
        .as_ref()?
        .node_selector_terms;
    let mut all = BTreeSet::new();
    for term in terms {
        let mut fields = term
            .match_fields
            .iter()
            .filter(|field| field.key == "metadata.name" && field.operator == Operator::In)
            .map(|field| field.values.iter().cloned().collect::<BTreeSet<Text>>());
        let first = fields.next()?;
        all.extend(fields.fold(first, |a, b| a.intersection(&b).cloned().collect()));
    }
    (!terms.is_empty()).then_some(all)
}

pub fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = &node.metadata.labels;
    (!term.match_expressions.is_empty() || !term.match_fields.is_empty())
        && term.match_expressions.iter().all(|one| meets(one, labels))
        && term.match_fields.iter().all(|field| {
            let equal = field.values.first() == Some(&node.metadata.name);
            field.values.len() == 1
                && match field.operator {
                    Operator::In => equal,
                    Operator::NotIn => !equal,
                    _ => false,
                }
        })
}

pub fn node_affinity_matches(pod: &Pod, node: &Node) -> bool {
    let labels = &node.metadata.labels;
    let required = pod
        .spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref()?.required.as_ref());
    pod.spec
        .node_selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
        && required.is_none_or(|required| {
            required
                .node_selector_terms
                .iter()
                .any(|term| term_matches(term, node))
        })
}

pub fn on<'a>(world: &'a World, node: &'a Node) -> impl Iterator<Item = &'a Pod> {
    world
        .placed
        .values()
        .filter(move |(_, at)| *at == node.metadata.name)
        .map(|(pod, _)| pod)
}

pub fn host_ports(pod: &Pod) -> Vec<(i32, &str, &str)> {
    pod.spec
        .containers
        .iter()
        .chain(
            pod.spec
                .init_containers
                .iter()
                .filter(|one| one.restart_policy == "Always"),
        )
        .flat_map(|container| &container.ports)
        .filter(|port| port.host_port > 0)
        .map(|port| {
            let protocol = if port.protocol.is_empty() {
                "TCP"
            } else {
                &port.protocol
            };
            let ip = if port.host_ip.is_empty() {
                "0.0.0.0"
            } else {
                &port.host_ip
            };
            (port.host_port, protocol, ip)
        })
        .collect()
}

pub fn ports_taken(world: &World, pod: &Pod, node: &Node) -> bool {
    host_ports(pod).iter().any(|(port, protocol, ip)| {
        on(world, node).any(|other| {
            host_ports(other).iter().any(|(p, pr, i)| {
                p == port && pr == protocol && (i == ip || *i == "0.0.0.0" || *ip == "0.0.0.0")
            })
        })
    })
}

pub fn allocatable(node: &Node, name: &str) -> i64 {
    node.status
        .allocatable
        .get(name)
        .map_or(0, |text| quantity(name, text))
}

pub fn resources(world: &World, pod: &Pod, node: &Node) -> Vec<String> {
    let mut reasons = Vec::new();
    if on(world, node).count() as i64 + 1 > allocatable(node, "pods") {
        reasons.push("Too many pods".to_owned());
    }
    let wanted = Wanted::of(pod);
    let usual = ["cpu", "memory", "ephemeral-storage"];
    let others = wanted
        .plain
        .keys()
        .map(String::as_str)
        .filter(|name| !usual.contains(name));
    for name in usual.into_iter().chain(others) {
        let amount = wanted.plain(name);
        if amount > 0 && amount > allocatable(node, name) - used(world, node, name, false) {
            reasons.push(format!("Insufficient {name}"));
        }
    }
    reasons
}
