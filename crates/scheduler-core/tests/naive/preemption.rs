//! Which pods would have to go, tried node by node and pod by pod.

use super::*;

/// The node to make room on and the pods to evict, most important first. `row` breaks the last tie.
pub fn preempt(world: &World, pod: &Pod, row: impl Fn(&Text) -> u32) -> Option<(Text, Vec<Text>)> {
    type Rank = (
        usize,
        Option<i64>,
        i64,
        usize,
        std::cmp::Reverse<Option<Text>>,
        u32,
    );
    if prefilter(world, pod).is_some() {
        return None;
    }
    let mut best: Option<(Rank, Text, Vec<Text>)> = None;
    for node in world.nodes.values() {
        let reasons = filter_twice(world, pod, node);
        let named = named_nodes(pod).is_none_or(|names| names.contains(&node.metadata.name));
        if !named || reasons.is_empty() || reasons.iter().any(|why| is_hopeless(pod, node, why)) {
            continue;
        }
        let Some((victims, violations)) = victims_on(world, pod, node) else {
            continue;
        };
        let priorities: Vec<i64> = victims
            .iter()
            .map(|key| i64::from(world.placed[key].0.priority()))
            .collect();
        let sum: i64 = priorities.iter().map(|one| one + (1 << 31)).sum();
        let highest = priorities.iter().copied().max();
        let earliest = victims
            .iter()
            .map(|key| &world.placed[key].0)
            .filter(|victim| Some(i64::from(victim.priority())) == highest)
            .map(started)
            .min();
        let latest = std::cmp::Reverse(earliest);
        let row = row(&node.metadata.name);
        let rank = (violations, highest, sum, victims.len(), latest, row);
        if best.as_ref().is_none_or(|(least, ..)| rank < *least) {
            best = Some((rank, node.metadata.name.clone(), victims));
        }
    }
    best.map(|(_, node, victims)| (node, victims))
}

fn started(pod: &Pod) -> Text {
    let status = pod.status.start_time.clone();
    status
        .or_else(|| pod.metadata.creation_timestamp.clone())
        .unwrap_or_default()
}

/// Those of these pods, in order, whose eviction some budget no longer allows.
pub fn violating(world: &World, pods: &[Text]) -> BTreeSet<Text> {
    let mut left: BTreeMap<&Text, i32> = BTreeMap::new();
    let mut violating = BTreeSet::new();
    for key in pods {
        let pod = &world.placed[key].0;
        for (name, budget) in &world.budgets {
            let applies = budget.metadata.namespace == pod.metadata.namespace
                && !pod.metadata.labels.is_empty()
                && !budget.spec.selector.as_ref().is_some_and(is_empty)
                && picks(budget.spec.selector.as_ref(), &pod.metadata.labels);
            if applies {
                let left = left
                    .entry(name)
                    .or_insert(budget.status.disruptions_allowed);
                *left -= 1;
                if *left < 0 {
                    violating.insert(key.clone());
                }
            }
        }
    }
    violating
}

/// Evictions cannot cure this.
pub fn is_hopeless(pod: &Pod, node: &Node, reason: &str) -> bool {
    match reason.strip_prefix("Insufficient ") {
        Some(name) => Wanted::of(pod).plain(name) > allocatable(node, name),
        None => {
            reason == "node(s) were unschedulable"
                || reason == "node(s) had untolerated taint(s)"
                || reason == "node(s) didn't match Pod's node affinity/selector"
                || reason == "node(s) didn't match pod affinity rules"
                || reason.ends_with("(missing required label)")
                || is_about_volumes(reason)
                || reason == "node(s) didn't match Pod's required features"
        }
    }
}

/// Where volumes are does not depend on who uses them.
fn is_about_volumes(reason: &str) -> bool {
    [
        "node(s) didn't match PersistentVolume's node affinity",
        "node(s) didn't find available persistent volumes to bind",
        "node(s) did not have enough free storage",
        "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
        "node(s) had no available volume zone",
    ]
    .contains(&reason)
}

/// The pods to evict from this node, most important first, and how many of them some budget protects.
pub fn victims_on(world: &World, pod: &Pod, node: &Node) -> Option<(Vec<Text>, usize)> {
    let mut lower: Vec<Text> = world
        .placed
        .iter()
        .filter(|(_, (other, at))| *at == node.metadata.name && other.priority() < pod.priority())
        .map(|(key, _)| key.clone())
        .collect();
    if lower.is_empty() {
        return None;
    }
    lower.sort_by_key(|key| {
        (
            std::cmp::Reverse(world.placed[key].0.priority()),
            started(&world.placed[key].0),
            key.clone(),
        )
    });
    let mut without = world.clone();
    without.placed.retain(|key, _| !lower.contains(key));
    if !filter_twice(&without, pod, node).is_empty() {
        return None;
    }
    // Those that a budget protects come back first.
    let protected = violating(world, &lower);
    let back = lower.iter().filter(|key| protected.contains(*key));
    let then = lower.iter().filter(|key| !protected.contains(*key));
    let mut victims = BTreeSet::new();
    for key in back.chain(then) {
        let mut with = without.clone();
        with.placed.insert(key.clone(), world.placed[key].clone());
        match filter_twice(&with, pod, node).is_empty() {
            true => without = with,
            false => drop(victims.insert(key.clone())),
        }
    }
    let violations = victims.intersection(&protected).count();
    lower.retain(|key| victims.contains(key));
    Some((lower, violations))
}
