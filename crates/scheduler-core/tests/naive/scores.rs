//! Scores of plugins over the feasible nodes, and their weighted sum.

use super::*;

pub fn score(world: &World, pod: &Pod, nodes: &[&Node]) -> BTreeMap<Text, i64> {
    let rules = world.rules(pod);
    let each = |score: fn(&World, &Pod, &Node) -> i64| -> Vec<i64> {
        nodes.iter().map(|node| score(world, pod, node)).collect()
    };
    let columns: Vec<(&str, Vec<i64>)> = vec![
        ("TaintToleration", taints(pod, nodes)),
        ("NodeAffinity", preferred_nodes(pod, nodes)),
        ("NodeResourcesFit", each(fit)),
        ("PodTopologySpread", soft_spread(world, pod, nodes)),
        ("InterPodAffinity", preferred_pods(world, pod, nodes)),
        ("NodeResourcesBalancedAllocation", each(balanced)),
        ("ImageLocality", each(image_locality)),
    ];
    nodes
        .iter()
        .enumerate()
        .map(|(i, node)| {
            let total = columns
                .iter()
                .map(|(plugin, scores)| rules.weight(plugin) * scores[i])
                .sum();
            (node.metadata.name.clone(), total)
        })
        .collect()
}

pub fn normalize(raw: Vec<i64>, reverse: bool) -> Vec<i64> {
    let max = raw.iter().copied().max().unwrap_or(0);
    raw.into_iter()
        .map(|score| match (max, reverse) {
            (0, true) => 100,
            (0, false) => score,
            (_, true) => 100 - 100 * score / max,
            (_, false) => 100 * score / max,
        })
        .collect()
}

pub fn taints(pod: &Pod, nodes: &[&Node]) -> Vec<i64> {
    let count = |node: &&Node| {
        node.spec
            .taints
            .iter()
            .filter(|taint| {
                taint.effect == "PreferNoSchedule"
                    && !tolerates(pod, &taint.key, &taint.value, &taint.effect)
            })
            .count() as i64
    };
    normalize(nodes.iter().map(count).collect(), true)
}

pub fn preferred_nodes(pod: &Pod, nodes: &[&Node]) -> Vec<i64> {
    let terms = pod
        .spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.clone())
        .unwrap_or_default()
        .preferred;
    let sum = |node: &&Node| {
        terms
            .iter()
            .filter(|term| term_matches(&term.preference, node))
            .map(|term| i64::from(term.weight))
            .sum()
    };
    normalize(nodes.iter().map(sum).collect(), false)
}

/// Allocatable, in use, and wanted of one resource; `None` when it does not count.
fn usage(
    world: &World,
    pod: &Pod,
    node: &Node,
    name: &str,
    scores: bool,
) -> Option<(i64, i64, i64)> {
    let wanted = Wanted::of(pod);
    let amount = if scores {
        wanted.for_scores(name)
    } else {
        wanted.plain(name)
    };
    let capacity = allocatable(node, name);
    // Extended resources count for those who ask for them.
    let counts = capacity > 0 && (!name.contains('/') || amount > 0);
    counts.then(|| (capacity, used(world, node, name, scores), amount))
}

pub fn fit(world: &World, pod: &Pod, node: &Node) -> i64 {
    let rules = world.rules(pod);
    let (mut sum, mut weights) = (0, 0);
    for (name, weight) in &rules.fit_resources {
        let Some((capacity, in_use, amount)) = usage(world, pod, node, name, true) else {
            continue;
        };
        let requested = in_use + amount;
        let score = match &rules.fit {
            Fit::Least if requested > capacity => 0,
            Fit::Least => (capacity - requested) * 100 / capacity,
            Fit::Most => requested.min(capacity) * 100 / capacity,
            Fit::Curve(points) => {
                match on_curve(points, requested.min(capacity) * 100 / capacity) {
                    // A resource that the curve gives nothing has no weight either.
                    0 => continue,
                    score => score,
                }
            }
        };
        sum += weight * score;
        weights += weight;
    }
    match (weights, &rules.fit) {
        (0, _) => 0,
        (_, Fit::Curve(_)) => (sum as f64 / weights as f64).round() as i64,
        _ => sum / weights,
    }
}

fn on_curve(points: &[(i64, i64)], at: i64) -> i64 {
    if at <= points[0].0 {
        return points[0].1;
    }
    for pair in points.windows(2) {
        let ((left, low), (right, high)) = (pair[0], pair[1]);
        if at <= right {
            return low + (high - low) * (at - left) / (right - left);
        }
    }
    points[points.len() - 1].1
}

pub fn balanced(world: &World, pod: &Pod, node: &Node) -> i64 {
    let resources = &world.rules(pod).balanced_resources;
    let wanted = Wanted::of(pod);
    if resources.iter().all(|name| wanted.plain(name) == 0) {
        return 0;
    }
    let evenness = |with: bool| {
        let mut fractions = Vec::new();
        for name in resources {
            if let Some((capacity, in_use, amount)) = usage(world, pod, node, name, false) {
                let used = if with { in_use + amount } else { in_use };
                let fraction = used as f64 / capacity as f64;
                fractions.push(if fraction > 1.0 { 1.0 } else { fraction });
            }
        }
        let deviation = match fractions.len() {
            0 | 1 => 0.0,
            2 => ((fractions[0] - fractions[1]) / 2.0_f64).abs(),
            n => {
                let mean = fractions.iter().sum::<f64>() / n as f64;
                let squares: f64 = fractions
                    .iter()
                    .map(|one| (one - mean) * (one - mean))
                    .sum();
                (squares / n as f64).sqrt()
            }
        };
        ((1.0 - deviation) * 100.0) as i64
    };
    50 + (50 + evenness(true) - evenness(false)) / 2
}

pub fn image_name(name: &str) -> String {
    let (colon, slash) = (
        name.rfind(':').map_or(-1, |i| i as i64),
        name.rfind('/').map_or(-1, |i| i as i64),
    );
    if colon <= slash {
        format!("{name}:latest")
    } else {
        name.to_owned()
    }
}

pub fn image_locality(world: &World, pod: &Pod, node: &Node) -> i64 {
    let has = |node: &Node, image: &str| {
        node.status
            .images
            .iter()
            .find(|one| one.names.iter().any(|name| image_name(name) == image))
            .map(|one| one.size_bytes)
    };
    let mut sum = 0;
    let volumes = pod.spec.volumes.iter().flat_map(|volume| &volume.image);
    let containers = || pod.spec.containers.iter().chain(&pod.spec.init_containers);
    let images = containers().map(|container| &container.image);
    for image in images.chain(volumes.map(|volume| &volume.reference)) {
        let image = image_name(image);
        if let Some(size) = has(node, &image) {
            let nodes = world
                .nodes
                .values()
                .filter(|node| has(node, &image).is_some())
                .count();
            let spread = nodes as f64 / world.nodes.len() as f64;
            sum += (size as f64 * spread) as i64;
        }
    }
    let (min, max) = (23 << 20, (1000 << 20) * containers().count() as i64);
    100 * (sum.clamp(min, max) - min) / (max - min)
}
