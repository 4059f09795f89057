//! A pod's status from what was observed. The result is complete: writing it replaces
//! what the API server has.

use crate::api::{
    Container as ContainerSpec, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodIP, PodStatus, VolumeMountStatus,
};
use crate::model::{
    Container, Kind, Observed, ProbeResults, State, containers, ephemeral_containers, host_network,
    init_containers, is_sidecar, restarts,
};
use crate::names::is_static;
use crate::{conditions, probe, qos};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;

/// Why a container does not run: reason and message as `state.waiting` has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waiting {
    pub reason: String,
    pub message: String,
}

/// What ended a pod from outside: DeadlineExceeded, Evicted, a failed admission.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub reason: String,
    pub message: String,
}

/// Everything that the status depends on. `pod.status` is the status written last.
#[derive(Debug)]
pub struct Input<'a> {
    pub pod: &'a Pod,
    pub observed: &'a Observed,
    pub probes: &'a ProbeResults,
    /// Why containers wait, by name.
    pub waiting: &'a BTreeMap<String, Waiting>,
    pub failure: Option<&'a Failure>,
    /// Nothing of the pod will run again.
    pub terminal: bool,
    /// The runtime's name, before container ids: "containerd".
    pub runtime: &'a str,
    pub host_ips: &'a [String],
    pub now: Timestamp,
}

/// The pod's status.
pub fn generate(input: &Input<'_>) -> PodStatus {
    let pod = input.pod;
    let previous = pod.status.clone().unwrap_or_default();
    if never_ran(input, &previous) {
        return rejected(input, &previous);
    }
    let init = init_containers(pod);
    let regular = containers(pod);
    let ephemeral = ephemeral_containers(pod);
    let mut status = PodStatus {
        init_container_statuses: statuses(
            input,
            Kind::Init,
            init,
            previous.init_container_statuses.as_deref(),
        ),
        container_statuses: statuses(
            input,
            Kind::Regular,
            regular,
            previous.container_statuses.as_deref(),
        ),
        ephemeral_container_statuses: statuses(
            input,
            Kind::Ephemeral,
            &ephemeral,
            previous.ephemeral_container_statuses.as_deref(),
        ),
        host_ip: input.host_ips.first().cloned(),
        host_ips: host_ips(input.host_ips),
        start_time: previous.start_time.clone().or(Some(Time(input.now))),
        qos_class: previous
            .qos_class
            .clone()
            .or_else(|| Some(qos::class(pod).as_str().to_owned())),
        observed_generation: pod.metadata.generation,
        nominated_node_name: None,
        resource_claim_statuses: previous.resource_claim_statuses.clone(),
        ..PodStatus::default()
    };
    set_pod_ips(input, &previous, &mut status);
    set_phase(input, &previous, &mut status);
    let sandbox_ready = input.observed.ready_sandbox(pod).is_some();
    status.conditions = Some(conditions::generate(pod, &status, sandbox_ready, input.now));
    status
}

/// The pod ended before any of its containers had a status: it was not admitted.
fn never_ran(input: &Input<'_>, previous: &PodStatus) -> bool {
    let lists = [
        &previous.init_container_statuses,
        &previous.container_statuses,
    ];
    let told = lists.into_iter().flatten().any(|list| !list.is_empty());
    let seen = !input.observed.containers.is_empty() || !input.observed.sandboxes.is_empty();
    !told && !seen && (input.failure.is_some() || ended_phase(previous).is_some())
}

/// Nothing but why: a container that waits would be shown in its place.
fn rejected(input: &Input<'_>, previous: &PodStatus) -> PodStatus {
    let mut status = PodStatus {
        start_time: previous.start_time.clone().or(Some(Time(input.now))),
        qos_class: Some(qos::class(input.pod).as_str().to_owned()),
        observed_generation: input.pod.metadata.generation,
        conditions: previous.conditions.clone(),
        resource_claim_statuses: previous.resource_claim_statuses.clone(),
        ..PodStatus::default()
    };
    set_phase(input, previous, &mut status);
    status
}

