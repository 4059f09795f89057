//! Pods and pod templates.

use super::containers::{self, Place};
use super::parts::{annotations, controller, events, labels, terminating, tolerations};
use super::writer::Writer;
use super::{Facts, volumes};
use crate::object::{Object, format_label_selector};
use crate::text::time;
use serde_json::Value;

pub(crate) fn describe(pod: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    heading(&mut w, pod);
    status(&mut w, pod, facts.now);
    if pod.at("spec.resources").is_object() {
        w.line(0, "Resources:");
        containers::resources(&mut w, pod.at("spec.resources"), 1);
    }
    for (label, list, statuses) in [
        (
            "Init Containers",
            "spec.initContainers",
            "status.initContainerStatuses",
        ),
        ("Containers", "spec.containers", "status.containerStatuses"),
        (
            "Ephemeral Containers",
            "spec.ephemeralContainers",
            "status.ephemeralContainerStatuses",
        ),
    ] {
        if !pod.list(list).is_empty() || label == "Containers" {
            let place = Place {
                label,
                statuses: pod.list(statuses),
                pod: Some(pod),
                space: "",
            };
            containers::describe(&mut w, pod.list(list), &place);
        }
    }
    gates_and_conditions(&mut w, pod);
    volumes::describe(&mut w, pod.list("spec.volumes"), "");
    w.field(0, "QoS Class", qos_class(pod));
    labels(&mut w, "Node-Selectors", pod.at("spec.nodeSelector"));
    tolerations(&mut w, "Tolerations", pod.list("spec.tolerations"));
    spread_constraints(&mut w, pod.list("spec.topologySpreadConstraints"), "");
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

fn heading(w: &mut Writer, pod: &Value) {
    w.field(0, "Name", pod.name());
    w.field(0, "Namespace", pod.namespace());
    if let Some(priority) = pod.at("spec.priority").as_i64() {
        w.field(0, "Priority", priority);
    }
    w.field_if(0, "Priority Class Name", pod.text("spec.priorityClassName"));
    w.field_if(0, "Runtime Class Name", pod.text("spec.runtimeClassName"));
    w.field_if(0, "Service Account", pod.text("spec.serviceAccountName"));
    match pod.text("spec.nodeName") {
        "" => w.field(0, "Node", "<none>"),
        node => w.field(0, "Node", format!("{node}/{}", pod.text("status.hostIP"))),
    }
    if pod.at("status.startTime").is_string() {
        w.field(0, "Start Time", time::rfc1123z(pod.at("status.startTime")));
    }
    labels(w, "Labels", pod.at("metadata.labels"));
    annotations(w, "Annotations", pod.at("metadata.annotations"));
}

fn status(w: &mut Writer, pod: &Value, now: jiff::Timestamp) {
    let phase = pod.text("status.phase");
    match terminating(pod, now) {
        Some(terminating) if !matches!(phase, "Failed" | "Succeeded") => {
            w.field(0, "Status", terminating);
            w.field(
                0,
                "Termination Grace Period",
                format!("{}s", pod.number("metadata.deletionGracePeriodSeconds")),
            );
        }
        _ => w.field(0, "Status", phase),
    }
    w.field_if(0, "Reason", pod.text("status.reason"));
    w.field_if(0, "Message", pod.text("status.message"));
    let seccomp = pod.at("spec.securityContext.seccompProfile");
    if seccomp.is_object() {
        w.field(0, "SeccompProfile", seccomp.text("type"));
        if seccomp.text("type") == "Localhost" {
            w.field(0, "LocalhostProfile", seccomp.text("localhostProfile"));
        }
    }
    w.field(0, "IP", pod.text("status.podIP"));
    let ips = pod.list("status.podIPs");
    if ips.is_empty() {
        w.field(0, "IPs", "<none>");
    } else {
        w.line(0, "IPs:");
        for ip in ips {
            w.field(1, "IP", ip.text("ip"));
        }
    }
    if let Some(controller) = controller(pod) {
        w.field(0, "Controlled By", controller);
    }
    w.field_if(0, "NominatedNodeName", pod.text("status.nominatedNodeName"));
}

fn gates_and_conditions(w: &mut Writer, pod: &Value) {
    let conditions = pod.list("status.conditions");
    let gates = pod.list("spec.readinessGates");
    if !gates.is_empty() {
        w.line(0, "Readiness Gates:\n  Type\tStatus");
        for gate in gates {
            let status = conditions
                .iter()
                .find(|condition| condition["type"] == gate["conditionType"])
                .map_or("<none>", |condition| condition.text("status"));
            w.line(1, format!("{} \t{status} ", gate.text("conditionType")));
        }
    }
    if !conditions.is_empty() {
        w.line(0, "Conditions:\n  Type\tStatus");
        for condition in conditions {
            w.line(
                1,
                format!("{} \t{} ", condition.text("type"), condition.text("status")),
            );
        }
    }
}

/// The server's word, or what the requests and limits say.
fn qos_class(pod: &Value) -> String {
    let known = pod.text("status.qosClass");
    if !known.is_empty() {
        return known.to_owned();
    }
    let mut any = false;
    let mut all_limited = true;
    for container in pod
        .list("spec.initContainers")
        .iter()
        .chain(pod.list("spec.containers"))
    {
        let (requests, limits) = (
            container.at("resources.requests"),
            container.at("resources.limits"),
        );
        any |= [requests, limits]
            .iter()
            .any(|map| map.as_object().is_some_and(|map| !map.is_empty()));
        all_limited &= ["cpu", "memory"].iter().all(|name| {
            !limits[*name].is_null()
                && (requests[*name].is_null() || requests[*name] == limits[*name])
        });
    }
    match (any, all_limited) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
    .to_owned()
}

fn spread_constraints(w: &mut Writer, constraints: &[Value], space: &str) {
    if constraints.is_empty() {
        return;
    }
    let mut constraints: Vec<&Value> = constraints.iter().collect();
    constraints.sort_by_key(|constraint| constraint.text("topologyKey").to_owned());
    w.part(0, format!("{space}Topology Spread Constraints:\t"));
    for (index, constraint) in constraints.iter().enumerate() {
        if index > 0 {
            w.part(0, format!("{space}\t"));
        }
        let mut text = format!(
            "{}:{} when max skew {} is exceeded",
            constraint.text("topologyKey"),
            constraint.text("whenUnsatisfiable"),
            constraint.number("maxSkew")
        );
        if constraint["labelSelector"].is_object() {
            text.push_str(&format!(
                " for selector {}",
                format_label_selector(&constraint["labelSelector"])
            ));
        }
        w.line(0, text);
    }
}

/// The pod template of a workload.
pub(crate) fn template(w: &mut Writer, template: &Value) {
    w.line(0, "Pod Template:");
    labels(w, "  Labels", template.at("metadata.labels"));
    if template
        .at("metadata.annotations")
        .as_object()
        .is_some_and(|map| !map.is_empty())
    {
        annotations(w, "  Annotations", template.at("metadata.annotations"));
    }
    w.field_if(
        1,
        "Service Account",
        template.text("spec.serviceAccountName"),
    );
    for (label, list) in [
        ("Init Containers", "spec.initContainers"),
        ("Containers", "spec.containers"),
    ] {
        if !template.list(list).is_empty() || label == "Containers" {
            let place = Place {
                label,
                statuses: &[],
                pod: None,
                space: "  ",
            };
            containers::describe(w, template.list(list), &place);
        }
    }
    volumes::describe(w, template.list("spec.volumes"), "  ");
    spread_constraints(w, template.list("spec.topologySpreadConstraints"), "  ");
    w.field_if(
        1,
        "Priority Class Name",
        template.text("spec.priorityClassName"),
    );
    labels(w, "  Node-Selectors", template.at("spec.nodeSelector"));
    tolerations(w, "  Tolerations", template.list("spec.tolerations"));
}
