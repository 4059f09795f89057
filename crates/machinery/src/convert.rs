//! Between the versions of one kind. Only the `apiVersion` differs for almost all; events and
//! autoscalers also name their fields differently.
//!
//! Invariant: converting to the storage version and back gives the same object, but for what the
//! other version has no field for.

use fluyt_api::catalogue::Resource;
use serde_json::{Value, json};

use crate::get::{Get, Put};

/// Makes `object` an object of the kind's version in `to`.
pub fn convert(object: &mut Value, to: &Resource) {
    let wanted = to.api_version();
    if object.text("apiVersion") == wanted {
        return;
    }
    convert_to(object, to.kind, &wanted);
}

/// Makes `object` an object of the version in which `resource` is stored.
pub fn to_storage(object: &mut Value, resource: &Resource) {
    let wanted = resource.storage_api_version();
    if object.text("apiVersion") != wanted {
        convert_to(object, resource.kind, &wanted);
    }
}

/// Whether objects of a resource are stored in another version than it serves.
pub fn needs_conversion(resource: &Resource) -> bool {
    resource.storage_group != resource.group || resource.storage_version != resource.version
}

fn convert_to(object: &mut Value, kind: &str, wanted: &str) {
    let from = object.text("apiVersion").to_owned();
    match (kind, from.as_str(), wanted) {
        ("Event", "v1", "events.k8s.io/v1") => rename(object, false),
        ("Event", "events.k8s.io/v1", "v1") => rename(object, true),
        ("HorizontalPodAutoscaler", "autoscaling/v1", "autoscaling/v2") => autoscaler_to_v2(object),
        ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v1") => autoscaler_to_v1(object),
        _ => {}
    }
    object.put("apiVersion", wanted);
}

/// Fields of events: the name in the core group, the name in events.k8s.io.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(event: &mut Value, to_core: bool) {
    for (core, events) in EVENT_FIELDS {
        let (from, to) = if to_core {
            (events, core)
        } else {
            (core, events)
        };
        if let Some(value) = event.pull(from) {
            event.put(to, value);
        }
    }
    if to_core {
        event.or_put("involvedObject", json!({}));
        event.or_put("source", json!({}));
        event.or_put("reportingComponent", "");
        event.or_put("reportingInstance", "");
    }
}

/// The field that selectors of `resource` call `name`, as the stored kind calls it.
pub fn field_label<'a>(resource: &Resource, name: &'a str) -> std::borrow::Cow<'a, str> {
    if (resource.group, resource.kind) == ("events.k8s.io", "Event") {
        if let Some(rest) = name.strip_prefix("regarding.") {
            return format!("involvedObject.{rest}").into();
        }
        if name == "reportingController" {
            return "reportingComponent".into();
        }
    }
    name.into()
}

/// Where autoscaling/v1 keeps what it has no fields for.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

fn is_plain_cpu(metric: &Value) -> bool {
    let resource = metric.at("resource");
    metric.text("type") == "Resource"
        && resource.text("name") == "cpu"
        && (resource.at("target").has("averageUtilization")
            || resource.at("current").has("averageUtilization"))
}

fn autoscaler_to_v1(object: &mut Value) {
    let (cpu, metrics) = split_metrics(object.open("spec").pull("metrics"));
    let (current_cpu, current) = split_metrics(object.open("status").pull("currentMetrics"));
    if let Some(target) = cpu.map(|m| m["resource"]["target"]["averageUtilization"].clone()) {
        object
            .open("spec")
            .put("targetCPUUtilizationPercentage", target);
    }
    if let Some(now) = current_cpu.map(|m| m["resource"]["current"]["averageUtilization"].clone()) {
        object
            .open("status")
            .put("currentCPUUtilizationPercentage", now);
    }
    object.open("status").or_put("currentReplicas", 0);
    object.open("status").or_put("desiredReplicas", 0);
    let behavior = object.open("spec").pull("behavior");
    let conditions = object.open("status").pull("conditions");
    let list = |items: Vec<Value>| (!items.is_empty()).then_some(Value::Array(items));
    for (name, value) in [
        (METRICS, list(metrics)),
        (CURRENT_METRICS, list(current)),
        (BEHAVIOR, behavior),
        (CONDITIONS, conditions.filter(|c| c != &json!([]))),
    ] {
        if let Some(value) = value {
            let annotations = object.open("metadata").open("annotations");
            annotations.put(name, value.to_string());
        }
    }
}

/// The first plain CPU metric, and the others.
fn split_metrics(metrics: Option<Value>) -> (Option<Value>, Vec<Value>) {
    let mut rest = match metrics {
        Some(Value::Array(metrics)) => metrics,
        _ => Vec::new(),
    };
    let cpu = rest
        .iter()
        .position(is_plain_cpu)
        .map(|place| rest.remove(place));
    (cpu, rest)
}

fn autoscaler_to_v2(object: &mut Value) {
    let mut metrics = Vec::new();
    if let Some(target) = object.open("spec").pull("targetCPUUtilizationPercentage") {
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": target}}}));
    }
    let mut current = Vec::new();
    if let Some(now) = object
        .open("status")
        .pull("currentCPUUtilizationPercentage")
    {
        current.push(json!({"type": "Resource", "resource": {"name": "cpu",
            "current": {"averageUtilization": now}}}));
    }
    let mut kept = |name: &str| {
        let metadata = object.open("metadata");
        let annotations = metadata.inner("annotations")?;
        let text = annotations.pull(name)?;
        if annotations.as_object().is_some_and(|map| map.is_empty()) {
            metadata.pull("annotations");
        }
        serde_json::from_str::<Value>(text.as_str()?).ok()
    };
    let (more, more_current) = (kept(METRICS), kept(CURRENT_METRICS));
    let (behavior, conditions) = (kept(BEHAVIOR), kept(CONDITIONS));
    for (list, more) in [(&mut metrics, more), (&mut current, more_current)] {
        if let Some(Value::Array(more)) = more {
            list.extend(more);
        }
    }
    if !metrics.is_empty() {
        object.open("spec").put("metrics", metrics);
    }
    if !current.is_empty() {
        object.open("status").put("currentMetrics", current);
    }
    if let Some(behavior) = behavior {
        object.open("spec").put("behavior", behavior);
    }
    if let Some(conditions) = conditions {
        object.open("status").put("conditions", conditions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fluyt_api::catalogue;

    #[test]
    fn events_keep_everything_both_ways() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a"},
            "involvedObject": {"kind": "Pod"}, "message": "m", "source": {"component": "c"},
            "count": 2, "reportingComponent": "r", "reportingInstance": "i", "reason": "x"});
        let mut event = core.clone();
        convert(
            &mut event,
            catalogue::find("events.k8s.io", "v1", "events").unwrap(),
        );
        assert_eq!(event["regarding"]["kind"], "Pod");
        assert_eq!(event["note"], "m");
        assert_eq!(event["reportingController"], "r");
        convert(&mut event, catalogue::find("", "v1", "events").unwrap());
        assert_eq!(event, core);
    }

    #[test]
    fn autoscalers_keep_everything_both_ways() {
        let v2 = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "behavior": {"scaleUp": {}}, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
                {"type": "Pods", "pods": {}}]},
            "status": {"currentReplicas": 1, "desiredReplicas": 1}});
        let mut object = v2.clone();
        let find =
            |version| catalogue::find("autoscaling", version, "horizontalpodautoscalers").unwrap();
        convert(&mut object, find("v1"));
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 80);
        assert!(object["spec"].get("metrics").is_none());
        convert(&mut object, find("v2"));
        assert_eq!(object, v2);
    }
}