fn ended_phase(status: &PodStatus) -> Option<&str> {
    let phase = status.phase.as_deref();
    phase.filter(|phase| matches!(*phase, "Succeeded" | "Failed"))
}

fn host_ips(ips: &[String]) -> Option<Vec<HostIP>> {
    (!ips.is_empty()).then(|| ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect())
}

/// The sandbox's addresses; the node's with its network; what was known, at the end.
fn set_pod_ips(input: &Input<'_>, previous: &PodStatus, status: &mut PodStatus) {
    let sandbox = input.observed.sandbox();
    let ips: Vec<String> = match sandbox {
        Some(_) if host_network(input.pod) => input.host_ips.to_vec(),
        Some(sandbox) if sandbox.ready => sandbox.ips.clone(),
        _ => Vec::new(),
    };
    if ips.is_empty() {
        status.pod_ip = previous.pod_ip.clone();
        status.pod_ips = previous.pod_ips.clone();
        return;
    }
    status.pod_ip = ips.first().cloned();
    status.pod_ips = Some(ips.into_iter().map(|ip| PodIP { ip }).collect());
}

/// The phase; a pod that ended stays ended.
fn set_phase(input: &Input<'_>, previous: &PodStatus, status: &mut PodStatus) {
    if let Some(failure) = input.failure {
        status.phase = Some("Failed".to_owned());
        status.reason = Some(failure.reason.clone());
        status.message = Some(failure.message.clone());
        return;
    }
    if let Some(phase) = ended_phase(previous) {
        status.phase = Some(phase.to_owned());
        status.reason = previous.reason.clone();
        status.message = previous.message.clone();
        return;
    }
    status.phase = Some(phase(input, status).to_owned());
}

#[derive(Default)]
struct Count {
    pending_init: u32,
    pending_sidecars: u32,
    failed_for_good: u32,
    unknown: u32,
    running: u32,
    waiting: u32,
    stopped: u32,
    stopped_for_good: u32,
    succeeded: u32,
}

/// The phase from the containers' statuses.
fn phase(input: &Input<'_>, status: &PodStatus) -> &'static str {
    let pod = input.pod;
    let mut count = Count::default();
    count_init(pod, status, &mut count);
    count_regular(pod, status, &mut count);
    let initialized = status.container_statuses.iter().flatten().any(|status| {
        let state = status.state.as_ref();
        state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
            || status
                .last_state
                .as_ref()
                .is_some_and(|state| state.terminated.is_some())
    });
    if count.failed_for_good > 0 {
        return "Failed";
    }
    let pending_init = count.pending_init > 0 || (count.pending_sidecars > 0 && !initialized);
    if input.terminal && (pending_init || count.waiting > 0) {
        return "Failed";
    }
    if pending_init || count.waiting > 0 {
        return "Pending";
    }
    if count.running > 0 && count.unknown == 0 {
        return "Running";
    }
    if count.running == 0 && count.stopped > 0 && count.unknown == 0 {
        let terminal = input.terminal && !is_static(pod);
        if !terminal && count.stopped != count.stopped_for_good {
            return "Running";
        }
        return if count.stopped == count.succeeded {
            "Succeeded"
        } else {
            "Failed"
        };
    }
    "Pending"
}

fn named<'a>(list: Option<&'a Vec<ContainerStatus>>, name: &str) -> Option<&'a ContainerStatus> {
    list?.iter().find(|status| status.name == name)
}

/// The exit code of a container that ended and is not running: (code, waits to restart).
fn ended(status: &ContainerStatus) -> Option<(i32, bool)> {
    let state = status.state.as_ref();
    if let Some(terminated) = state.and_then(|state| state.terminated.as_ref()) {
        return Some((terminated.exit_code, false));
    }
    if state.is_some_and(|state| state.running.is_some()) {
        return None;
    }
    let last = status
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    last.map(|terminated| (terminated.exit_code, true))
}

