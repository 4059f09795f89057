//! The quality-of-service class of a pod and the out-of-memory scores it leads to.

use crate::amount::{ResourceList, milli, value, value_of};
use crate::api::{Container, Pod, ResourceRequirements};
use crate::model::{containers, init_containers, is_sidecar};
use std::collections::BTreeMap;

/// Guaranteed: limits equal requests everywhere. BestEffort: neither. Burstable: the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Class {
    /// As `status.qosClass` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Guaranteed => "Guaranteed",
            Class::Burstable => "Burstable",
            Class::BestEffort => "BestEffort",
        }
    }
}

const COMPUTE: [&str; 2] = ["cpu", "memory"];

/// The pod's class: from the pod's own resources if it has any, else its containers'.
pub fn class(pod: &Pod) -> Class {
    let spec_resources = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    if let Some(resources) = spec_resources {
        return class_of([resources].into_iter());
    }
    let empty = &ResourceRequirements::default();
    let all = containers(pod).iter().chain(init_containers(pod));
    class_of(all.map(|container| container.resources.as_ref().unwrap_or(empty)))
}

fn class_of<'a>(all: impl Iterator<Item = &'a ResourceRequirements>) -> Class {
    let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
    let mut guaranteed = true;
    for resources in all {
        sum(resources.requests.as_ref(), &mut requests);
        let limited = sum(resources.limits.as_ref(), &mut limits);
        guaranteed &= limited == COMPUTE.len();
    }
    if requests.is_empty() && limits.is_empty() {
        return Class::BestEffort;
    }
    let equal = requests
        .iter()
        .all(|(name, amount)| limits.get(name) == Some(amount))
        && requests.len() == limits.len();
    if guaranteed && equal {
        Class::Guaranteed
    } else {
        Class::Burstable
    }
}

/// Adds the compute resources of a list; says how many of them are above zero.
fn sum(list: Option<&ResourceList>, into: &mut BTreeMap<&'static str, i64>) -> usize {
    let mut named = 0;
    for name in COMPUTE {
        let Some(quantity) = list.and_then(|list| list.get(name)) else {
            continue;
        };
        let amount = if name == "cpu" {
            milli(quantity)
        } else {
            value(quantity)
        };
        if amount > 0 {
            *into.entry(name).or_insert(0) += amount;
            named += 1;
        }
    }
    named
}

/// The kernel's score for a container: the lower, the later it is killed when memory is short.
pub fn oom_score_adj(pod: &Pod, container: &Container, memory_capacity: i64) -> i64 {
    if pod
        .spec
        .as_ref()
        .and_then(|spec| spec.priority)
        .unwrap_or(0)
        >= 2_000_001_000
    {
        return -997;
    }
    match class(pod) {
        Class::Guaranteed => return -997,
        Class::BestEffort => return 1000,
        Class::Burstable => {}
    }
    let capacity = memory_capacity.max(1);
    let request = |container: &Container| {
        let requests = container
            .resources
            .as_ref()
            .and_then(|r| r.requests.as_ref());
        value_of(requests, "memory").unwrap_or(0)
    };
    let score = |bytes: i64| 1000 - (1000 * i128::from(bytes) / i128::from(capacity)) as i64;
    let mut adjust = score(request(container));
    if is_sidecar(container)
        && init_containers(pod)
            .iter()
            .any(|c| c.name == container.name)
    {
        let least = containers(pod).iter().map(request).min().unwrap_or(0);
        adjust = adjust.min(score(least));
    }
    // Guaranteed pods die after burstable ones, and best-effort ones before them.
    if adjust < 3 {
        return 3;
    }
    if adjust == 1000 { 999 } else { adjust }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(containers: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({ "spec": { "containers": containers } })).unwrap()
    }

    #[test]
    fn classes() {
        let table = [
            (serde_json::json!([{"name": "a"}]), Class::BestEffort),
            (
                serde_json::json!([{"name": "a", "resources": {"requests": {"cpu": "1"}}}]),
                Class::Burstable,
            ),
            (
                serde_json::json!([{"name": "a", "resources": {
                "requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1024Mi"}}}]),
                Class::Guaranteed,
            ),
            (
                serde_json::json!([
                {"name": "a", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}},
                {"name": "b"}]),
                Class::Burstable,
            ),
            (
                serde_json::json!([{"name": "a", "resources": {"limits": {"memory": "1Gi"}}}]),
                Class::Burstable,
            ),
        ];
        for (containers, expected) in table {
            assert_eq!(class(&pod(containers.clone())), expected, "{containers}");
        }
    }

    #[test]
    fn oom_scores() {
        let gib = 1 << 30;
        let best_effort = pod(serde_json::json!([{"name": "a"}]));
        assert_eq!(
            oom_score_adj(&best_effort, &containers(&best_effort)[0], 4 * gib),
            1000
        );
        let burstable =
            pod(serde_json::json!([{"name": "a", "resources": {"requests": {"memory": "1Gi"}}}]));
        assert_eq!(
            oom_score_adj(&burstable, &containers(&burstable)[0], 4 * gib),
            750
        );
        assert_eq!(
            oom_score_adj(&burstable, &containers(&burstable)[0], gib),
            3
        );
        let tiny =
            pod(serde_json::json!([{"name": "a", "resources": {"requests": {"cpu": "1m"}}}]));
        assert_eq!(oom_score_adj(&tiny, &containers(&tiny)[0], gib), 999);
    }
}
