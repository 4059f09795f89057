//! The next actions for a pod that is to run. Idempotent: the same observation leads to
//! the same plan; the caller leaves out what it is doing already.

use crate::api::{Container as ContainerSpec, Pod};
use crate::backoff::{Backoff, display};
use crate::model::{
    Container, Kind, Observed, ProbeResults, RestartPolicy, State, container_restart_policy,
    containers, describe, ephemeral_containers, init_containers, is_sidecar, restart_policy,
    restarts,
};
use crate::names::container_hash;
use crate::probe;
use jiff::Timestamp;

/// Everything that a plan depends on.
#[derive(Debug)]
pub struct Input<'a> {
    pub pod: &'a Pod,
    pub observed: &'a Observed,
    pub probes: &'a ProbeResults,
    /// Crash-loop delays by container name.
    pub backoff: &'a Backoff,
    pub now: Timestamp,
}

/// A container to create and start.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    pub kind: Kind,
    pub spec: ContainerSpec,
    pub restart_count: u32,
    /// When its predecessor ended, if it had one: the back-off counts from there.
    pub previous_end: Option<Timestamp>,
}

/// A container to stop while the pod goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    pub container_id: String,
    pub name: String,
    /// As the Killing event says it.
    pub message: String,
    /// The grace period of the probe that failed, in seconds, if it has its own.
    pub grace_seconds: Option<i64>,
}

/// A container that is not started yet because it failed shortly before.
#[derive(Clone, Debug, PartialEq)]
pub struct Delayed {
    pub name: String,
    pub message: String,
    pub due: Timestamp,
}

/// What to do next; everything in it can be done at the same time, except that
/// containers need the sandbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Create a sandbox with this attempt number, after stopping older ones.
    pub create_sandbox: Option<u32>,
    pub start: Vec<Start>,
    pub stop: Vec<Stop>,
    pub delayed: Vec<Delayed>,
    /// Nothing is left to run: stop the sandbox and what is left in it.
    pub stop_pod: bool,
}

impl Plan {
    /// When to plan again although nothing happened.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.delayed.iter().map(|delayed| delayed.due).min()
    }
}

/// What to do for the pod next.
pub fn compute(input: &Input<'_>) -> Plan {
    let mut plan = Plan::default();
    let Some(sandbox) = input.observed.ready_sandbox(input.pod) else {
        plan_sandbox(input, &mut plan);
        return plan;
    };
    for spec in ephemeral_containers(input.pod) {
        if input.observed.latest(&spec.name).is_none() {
            push_start(input, &mut plan, Kind::Ephemeral, &spec);
        }
    }
    match plan_init(input, &sandbox.id, &mut plan) {
        Init::Failed => {
            plan.start.clear();
            plan.delayed.clear();
            plan.stop_pod = true;
        }
        Init::Running => {}
        Init::Done => plan_regular(input, &mut plan),
    }
    plan
}

/// No usable sandbox: create one, unless nothing would run in it.
fn plan_sandbox(input: &Input<'_>, plan: &mut Plan) {
    let attempt = input
        .observed
        .sandbox()
        .map_or(0, |sandbox| sandbox.attempt + 1);
    let never = restart_policy(input.pod) == RestartPolicy::Never;
    if never && attempt != 0 && !input.observed.containers.is_empty() {
        plan.stop_pod = true;
        return;
    }
    let pending = containers(input.pod).iter().any(|spec| {
        let succeeded = input
            .observed
            .latest(&spec.name)
            .is_some_and(|c| c.state == State::Exited && c.exit_code == 0);
        let once =
            container_restart_policy(input.pod, Kind::Regular, spec) != RestartPolicy::Always;
        !(once && succeeded)
    });
    if !pending && input.observed.any_regular_container(input.pod) {
        plan.stop_pod = true;
        return;
    }
    plan.create_sandbox = Some(attempt);
}

/// How far the init containers are.
enum Init {
    /// One failed for good: the pod failed.
    Failed,
    Running,
    Done,
}

