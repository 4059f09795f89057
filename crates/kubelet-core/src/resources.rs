//! Requests and limits as values of cgroups; the rules and bounds are the kernel's.

use crate::amount::{ResourceList, milli, milli_of, value, value_of};
use crate::api::{Container, Pod, ResourceRequirements};
use crate::model::{containers, init_containers, is_sidecar};
use crate::qos::{Class, class};
use std::collections::{BTreeMap, BTreeSet};

/// The length of the period that a quota is counted in, in microseconds.
pub const QUOTA_PERIOD_US: i64 = 100_000;
const LEAST_QUOTA_US: i64 = 1_000;
const LEAST_SHARES: i64 = 2;
const MOST_SHARES: i64 = 262_144;

/// What a cgroup is given; 0 means unset except for `cpu_shares`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupValues {
    pub cpu_shares: i64,
    pub cpu_quota_us: i64,
    pub cpu_period_us: i64,
    pub memory_limit_bytes: i64,
}

/// Millicores as cgroup v1 shares.
pub fn shares(millicores: i64) -> i64 {
    (millicores * 1024 / 1000).clamp(LEAST_SHARES, MOST_SHARES)
}

/// Millicores as a quota of each period, in microseconds; 0 means without limit.
pub fn quota_us(millicores: i64) -> i64 {
    if millicores == 0 {
        return 0;
    }
    (millicores * QUOTA_PERIOD_US / 1000).max(LEAST_QUOTA_US)
}

/// cgroup v1 shares as a cgroup v2 weight, by the conversion that runc uses.
pub fn weight(shares: i64) -> i64 {
    1 + ((shares.clamp(LEAST_SHARES, MOST_SHARES) - 2) * 9999) / 262_142
}

/// A container's values. A limit without a request is the request.
pub fn of_container(container: &Container) -> CgroupValues {
    of_requirements(container.resources.as_ref())
}

fn of_requirements(resources: Option<&ResourceRequirements>) -> CgroupValues {
    let requests = resources.and_then(|r| r.requests.as_ref());
    let limits = resources.and_then(|r| r.limits.as_ref());
    let cpu_limit = milli_of(limits, "cpu").unwrap_or(0);
    let cpu_request = milli_of(requests, "cpu").unwrap_or(cpu_limit);
    CgroupValues {
        cpu_shares: shares(cpu_request),
        cpu_quota_us: quota_us(cpu_limit),
        cpu_period_us: QUOTA_PERIOD_US,
        memory_limit_bytes: value_of(limits, "memory").unwrap_or(0),
    }
}

/// The values of the cgroup around the whole pod: sums, where every container has a limit.
pub fn of_pod(pod: &Pod) -> CgroupValues {
    let own = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    if own.is_some() {
        return of_requirements(own);
    }
    let cpu = total(pod, |r| {
        milli_of(r.requests.as_ref(), "cpu").or_else(|| milli_of(r.limits.as_ref(), "cpu"))
    });
    let cpu_limit = total(pod, |r| milli_of(r.limits.as_ref(), "cpu"));
    let memory_limit = total(pod, |r| value_of(r.limits.as_ref(), "memory"));
    CgroupValues {
        cpu_shares: shares(cpu.sum),
        cpu_quota_us: if cpu_limit.complete {
            quota_us(cpu_limit.sum)
        } else {
            0
        },
        cpu_period_us: QUOTA_PERIOD_US,
        memory_limit_bytes: if memory_limit.complete {
            memory_limit.sum
        } else {
            0
        },
    }
}

/// What the pod asks of its node by resource, as schedulers count it: thousandths of cpu,
/// whole units of everything else; the pod's own requests before its containers', and its
/// overhead on top.
pub fn requests(pod: &Pod) -> BTreeMap<String, i64> {
    let amount = |list: Option<&ResourceList>, name: &str| {
        let quantity = list?.get(name)?;
        Some(if name == "cpu" {
            milli(quantity)
        } else {
            value(quantity)
        })
    };
    let of = |r: &ResourceRequirements, name: &str| {
        amount(r.requests.as_ref(), name).or_else(|| amount(r.limits.as_ref(), name))
    };
    let all = containers(pod).iter().chain(init_containers(pod));
    let names: BTreeSet<&String> = all
        .filter_map(|container| container.resources.as_ref())
        .flat_map(|r| r.requests.iter().chain(&r.limits).flatten())
        .map(|(name, _)| name)
        .collect();
    let mut sums: BTreeMap<String, i64> = names
        .into_iter()
        .map(|name| (name.clone(), total(pod, |r| of(r, name)).sum))
        .collect();
    let Some(spec) = &pod.spec else {
        return sums;
    };
    let own = spec.resources.iter();
    for name in own
        .flat_map(|r| r.requests.iter().flatten())
        .map(|(n, _)| n)
    {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            let requests = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
            sums.insert(name.clone(), amount(requests, name).unwrap_or(0));
        }
    }
    for name in spec.overhead.iter().flat_map(BTreeMap::keys) {
        *sums.entry(name.clone()).or_insert(0) += amount(spec.overhead.as_ref(), name).unwrap_or(0);
    }
    sums
}

