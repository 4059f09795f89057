//! Pods: born Pending with their quality of service, bound once, their spec all but fixed.
//!
//! Invariant: a pod's status is written only through `/status`, its node only by binding.

mod containers;
mod env;
mod placement;
mod probes;
pub(crate) mod resources;
mod security;
pub(crate) mod spec;
mod update;
mod volumes;
pub(crate) mod warnings;

use serde_json::{Value, json};

use crate::at::At;
use crate::ctx::Ctx;
use crate::get::{Get, Put};
use crate::strategy::Rules;
pub(crate) use placement::check_node_selector;
pub(crate) use probes::check_port;

pub(super) fn extend(rules: &mut Rules) {
    rules.create = create;
    rules.status_update = status_update;
    rules.check = spec::check_pod;
    rules.check_update = update::check_update;
    rules.check_status = update::check_status;
    rules.warn = |pod| warnings::of_spec(pod.at("spec"), &At::root("spec"));
    // People do not edit pods by hand; what changes them has been warned already.
    rules.silent_updates = true;
    rules.grace = grace;
    rules.select = select;
}

fn create(pod: &mut Value, _: &Ctx) {
    let mut status = json!({"phase": "Pending", "qosClass": resources::qos_class(pod.at("spec"))});
    if !pod.at("spec").items("schedulingGates").is_empty() {
        status.put(
            "conditions",
            json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null, "lastTransitionTime": null}]),
        );
        for condition in status.items_mut("conditions") {
            condition.pull("lastProbeTime");
            condition.pull("lastTransitionTime");
        }
    }
    pod.put("status", status);
    placement::merge_label_keys(pod);
}

fn status_update(new: &mut Value, old: &Value, _: &Ctx) {
    let old_meta = old.at("metadata");
    new.open("metadata").copy_from(old_meta, "ownerReferences");
    let status = new.open("status");
    if status.text("qosClass").is_empty() {
        status.copy_from(old.at("status"), "qosClass");
    }
}

/// A pod that runs nowhere goes at once; any other gets what the client or the pod says.
fn grace(pod: &Value, options: &Value) -> Option<i64> {
    let spec = pod.at("spec");
    let finished = matches!(pod.at("status").text("phase"), "Failed" | "Succeeded");
    if spec.text("nodeName").is_empty() || finished {
        return Some(0);
    }
    let asked = options
        .int("gracePeriodSeconds")
        .or_else(|| spec.int("terminationGracePeriodSeconds"))
        .unwrap_or(0);
    Some(if asked < 0 { 1 } else { asked })
}

fn select(pod: &Value) -> Vec<(&'static str, String)> {
    let (spec, status) = (pod.at("spec"), pod.at("status"));
    let ip = match status.items("podIPs").first() {
        Some(first) => first.text("ip"),
        None => status.text("podIP"),
    };
    vec![
        ("spec.nodeName", spec.text("nodeName").into()),
        ("spec.restartPolicy", spec.text("restartPolicy").into()),
        ("spec.schedulerName", spec.text("schedulerName").into()),
        (
            "spec.serviceAccountName",
            spec.text("serviceAccountName").into(),
        ),
        ("spec.hostNetwork", spec.is_true("hostNetwork").to_string()),
        ("status.phase", status.text("phase").into()),
        ("status.podIP", ip.into()),
        (
            "status.nominatedNodeName",
            status.text("nominatedNodeName").into(),
        ),
    ]
}

#[cfg(test)]
mod tests;
