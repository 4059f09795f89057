//! Pods: the status column tells what the containers do rather than what the phase says.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::view::View;
use super::{AGE, NAME, Printer, text, wide};

pub(super) static PRINTERS: &[Printer] = &[
    Printer {
        group: "",
        kind: "Pod",
        columns: &[
            NAME,
            text("Ready"),
            text("Status"),
            text("Restarts"),
            AGE,
            wide("IP"),
            wide("Node"),
            wide("Nominated Node"),
            wide("Readiness Gates"),
        ],
        cells: pod,
    },
    Printer {
        group: "",
        kind: "PodTemplate",
        columns: &[NAME, text("Containers"), text("Images"), text("Pod Labels")],
        cells: |object| {
            let (names, images) = object.containers("template.spec.containers");
            vec![
                json!(object.name()),
                json!(names),
                json!(images),
                json!(object.labels("template.metadata.labels")),
            ]
        },
    },
];

/// What the containers add up to.
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: Restarts,
}

/// How often containers were restarted, and when the last one was.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &View<'_>) {
        self.count += status.number("restartCount");
        self.last = self
            .last
            .max(status.time("lastState.terminated.finishedAt"));
    }
}

fn pod(pod: &View<'_>) -> Vec<Value> {
    let summary = summarize(pod);
    let Restarts { count, last } = summary.restarts;
    let restarts = match last {
        Some(_) if count != 0 => format!("{count} ({} ago)", pod.since_time(last)),
        _ => count.to_string(),
    };
    let ip = pod
        .list("status.podIPs")
        .next()
        .map_or("", |ip| ip.text("ip"));
    vec![
        json!(pod.name()),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(restarts),
        json!(pod.age()),
        json!(if ip.is_empty() { "<none>" } else { ip }),
        json!(pod.text_or("spec.nodeName", "<none>")),
        json!(pod.text_or("status.nominatedNodeName", "<none>")),
        json!(readiness_gates(pod)),
    ]
}

fn readiness_gates(pod: &View<'_>) -> String {
    let total = pod.count("spec.readinessGates");
    if total == 0 {
        return "<none>".to_owned();
    }
    let open = pod
        .list("spec.readinessGates")
        .filter(|gate| pod.is_condition_true("status.conditions", gate.text("conditionType")))
        .count();
    format!("{open}/{total}")
}

fn is_sidecar(pod: &View<'_>, name: &str) -> bool {
    pod.list("spec.initContainers").any(|container| {
        container.text("name") == name && container.text("restartPolicy") == "Always"
    })
}

fn summarize(pod: &View<'_>) -> Summary {
    let phase = pod.text("status.phase");
    let sidecars = pod
        .list("spec.initContainers")
        .filter(|container| container.text("restartPolicy") == "Always")
        .count();
    let gated = pod.list("status.conditions").any(|condition| {
        condition.text("type") == "PodScheduled" && condition.text("reason") == "SchedulingGated"
    });
    let reason = if gated {
        "SchedulingGated"
    } else {
        pod.text_or("status.reason", phase)
    };
    let mut summary = Summary {
        reason: reason.to_owned(),
        ready: 0,
        total: pod.count("spec.containers") + sidecars,
        restarts: Restarts::default(),
    };
    let (initializing, sidecar_restarts) = summarize_init_containers(pod, &mut summary);
    if !initializing || pod.is_condition_true("status.conditions", "Initialized") {
        summary.restarts = sidecar_restarts;
        summarize_containers(pod, &mut summary);
    }
    if pod.is_deleted() {
        if pod.text("status.reason") == "NodeLost" {
            summary.reason = "Unknown".to_owned();
        } else if !matches!(phase, "Failed" | "Succeeded") {
            summary.reason = "Terminating".to_owned();
        }
    }
    summary
}

/// Looks at init containers up to the first that has not done its part. Returns whether there
/// is one, and the restarts of sidecars, which count on after initialisation.
fn summarize_init_containers(pod: &View<'_>, summary: &mut Summary) -> (bool, Restarts) {
    let mut sidecar_restarts = Restarts::default();
    for (place, status) in pod.list("status.initContainerStatuses").enumerate() {
        summary.restarts.add(&status);
        let sidecar = is_sidecar(pod, status.text("name"));
        if sidecar {
            sidecar_restarts.add(&status);
        }
        let terminated = status.part("state.terminated");
        if status.has("state.terminated") && terminated.number("exitCode") == 0 {
            continue;
        }
        if sidecar && status.boolean("started") {
            summary.ready += usize::from(status.boolean("ready"));
            continue;
        }
        let waiting = status.text("state.waiting.reason");
        summary.reason = if status.has("state.terminated") {
            format!("Init:{}", exit_reason(&terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{place}/{}", pod.count("spec.initContainers"))
        };
        return (true, sidecar_restarts);
    }
    (false, sidecar_restarts)
}

fn exit_reason(terminated: &View<'_>) -> String {
    match (terminated.text("reason"), terminated.number("signal")) {
        ("", 0) => format!("ExitCode:{}", terminated.number("exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// Looks at the containers from the last to the first; the first one with something to say
/// has the last word.
fn summarize_containers(pod: &View<'_>, summary: &mut Summary) {
    let mut running = false;
    let mut error: Option<String> = None;
    for status in pod.list("status.containerStatuses").rev() {
        summary.restarts.add(&status);
        let waiting = status.text("state.waiting.reason");
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if status.has("state.terminated") {
            let terminated = status.part("state.terminated");
            summary.reason = exit_reason(&terminated);
            if terminated.number("exitCode") != 0 {
                error = Some(summary.reason.clone());
            }
        } else if status.boolean("ready") && status.has("state.running") {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason != "Completed" {
        return;
    }
    if running && pod.is_condition_true("status.conditions", "Ready") {
        summary.reason = "Running".to_owned();
    } else if let Some(error) = error {
        summary.reason = error;
    } else if running {
        summary.reason = "NotReady".to_owned();
    }
}