struct Total {
    sum: i64,
    /// Every container names the amount.
    complete: bool,
}

/// The larger of what runs together for good and what the init phase needs.
fn total(pod: &Pod, amount: impl Fn(&ResourceRequirements) -> Option<i64>) -> Total {
    let of = |container: &Container| container.resources.as_ref().and_then(&amount);
    let mut complete = containers(pod).iter().all(|c| of(c).is_some());
    let mut sidecars = 0;
    let mut initial = 0;
    for container in init_containers(pod) {
        complete &= of(container).is_some();
        let needs = of(container).unwrap_or(0);
        if is_sidecar(container) {
            sidecars += needs;
            initial = initial.max(sidecars);
        } else {
            initial = initial.max(sidecars + needs);
        }
    }
    let regular: i64 = containers(pod).iter().map(|c| of(c).unwrap_or(0)).sum();
    Total {
        sum: (regular + sidecars).max(initial),
        complete,
    }
}

/// A pod's cgroup below the kubelet's root: guaranteed pods directly, others by class.
pub fn cgroup_path(root: &str, pod: &Pod) -> String {
    let root = root.trim_end_matches('/');
    let uid = crate::model::uid(pod);
    match class(pod) {
        Class::Guaranteed => format!("{root}/pod{uid}"),
        Class::Burstable => format!("{root}/burstable/pod{uid}"),
        Class::BestEffort => format!("{root}/besteffort/pod{uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_bounds() {
        for (millicores, expected) in [
            (0, 2),
            (1, 2),
            (100, 102),
            (1000, 1024),
            (1_000_000, 262_144),
        ] {
            assert_eq!(shares(millicores), expected, "{millicores}m");
        }
    }

    #[test]
    fn quotas_have_a_least() {
        for (millicores, expected) in [(0, 0), (5, 1000), (250, 25_000), (2000, 200_000)] {
            assert_eq!(quota_us(millicores), expected, "{millicores}m");
        }
    }

    #[test]
    fn weights_span_the_range() {
        assert_eq!(weight(2), 1);
        assert_eq!(weight(1024), 39);
        assert_eq!(weight(262_144), 10_000);
    }

    #[test]
    fn a_pod_without_every_limit_has_none() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": [
            {"name": "a", "resources": {"limits": {"memory": "1Mi", "cpu": "1"}}},
            {"name": "b", "resources": {"limits": {"cpu": "500m"}}}]}}))
        .unwrap();
        let values = of_pod(&pod);
        assert_eq!(values.memory_limit_bytes, 0);
        assert_eq!(values.cpu_quota_us, 150_000);
        assert_eq!(values.cpu_shares, 1536);
    }

    #[test]
    fn init_containers_run_before_and_beside() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {
            "initContainers": [
                {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "init", "resources": {"requests": {"cpu": "1"}}}],
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "200m"}}}]}})).unwrap();
        assert_eq!(of_pod(&pod).cpu_shares, shares(1100));
    }

    #[test]
    fn requests_are_counted_as_schedulers_do() {
        let asks = |spec: serde_json::Value, expected: &[(&str, i64)]| {
            let pod = serde_json::from_value(serde_json::json!({"spec": spec})).unwrap();
            let expected: BTreeMap<String, i64> = expected
                .iter()
                .map(|(name, amount)| ((*name).to_owned(), *amount))
                .collect();
            assert_eq!(requests(&pod), expected, "{spec}");
        };
        asks(serde_json::json!({"containers": [{"name": "a"}]}), &[]);
        let containers = serde_json::json!([
            {"name": "a", "resources": {"requests": {"cpu": "200m", "x.io/y": "2"}}},
            {"name": "b", "resources": {"limits": {"cpu": "300m", "memory": "1Ki"}}}]);
        asks(
            serde_json::json!({"containers": containers}),
            &[("cpu", 500), ("memory", 1024), ("x.io/y", 2)],
        );
        asks(
            serde_json::json!({
                "initContainers": [
                    {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                    {"name": "i", "resources": {"requests": {"cpu": "1", "memory": "1"}}}],
                "containers": containers, "overhead": {"cpu": "10m"}}),
            &[("cpu", 1110), ("memory", 1024), ("x.io/y", 2)],
        );
        asks(
            serde_json::json!({"resources": {"requests": {"cpu": "2"}}, "containers": containers}),
            &[("cpu", 2000), ("memory", 1024), ("x.io/y", 2)],
        );
    }
}
