//! What a pod asks for, added up container by container from the text of its quantities; no code shared with the crate.

use super::*;

/// Amounts by resource: millicores for CPU, units for the rest.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub plain: BTreeMap<String, i64>,
    /// With 100m CPU and 200 MiB for containers that do not say.
    pub for_scores: BTreeMap<String, i64>,
}

impl Wanted {
    pub fn of(pod: &Pod) -> Self {
        Self {
            plain: total(pod, false),
            for_scores: total(pod, true),
        }
    }

    pub fn plain(&self, name: &str) -> i64 {
        self.plain.get(name).copied().unwrap_or(0)
    }

    pub fn for_scores(&self, name: &str) -> i64 {
        self.for_scores.get(name).copied().unwrap_or(0)
    }
}

/// Pods that run on a node, and the sum of what they ask for.
pub fn used(world: &World, node: &Node, name: &str, scores: bool) -> i64 {
    on(world, node)
        .map(|pod| {
            let wanted = Wanted::of(pod);
            if scores {
                wanted.for_scores(name)
            } else {
                wanted.plain(name)
            }
        })
        .sum()
}

fn total(pod: &Pod, defaults: bool) -> BTreeMap<String, i64> {
    let mut names: BTreeSet<String> = ["cpu".to_owned(), "memory".to_owned()].into();
    let containers = || pod.spec.containers.iter().chain(&pod.spec.init_containers);
    for container in containers() {
        names.extend(
            container
                .resources
                .requests
                .iter()
                .map(|(name, _)| name.to_string()),
        );
    }
    let pod_level = pod.spec.resources.clone().unwrap_or_default().requests;
    names.extend(pod_level.iter().map(|(name, _)| name.to_string()));
    names.extend(pod.spec.overhead.iter().map(|(name, _)| name.to_string()));
    let sum = |name: &String| {
        let mut amount = of_containers(pod, name, defaults);
        let at_pod_level = name == "cpu" || name == "memory" || name.starts_with("hugepages-");
        if let (true, Some(text)) = (at_pod_level, pod_level.get(name)) {
            amount = quantity(name, text);
        }
        amount
            + pod
                .spec
                .overhead
                .get(name)
                .map_or(0, |text| quantity(name, text))
    };
    names.iter().map(|name| (name.clone(), sum(name))).collect()
}

/// The most that containers want at any one time: while each init container runs, and when all the others do.
fn of_containers(pod: &Pod, name: &str, defaults: bool) -> i64 {
    let wants = |container: &Container| match (container.resources.requests.get(name), name) {
        (Some(text), _) => quantity(name, text),
        (None, "cpu") if defaults => 100,
        (None, "memory") if defaults => 200 << 20,
        _ => 0,
    };
    let is_sidecar = |container: &&Container| container.restart_policy == "Always";
    let init = &pod.spec.init_containers;
    let mut moments = vec![
        pod.spec.containers.iter().map(wants).sum::<i64>()
            + init.iter().filter(is_sidecar).map(wants).sum::<i64>(),
    ];
    for (at, container) in init.iter().enumerate() {
        let beside: i64 = init[..at].iter().filter(is_sidecar).map(wants).sum();
        moments.push(beside + wants(container));
    }
    moments.into_iter().max().unwrap_or(0)
}

/// A quantity as the tests write them: a whole number with a suffix of one or two letters, or none.
pub fn quantity(name: &str, text: &str) -> i64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: i64 = digits.parse().unwrap();
    let thousandths = number
        * match &text[digits.len()..] {
            "" => 1000,
            "m" => 1,
            "k" => 1_000_000,
            "Mi" => 1000 << 20,
            "Gi" => 1000 << 30,
            suffix => panic!("the naive scheduler does not know the suffix {suffix}"),
        };
    if name == "cpu" {
        thousandths
    } else {
        (thousandths + 999) / 1000
    }
}
