//! The conditions that the kubelet owns, with upstream's reasons and messages.

use crate::api::{ContainerStatus, Pod, PodCondition, PodStatus};
use crate::model::{containers, init_containers, is_sidecar};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The types that the kubelet writes; all others are someone else's and are kept.
pub const OWNED: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

/// A verdict before it becomes a condition.
#[derive(Clone, Debug, Default, PartialEq)]
struct Verdict {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes() -> Self {
        Self {
            holds: true,
            ..Self::default()
        }
    }

    fn no(reason: &'static str, message: Option<String>) -> Self {
        Self {
            holds: false,
            reason: Some(reason),
            message,
        }
    }
}

/// All conditions of the pod: the kubelet's own recomputed, others kept.
pub fn generate(
    pod: &Pod,
    status: &PodStatus,
    sandbox_ready: bool,
    now: Timestamp,
) -> Vec<PodCondition> {
    let previous = pod
        .status
        .as_ref()
        .and_then(|s| s.conditions.clone())
        .unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or_default();
    let all: Vec<&ContainerStatus> = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten())
        .collect();
    let containers_ready = containers_ready(pod, &all, phase);
    let ready = ready(pod, &containers_ready, &previous);
    let verdicts = [
        if sandbox_ready {
            Verdict::yes()
        } else {
            Verdict::default()
        },
        initialized(pod, &all, phase),
        ready,
        containers_ready,
        Verdict::yes(),
    ];
    let mut conditions: Vec<PodCondition> = OWNED
        .into_iter()
        .zip(verdicts)
        .map(|(kind, verdict)| {
            let old = previous.iter().find(|condition| condition.type_ == kind);
            to_condition(pod, kind, verdict, old, now)
        })
        .collect();
    conditions.extend(
        previous
            .into_iter()
            .filter(|c| !OWNED.contains(&c.type_.as_str())),
    );
    conditions
}

/// The transition time only moves when the status does.
fn to_condition(
    pod: &Pod,
    kind: &str,
    verdict: Verdict,
    old: Option<&PodCondition>,
    now: Timestamp,
) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let unchanged = old.filter(|old| old.status == status);
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_transition_time: unchanged
            .and_then(|old| old.last_transition_time.clone())
            .or(Some(Time(now))),
        observed_generation: pod.metadata.generation,
        last_probe_time: None,
    }
}

/// Names as messages list them: "[a b]".
fn listed(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

/// "containers with unknown status: [..], containers with unready status: [..]".
fn complaint(unknown: &[&str], others: &[&str], what: &str) -> Option<String> {
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        parts.push(format!(
            "containers with unknown status: {}",
            listed(unknown)
        ));
    }
    if !others.is_empty() {
        parts.push(format!("containers with {what} status: {}", listed(others)));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn containers_ready(pod: &Pod, statuses: &[&ContainerStatus], phase: &str) -> Verdict {
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    let sidecars = init_containers(pod)
        .iter()
        .filter(|container| is_sidecar(container));
    for container in sidecars.chain(containers(pod)) {
        match statuses.iter().find(|status| status.name == container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return Verdict::no("PodCompleted", None);
    }
    if phase == "Failed" {
        return Verdict::no("PodFailed", None);
    }
    match complaint(&unknown, &unready, "unready") {
        Some(message) => Verdict::no("ContainersNotReady", Some(message)),
        None => Verdict::yes(),
    }
}

/// Ready: the containers are, and so say all readiness gates.
fn ready(pod: &Pod, containers_ready: &Verdict, conditions: &[PodCondition]) -> Verdict {
    if !containers_ready.holds {
        return containers_ready.clone();
    }
    let gates = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.readiness_gates.as_ref());
    let mut missing = Vec::new();
    for gate in gates.into_iter().flatten() {
        let kind = &gate.condition_type;
        match conditions.iter().find(|condition| condition.type_ == *kind) {
            None => missing.push(format!(
                "corresponding condition of pod readiness gate {kind:?} does not exist."
            )),
            Some(condition) if condition.status != "True" => missing.push(format!(
                "the status of pod readiness gate {kind:?} is not \"True\", but {}",
                condition.status
            )),
            Some(_) => {}
        }
    }
    if missing.is_empty() {
        return Verdict::yes();
    }
    Verdict::no("ReadinessGatesNotReady", Some(missing.join(", ")))
}

fn initialized(pod: &Pod, statuses: &[&ContainerStatus], phase: &str) -> Verdict {
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in init_containers(pod) {
        let Some(status) = statuses.iter().find(|status| status.name == container.name) else {
            unknown.push(container.name.as_str());
            continue;
        };
        let done = if is_sidecar(container) {
            status.started == Some(true)
        } else {
            status.ready
        };
        if !done {
            incomplete.push(container.name.as_str());
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return Verdict {
            holds: true,
            reason: Some("PodCompleted"),
            message: None,
        };
    }
    let any_started = containers(pod).iter().any(|container| {
        statuses
            .iter()
            .any(|status| status.name == container.name && has_started(status))
    });
    if any_started {
        return Verdict::yes();
    }
    match complaint(&unknown, &incomplete, "incomplete") {
        Some(message) => Verdict::no("ContainersNotInitialized", Some(message)),
        None => Verdict::yes(),
    }
}

/// The container runs, or ran once.
fn has_started(status: &ContainerStatus) -> bool {
    let state = status.state.as_ref();
    let last = status.last_state.as_ref();
    state.is_some_and(|s| s.running.is_some() || s.terminated.is_some())
        || last.is_some_and(|s| s.terminated.is_some())
}