fn count_init(pod: &Pod, status: &PodStatus, count: &mut Count) {
    for container in init_containers(pod) {
        let found = named(status.init_container_statuses.as_ref(), &container.name);
        let running = found
            .and_then(|status| status.state.as_ref())
            .is_some_and(|state| state.running.is_some());
        let ended = found.and_then(ended);
        if is_sidecar(container) {
            match (found, running, ended) {
                (None, ..) => count.unknown += 1,
                (Some(status), true, _) => {
                    count.running += 1;
                    count.pending_sidecars += u32::from(status.started != Some(true));
                }
                (_, _, Some(_)) => {}
                _ => {
                    count.pending_sidecars += 1;
                    count.waiting += 1;
                }
            }
            continue;
        }
        match ended {
            Some((0, _)) => {}
            Some((code, _)) => {
                count.failed_for_good += u32::from(!restarts(pod, Kind::Init, container, code));
                // It will be tried again: the pod is not initialized.
                count.pending_init += 1;
            }
            None => count.pending_init += 1,
        }
    }
}

fn count_regular(pod: &Pod, status: &PodStatus, count: &mut Count) {
    for container in containers(pod) {
        let Some(found) = named(status.container_statuses.as_ref(), &container.name) else {
            count.unknown += 1;
            continue;
        };
        if found
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_some())
        {
            count.running += 1;
            continue;
        }
        let Some((code, waits)) = ended(found) else {
            count.waiting += 1;
            continue;
        };
        count.stopped += 1;
        count.stopped_for_good += u32::from(!restarts(pod, Kind::Regular, container, code));
        count.succeeded += u32::from(code == 0 && !waits);
    }
}

