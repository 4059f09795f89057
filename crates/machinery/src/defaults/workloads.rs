//! Defaults of apps, batch and autoscaling.

use serde_json::{Value, json};

use super::{blank, pod};
use crate::get::{Get, Put};

pub(super) fn apply(kind: &str, object: &mut Value) {
    match kind {
        "Deployment" => deployment(object.open("spec")),
        "ReplicaSet" => {
            let spec = object.open("spec");
            spec.or_put("replicas", 1);
            pod::template(spec);
        }
        "DaemonSet" => daemon_set(object.open("spec")),
        "StatefulSet" => stateful_set(object.open("spec")),
        "Job" => {
            let labels = object
                .at("spec")
                .at("template")
                .at("metadata")
                .at("labels")
                .clone();
            if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
                object.open("metadata").or_put("labels", labels);
            }
            job(object.open("spec"));
        }
        "CronJob" => cron_job(object.open("spec")),
        "HorizontalPodAutoscaler" => autoscaler(object),
        _ => {}
    }
}

fn deployment(spec: &mut Value) {
    spec.or_put("replicas", 1);
    let strategy = spec.open("strategy");
    strategy.or_put("type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = strategy.open("rollingUpdate");
        rolling.or_put("maxUnavailable", "25%");
        rolling.or_put("maxSurge", "25%");
    }
    spec.or_put("revisionHistoryLimit", 10);
    spec.or_put("progressDeadlineSeconds", 600);
    pod::template(spec);
}

fn daemon_set(spec: &mut Value) {
    let strategy = spec.open("updateStrategy");
    strategy.or_put("type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = strategy.open("rollingUpdate");
        rolling.or_put("maxUnavailable", 1);
        rolling.or_put("maxSurge", 0);
    }
    spec.or_put("revisionHistoryLimit", 10);
    pod::template(spec);
}

fn stateful_set(spec: &mut Value) {
    spec.or_put("podManagementPolicy", "OrderedReady");
    let strategy = spec.open("updateStrategy");
    if blank(strategy, "type") {
        strategy.put("type", "RollingUpdate");
    }
    if strategy.text("type") == "RollingUpdate" {
        strategy.open("rollingUpdate").or_put("partition", 0);
    }
    let retention = spec.open("persistentVolumeClaimRetentionPolicy");
    retention.or_put("whenDeleted", "Retain");
    retention.or_put("whenScaled", "Retain");
    spec.or_put("replicas", 1);
    spec.or_put("revisionHistoryLimit", 10);
    for claim in spec.items_mut("volumeClaimTemplates") {
        claim.or_put("apiVersion", "v1");
        claim.or_put("kind", "PersistentVolumeClaim");
        claim.open("spec").or_put("volumeMode", "Filesystem");
        claim.open("status").or_put("phase", "Pending");
    }
    pod::template(spec);
}

fn job(spec: &mut Value) {
    if !spec.has("completions") && !spec.has("parallelism") {
        spec.put("completions", 1);
    }
    spec.or_put("parallelism", 1);
    if spec.has("backoffLimitPerIndex") {
        spec.or_put("backoffLimit", i64::from(i32::MAX));
    }
    spec.or_put("backoffLimit", 6);
    spec.or_put("completionMode", "NonIndexed");
    spec.or_put("suspend", false);
    if let Some(policy) = spec.inner("podFailurePolicy") {
        for rule in policy.items_mut("rules") {
            for condition in rule.items_mut("onPodConditions") {
                condition.or_put("status", "True");
            }
        }
    }
    let replacement = if spec.has("podFailurePolicy") {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    spec.or_put("podReplacementPolicy", replacement);
    spec.or_put("manualSelector", false);
    pod::template(spec);
}

fn cron_job(spec: &mut Value) {
    spec.or_put("concurrencyPolicy", "Allow");
    spec.or_put("suspend", false);
    spec.or_put("successfulJobsHistoryLimit", 3);
    spec.or_put("failedJobsHistoryLimit", 1);
    if let Some(template) = spec.inner("jobTemplate") {
        pod::template(template.open("spec"));
    }
}

fn autoscaler(object: &mut Value) {
    let v1 = object.text("apiVersion") == "autoscaling/v1";
    let spec = object.open("spec");
    spec.or_put("minReplicas", 1);
    if v1 {
        return;
    }
    if spec.items("metrics").is_empty() {
        spec.put(
            "metrics",
            json!([{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}}]),
        );
    }
    let Some(behavior) = spec.inner("behavior") else {
        return;
    };
    let up = json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15}]);
    let down = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
    let rules = behavior.open("scaleUp");
    rules.or_put("stabilizationWindowSeconds", 0);
    rules.or_put("selectPolicy", "Max");
    rules.or_put("policies", up);
    let rules = behavior.open("scaleDown");
    rules.or_put("selectPolicy", "Max");
    rules.or_put("policies", down);
}
