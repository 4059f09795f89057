//! Binding a pod to a node, the one way in which `spec.nodeName` comes to be set.
//!
//! Invariant: a pod is bound at most once, and never while it is gated or going.

use fluyt_api::status::Status;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::at::At;
use crate::codec::format_time;
use crate::errors::Errors;
use crate::get::{Get, Put};
use crate::meta;

/// The bound pod, from the pod as stored and a `v1.Binding`.
///
/// Errors: 422 for a malformed binding, 409 when the pod cannot be bound (any more).
pub fn bind(pod: &Value, binding: &Value, now: Timestamp) -> Result<Value, Status> {
    let name = meta::of(pod).text("name");
    check(name, binding)?;
    let conflict = |why: String| Err(Status::conflict("pods/binding", name, &why));
    let wanted = meta::of(binding);
    for (field, what) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let (want, found) = (wanted.text(field), meta::of(pod).text(field));
        if !want.is_empty() && want != found {
            let why = format!(
                "Precondition failed: {what} in precondition: {want}, {what} in object meta: {found}"
            );
            return Err(Status::conflict("pods", name, &why));
        }
    }
    let spec = pod.at("spec");
    if meta::of(pod).has("deletionTimestamp") {
        return conflict(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        ));
    }
    if !spec.text("nodeName").is_empty() {
        let node = spec.text("nodeName");
        return conflict(format!("pod {name} is already assigned to node {node:?}"));
    }
    if !spec.items("schedulingGates").is_empty() {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut bound = pod.clone();
    let node = binding.at("target").text("name");
    bound.open("spec").put("nodeName", node);
    for field in ["annotations", "labels"] {
        for (key, value) in wanted.members(field) {
            let list = bound.open("metadata").open(field);
            list.put(key, value.clone());
        }
    }
    let status = bound.open("status");
    status.pull("nominatedNodeName");
    set_condition(
        status,
        json!({"type": "PodScheduled", "status": "True"}),
        now,
    );
    Ok(bound)
}

fn check(name: &str, binding: &Value) -> Result<(), Status> {
    let stated = meta::of(binding).text("name");
    if stated != name && !stated.is_empty() {
        return Err(Status::bad_request(
            "name in URL does not match name in Binding object",
        ));
    }
    let target = binding.at("target");
    let errors = Errors::of(|errors| {
        let at = At::root("target");
        let kind = target.text("kind");
        if !matches!(kind, "" | "Node") {
            errors.not_supported(&at.child("kind"), kind, &["Node", "<empty>"]);
        }
        if target.text("name").is_empty() {
            errors.required(&at.child("name"), "");
        }
    });
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid("", "Binding", name, errors))
}

/// Sets a condition in a status; its transition time moves only when its status changes.
pub fn set_condition(status: &mut Value, mut condition: Value, now: Timestamp) {
    let kind = condition.text("type").to_owned();
    let mut all = status.items("conditions").to_vec();
    let place = all.iter().position(|known| known.text("type") == kind);
    let before = place.map(|place| &all[place]);
    let since = before
        .filter(|before| before.text("status") == condition.text("status"))
        .map(|before| before.text("lastTransitionTime").to_owned())
        .filter(|since| !since.is_empty())
        .unwrap_or_else(|| format_time(now));
    condition.put("lastTransitionTime", since);
    match place {
        Some(place) => all[place] = condition,
        None => all.push(condition),
    }
    status.put("conditions", all);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_bound_once() {
        let pod = json!({"metadata": {"name": "p", "uid": "u"}, "spec": {}, "status": {"nominatedNodeName": "m"}});
        let binding = json!({"metadata": {"name": "p", "annotations": {"a": "b"}}, "target": {"kind": "Node", "name": "n"}});
        let now = Timestamp::UNIX_EPOCH;
        let bound = bind(&pod, &binding, now).unwrap();
        assert_eq!(bound["spec"]["nodeName"], "n");
        assert_eq!(bound["metadata"]["annotations"]["a"], "b");
        assert_eq!(
            bound["status"]["conditions"],
            json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"}])
        );
        assert!(bound["status"].get("nominatedNodeName").is_none());
        let again = bind(&bound, &binding, now).unwrap_err();
        assert_eq!(
            again.message,
            "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n\""
        );
        let other = json!({"metadata": {"uid": "v"}, "target": {"name": "n"}});
        assert_eq!(bind(&pod, &other, now).unwrap_err().code, 409);
        assert_eq!(
            bind(&pod, &json!({"target": {}}), now).unwrap_err().code,
            422
        );
    }
}