/// Init containers run one after the other; sidecars among them need to have started
/// before the next begins, and are kept running from then on.
fn plan_init(input: &Input<'_>, sandbox: &str, plan: &mut Plan) -> Init {
    let here = |name: &str| {
        let latest = input.observed.latest(name)?;
        (latest.sandbox_id == sandbox).then_some(latest)
    };
    // Regular containers in this sandbox prove that initialization is over, even when
    // the init containers are gone.
    let initialized = containers(input.pod)
        .iter()
        .any(|spec| here(&spec.name).is_some());
    for spec in init_containers(input.pod) {
        let container = here(&spec.name);
        if is_sidecar(spec) {
            let started = container.is_some_and(|c| keep_sidecar(input, spec, c, plan));
            if container.is_none_or(|c| c.state != State::Running) {
                push_start(input, plan, Kind::Init, spec);
            }
            if !started && !initialized {
                return Init::Running;
            }
            continue;
        }
        if initialized {
            continue;
        }
        match container {
            Some(c) if c.state == State::Running => return Init::Running,
            Some(c) if c.state == State::Exited && c.exit_code == 0 => {}
            Some(c)
                if c.state == State::Exited
                    && !restarts(input.pod, Kind::Init, spec, c.exit_code) =>
            {
                return Init::Failed;
            }
            _ => {
                push_start(input, plan, Kind::Init, spec);
                return Init::Running;
            }
        }
    }
    Init::Done
}

/// Stops a running sidecar that is unwell; says whether it counts as started.
fn keep_sidecar(
    input: &Input<'_>,
    spec: &ContainerSpec,
    container: &Container,
    plan: &mut Plan,
) -> bool {
    if container.state != State::Running {
        return false;
    }
    if let Some(stop) = unwell(input, spec, container, "Init container") {
        plan.stop.push(stop);
        return false;
    }
    spec.startup_probe.is_none()
        || input.probes.get(&container.id, probe::Kind::Startup) == Some(true)
}

fn plan_regular(input: &Input<'_>, plan: &mut Plan) {
    let mut kept = 0;
    for spec in containers(input.pod) {
        match input.observed.latest(&spec.name) {
            Some(container) if container.state == State::Running => {
                kept += 1;
                if let Some(mut stop) = unwell(input, spec, container, "Container") {
                    if restart_policy(input.pod) != RestartPolicy::Never {
                        stop.message.push_str(", will be restarted");
                    }
                    plan.stop.push(stop);
                }
            }
            Some(container)
                if container.state == State::Exited
                    && !restarts(input.pod, Kind::Regular, spec, container.exit_code) => {}
            _ => push_start(input, plan, Kind::Regular, spec),
        }
    }
    let regular_to_start = plan.start.iter().any(|start| start.kind == Kind::Regular)
        || plan
            .delayed
            .iter()
            .any(|delayed| containers(input.pod).iter().any(|c| c.name == delayed.name));
    if kept == 0 && !regular_to_start {
        // Sidecars do not keep a pod alive.
        plan.start.clear();
        plan.delayed.clear();
        plan.stop_pod = true;
    }
}

/// Why a running container must be stopped, if it must.
fn unwell(
    input: &Input<'_>,
    spec: &ContainerSpec,
    container: &Container,
    noun: &str,
) -> Option<Stop> {
    let failed = |kind| input.probes.get(&container.id, kind) == Some(false);
    let (message, probe) = if !container.hash.is_empty() && container.hash != container_hash(spec) {
        (format!("{noun} {} definition changed", spec.name), None)
    } else if failed(probe::Kind::Liveness) {
        (
            format!("{noun} {} failed liveness probe", spec.name),
            spec.liveness_probe.as_ref(),
        )
    } else if failed(probe::Kind::Startup) {
        (
            format!("{noun} {} failed startup probe", spec.name),
            spec.startup_probe.as_ref(),
        )
    } else {
        return None;
    };
    Some(Stop {
        container_id: container.id.clone(),
        name: spec.name.clone(),
        message,
        grace_seconds: probe.and_then(|probe| probe.termination_grace_period_seconds),
    })
}

/// Starts a container now, or notes when its back-off ends.
fn push_start(input: &Input<'_>, plan: &mut Plan, kind: Kind, spec: &ContainerSpec) {
    let latest = input.observed.latest(&spec.name);
    let previous_end = latest
        .filter(|container| container.state == State::Exited)
        .map(|container| container.finished_at.unwrap_or(container.created_at));
    if let Some(end) = previous_end
        && let Some(due) = input.backoff.due(&spec.name, end, input.now)
    {
        let delay = display(input.backoff.delay(&spec.name));
        plan.delayed.push(Delayed {
            name: spec.name.clone(),
            message: format!(
                "back-off {delay} restarting failed container={} pod={}",
                spec.name,
                describe(input.pod)
            ),
            due,
        });
        return;
    }
    plan.start.push(Start {
        kind,
        spec: spec.clone(),
        restart_count: latest.map_or(0, |container| container.restart_count + 1),
        previous_end,
    });
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
