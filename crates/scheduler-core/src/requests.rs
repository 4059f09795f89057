//! What a pod asks for: the sum over its containers, the peak of its init containers, pod-level resources and overhead.
//!
//! Facts: component-helpers/resource PodRequests and KEP-753 (sidecars). CPU is in millicores, everything else in units (bytes).

use std::collections::BTreeMap;

use fluyt_api::quantity::Quantity;

use crate::objects::{Container, ContainerStatus, Pod, ResourceList, Text};

/// What a container counts for in scoring when it asks for nothing (upstream's schedutil defaults).
pub const DEFAULT_MILLI_CPU: i64 = 100;
pub const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts by resource name.
pub type Amounts = BTreeMap<Text, i64>;

/// What a pod occupies on a node. `scalars` holds extended resources, huge pages and the like, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Requests {
    pub milli_cpu: i64,
    pub memory: i64,
    pub ephemeral_storage: i64,
    pub scalars: Vec<(Text, i64)>,
    /// As above with the scoring defaults for containers that do not say.
    pub nonzero_milli_cpu: i64,
    pub nonzero_memory: i64,
}

impl Requests {
    /// `with_status`: for placed pods, what an in-place resize has granted counts too.
    pub fn of(pod: &Pod, with_status: bool) -> Self {
        let plain = pod_requests(pod, with_status, false);
        let nonzero = pod_requests(pod, with_status, true);
        let get = |amounts: &Amounts, name: &str| amounts.get(name).copied().unwrap_or(0);
        Self {
            milli_cpu: get(&plain, "cpu"),
            memory: get(&plain, "memory"),
            ephemeral_storage: get(&plain, "ephemeral-storage"),
            scalars: plain
                .iter()
                .filter(|(name, _)| is_scalar(name))
                .map(|(name, amount)| (name.clone(), *amount))
                .collect(),
            nonzero_milli_cpu: get(&nonzero, "cpu"),
            nonzero_memory: get(&nonzero, "memory"),
        }
    }

    /// Asks for nothing at all: only the number of pods limits it.
    pub fn is_empty(&self) -> bool {
        self.milli_cpu == 0
            && self.memory == 0
            && self.ephemeral_storage == 0
            && self.scalars.is_empty()
    }

    pub fn scalar(&self, name: &str) -> i64 {
        self.scalars
            .iter()
            .find(|(own, _)| own == name)
            .map_or(0, |(_, amount)| *amount)
    }

    /// Less of something is asked for than before; `wanted`: of something that this other pod asks for.
    pub fn shrunk_from(&self, before: &Self, wanted: Option<&Self>) -> bool {
        let counts = |amount: fn(&Self) -> i64| {
            wanted.is_none_or(|wanted| amount(wanted) != 0) && amount(before) > amount(self)
        };
        let mut scalars = before.scalars.iter();
        counts(|one| one.milli_cpu)
            || counts(|one| one.memory)
            || counts(|one| one.ephemeral_storage)
            || scalars.any(|(name, amount)| {
                wanted.is_none_or(|wanted| wanted.scalar(name) != 0) && *amount > self.scalar(name)
            })
    }
}

/// Extended resources, huge pages and attachable volumes: counted one by one rather than in columns.
pub fn is_scalar(name: &str) -> bool {
    name.contains('/') || name.starts_with("hugepages-") || name.starts_with("attachable-volumes-")
}

/// An amount as written; what does not parse counts as nothing (the API server refuses such objects).
pub fn amount(name: &str, text: &str) -> i64 {
    let Some(quantity) = Quantity::parse(text).ok() else {
        return 0;
    };
    match name {
        "cpu" => quantity.milli_value(),
        _ => quantity.value(),
    }
}

pub fn amounts(list: &ResourceList) -> Amounts {
    list.iter()
        .map(|(name, text)| (name.clone(), amount(name, text)))
        .collect()
}

type Reader = fn(&Container, Option<&ContainerStatus>, bool) -> Amounts;

fn from_spec(container: &Container, _: Option<&ContainerStatus>, _: bool) -> Amounts {
    amounts(&container.resources.requests)
}

fn allocated(container: &Container, status: Option<&ContainerStatus>, infeasible: bool) -> Amounts {
    match status.and_then(|status| status.allocated_resources.as_ref()) {
        Some(list) => amounts(list),
        None if infeasible => Amounts::new(),
        None => from_spec(container, None, false),
    }
}