/// The statuses of one of the pod's lists of containers.
fn statuses(
    input: &Input<'_>,
    kind: Kind,
    specs: &[ContainerSpec],
    previous: Option<&[ContainerStatus]>,
) -> Option<Vec<ContainerStatus>> {
    if specs.is_empty() {
        return None;
    }
    let status_of = |spec: &ContainerSpec| {
        let old = previous
            .into_iter()
            .flatten()
            .find(|status| status.name == spec.name);
        container_status(input, kind, spec, old)
    };
    let mut list: Vec<ContainerStatus> = specs.iter().map(status_of).collect();
    if kind != Kind::Init {
        list.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Some(list)
}

fn container_status(
    input: &Input<'_>,
    kind: Kind,
    spec: &ContainerSpec,
    old: Option<&ContainerStatus>,
) -> ContainerStatus {
    let mut history = input
        .observed
        .containers
        .iter()
        .filter(|c| c.name == spec.name);
    let mut status = ContainerStatus {
        name: spec.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        volume_mounts: mounts(spec),
        resources: spec.resources.clone(),
        allocated_resources: spec.resources.as_ref().and_then(|r| r.requests.clone()),
        ..ContainerStatus::default()
    };
    match history.next() {
        Some(latest) => {
            describe_container(input, latest, &mut status);
            if let Some(before) = history.next() {
                status.last_state = Some(state_of(input, before));
            }
        }
        None => infer_from_previous(input, kind, old, &mut status),
    }
    apply_waiting(input, kind, spec, &mut status);
    set_readiness(input, kind, spec, old, &mut status);
    status
}

fn describe_container(input: &Input<'_>, container: &Container, status: &mut ContainerStatus) {
    status.restart_count = i32::try_from(container.restart_count).unwrap_or(i32::MAX);
    status.image = container.image.clone();
    status.image_id = container.image_id.clone();
    status.container_id = Some(format!("{}://{}", input.runtime, container.id));
    status.state = Some(state_of(input, container));
}

/// The runtime has no such container: it was never created, or is gone.
fn infer_from_previous(
    input: &Input<'_>,
    kind: Kind,
    old: Option<&ContainerStatus>,
    status: &mut ContainerStatus,
) {
    let has_init = !init_containers(input.pod).is_empty();
    let reason = if has_init {
        "PodInitializing"
    } else {
        "ContainerCreating"
    };
    status.state = Some(waiting(reason, ""));
    let Some(old) = old else {
        if kind == Kind::Init && input.observed.any_regular_container(input.pod) {
            // It must have succeeded, else nothing after it would have been created.
            status.state = Some(terminated("Completed", "", 0));
        }
        return;
    };
    status.restart_count = old.restart_count;
    status.last_state = old.last_state.clone();
    let was = old.state.as_ref();
    if was.is_some_and(|state| state.terminated.is_some()) {
        *status = old.clone();
    } else if was.is_some_and(|state| state.running.is_some()) {
        let message = "The container could not be located when the pod was deleted.  The container used to be Running";
        status.last_state = Some(terminated("ContainerStatusUnknown", message, 137));
        if input.pod.metadata.deletion_timestamp.is_none() {
            status.restart_count += 1;
        } else {
            let message = "The container could not be located when the pod was terminated";
            status.state = Some(terminated("ContainerStatusUnknown", message, 137));
        }
    }
}

/// A container that is to be started and cannot be says why.
fn apply_waiting(
    input: &Input<'_>,
    kind: Kind,
    spec: &ContainerSpec,
    status: &mut ContainerStatus,
) {
    let Some(why) = input.waiting.get(&spec.name) else {
        return;
    };
    let state = status.state.clone().unwrap_or_default();
    if state.running.is_some() || input.terminal {
        return;
    }
    if let Some(ended) = &state.terminated {
        if !restarts(input.pod, kind, spec, ended.exit_code) {
            return;
        }
        status.last_state = Some(state);
    }
    status.state = Some(waiting(&why.reason, &why.message));
}

/// `started` and `ready`: what the probes say, or that there are none.
fn set_readiness(
    input: &Input<'_>,
    kind: Kind,
    spec: &ContainerSpec,
    old: Option<&ContainerStatus>,
    status: &mut ContainerStatus,
) {
    let state = status.state.clone().unwrap_or_default();
    if kind == Kind::Init && !is_sidecar(spec) {
        status.started = Some(state.running.is_some());
        status.ready = state
            .terminated
            .is_some_and(|terminated| terminated.exit_code == 0);
        return;
    }
    if state.running.is_none() {
        status.started = Some(false);
        return;
    }
    let id = input
        .observed
        .latest(&spec.name)
        .map(|c| c.id.as_str())
        .unwrap_or_default();
    // After a restart of the kubelet the last verdict holds until the next.
    let same = old.filter(|old| old.container_id == status.container_id);
    let started = match input.probes.get(id, probe::Kind::Startup) {
        _ if spec.startup_probe.is_none() => true,
        Some(verdict) => verdict,
        None => same.is_some_and(|old| old.started == Some(true)),
    };
    let ready = match input.probes.get(id, probe::Kind::Readiness) {
        _ if spec.readiness_probe.is_none() => true,
        Some(verdict) => verdict,
        None => same.is_some_and(|old| old.ready),
    };
    status.started = Some(started);
    status.ready = started && ready && kind != Kind::Ephemeral;
}

fn mounts(spec: &ContainerSpec) -> Option<Vec<VolumeMountStatus>> {
    let list = spec.volume_mounts.as_ref()?;
    let status = list.iter().map(|mount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: (mount.read_only == Some(true)).then(|| "Disabled".to_owned()),
        volume_status: None,
    });
    Some(status.collect())
}

fn state_of(input: &Input<'_>, container: &Container) -> ContainerState {
    match container.state {
        State::Created | State::Unknown => waiting("ContainerCreating", ""),
        State::Running => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: container.started_at.map(whole_seconds),
            }),
            ..ContainerState::default()
        },
        State::Exited => ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: container.exit_code,
                reason: Some(container.reason.clone()).filter(|reason| !reason.is_empty()),
                message: Some(container.message.clone()).filter(|message| !message.is_empty()),
                started_at: container.started_at.map(whole_seconds),
                finished_at: container.finished_at.map(whole_seconds),
                container_id: Some(format!("{}://{}", input.runtime, container.id)),
                signal: None,
            }),
            ..ContainerState::default()
        },
    }
}

/// The API has whole seconds; what it would cut off must not look like a change.
fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()).filter(|message| !message.is_empty()),
        }),
        ..ContainerState::default()
    }
}

fn terminated(reason: &str, message: &str, exit_code: i32) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code,
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()).filter(|message| !message.is_empty()),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