fn actuated(container: &Container, status: Option<&ContainerStatus>, infeasible: bool) -> Amounts {
    let requests = status
        .and_then(|status| status.resources.as_ref())
        .and_then(|resources| resources.requests.as_ref());
    match requests {
        Some(list) => amounts(list),
        None => allocated(container, status, infeasible),
    }
}

fn pod_requests(pod: &Pod, with_status: bool, nonzero: bool) -> Amounts {
    let resized = with_status
        && pod
            .status
            .container_statuses
            .iter()
            .chain(&pod.status.init_container_statuses)
            .any(|status| status.allocated_resources.is_some() || status.resources.is_some());
    let mut total = if resized {
        let infeasible = pod.status.conditions.iter().any(|condition| {
            condition.r#type == "PodResizePending" && condition.reason == "Infeasible"
        });
        let mut total = aggregate(pod, actuated, infeasible, nonzero);
        maximum(&mut total, &aggregate(pod, allocated, infeasible, nonzero));
        if !infeasible {
            maximum(&mut total, &aggregate(pod, from_spec, false, nonzero));
        }
        total
    } else {
        aggregate(pod, from_spec, false, nonzero)
    };
    if let Some(resources) = &pod.spec.resources {
        for (name, value) in amounts(&resources.requests) {
            if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
                total.insert(name, value);
            }
        }
    }
    add(&mut total, &amounts(&pod.spec.overhead));
    total
}

fn aggregate(pod: &Pod, read: Reader, infeasible: bool, nonzero: bool) -> Amounts {
    let of = |container: &Container, statuses: &[ContainerStatus]| {
        let status = statuses.iter().find(|status| status.name == container.name);
        let mut amounts = read(container, status, infeasible);
        if nonzero {
            amounts.entry("cpu".into()).or_insert(DEFAULT_MILLI_CPU);
            amounts.entry("memory".into()).or_insert(DEFAULT_MEMORY);
        }
        amounts
    };
    let mut total = Amounts::new();
    for container in &pod.spec.containers {
        add(&mut total, &of(container, &pod.status.container_statuses));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in &pod.spec.init_containers {
        let mut amounts = of(container, &pod.status.init_container_statuses);
        if container.restart_policy == "Always" {
            add(&mut total, &amounts);
            add(&mut sidecars, &amounts);
            maximum(&mut peak, &sidecars);
        } else {
            add(&mut amounts, &sidecars);
            maximum(&mut peak, &amounts);
        }
    }
    maximum(&mut total, &peak);
    total
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (name, value) in more {
        let sum = total.entry(name.clone()).or_insert(0);
        *sum = sum.saturating_add(*value);
    }
}

fn maximum(total: &mut Amounts, other: &Amounts) {
    for (name, value) in other {
        let own = total.entry(name.clone()).or_insert(*value);
        *own = (*own).max(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: serde_json::Value, cpu: i64, memory: i64, nonzero: (i64, i64)) {
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        let requests = Requests::of(&pod, true);
        assert_eq!((requests.milli_cpu, requests.memory), (cpu, memory));
        assert_eq!(
            (requests.nonzero_milli_cpu, requests.nonzero_memory),
            nonzero
        );
    }

    fn container(cpu: &str, memory: &str) -> serde_json::Value {
        json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn the_largest_width_of_init_and_running_containers_counts() {
        let (a, b) = (container("2", "1"), container("1", "1"));
        let init = [container("2", "1"), container("2", "3")];
        check(
            json!({"containers": [a, b], "initContainers": init}),
            3000,
            3,
            (3000, 3),
        );
    }

    #[test]
    fn sidecars_run_beside_later_init_containers() {
        let mut sidecar = container("1", "5");
        sidecar["restartPolicy"] = json!("Always");
        let init = [sidecar, container("4", "1")];
        check(
            json!({"containers": [container("1", "1")], "initContainers": init}),
            5000,
            6,
            (5000, 6),
        );
    }

    #[test]
    fn missing_requests_score_as_defaults_but_zero_stays_zero() {
        check(
            json!({"containers": [{}]}),
            0,
            0,
            (DEFAULT_MILLI_CPU, DEFAULT_MEMORY),
        );
        check(json!({"containers": [container("0", "0")]}), 0, 0, (0, 0));
    }

    #[test]
    fn pod_level_requests_win_and_overhead_is_added() {
        check(
            json!({"containers": [container("1", "1")], "overhead": {"cpu": "10m"},
                   "resources": {"requests": {"cpu": "3"}}}),
            3010,
            1,
            (3010, 1),
        );
    }
}
