//! Deployments, replica sets and the other workloads that own pods.

use super::parts::{
    annotations, conditions_with_reason, controller, events, format_labels, labels, labels_indented,
};
use super::writer::Writer;
use super::{Facts, pod};
use crate::object::{Object, format_label_selector};
use crate::printers::custom_columns::go_value;
use crate::text::{duration, time};
use serde_json::Value;

const REVISION: &str = "deployment.kubernetes.io/revision";

pub(crate) fn deployment(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    w.field(
        0,
        "CreationTimestamp",
        time::rfc1123z(object.at("metadata.creationTimestamp")),
    );
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    w.field(
        0,
        "Selector",
        format_label_selector(object.at("spec.selector")),
    );
    let status = &object["status"];
    w.field(
        0,
        "Replicas",
        format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            object.number("spec.replicas"),
            status.number("updatedReplicas"),
            status.number("replicas"),
            status.number("availableReplicas"),
            status.number("unavailableReplicas")
        ),
    );
    w.field(0, "StrategyType", object.text("spec.strategy.type"));
    w.field(0, "MinReadySeconds", object.number("spec.minReadySeconds"));
    let rolling = object.at("spec.strategy.rollingUpdate");
    if rolling.is_object() {
        w.field(
            0,
            "RollingUpdateStrategy",
            format!(
                "{} max unavailable, {} max surge",
                go_value(&rolling["maxUnavailable"]),
                go_value(&rolling["maxSurge"])
            ),
        );
    }
    pod::template(&mut w, object.at("spec.template"));
    conditions_with_reason(&mut w, object);
    replica_sets(&mut w, object, &facts.replica_sets);
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

/// The new set is the one whose template is the deployment's; old ones count while they have pods.
fn replica_sets(w: &mut Writer, deployment: &Value, sets: &[Value]) {
    let newest = newest_replica_set(deployment, sets);
    let old: Vec<&Value> = sets
        .iter()
        .filter(|set| newest.is_none_or(|newest| newest.name() != set.name()))
        .collect();
    if old.is_empty() && newest.is_none() {
        return;
    }
    w.field(0, "OldReplicaSets", sets_text(&old));
    w.field(
        0,
        "NewReplicaSet",
        sets_text(&newest.into_iter().collect::<Vec<_>>()),
    );
}

/// The replica set that a deployment is rolling out to, among those it owns.
pub(crate) fn newest_replica_set<'a>(deployment: &Value, sets: &'a [Value]) -> Option<&'a Value> {
    let template_of = |object: &Value| {
        let mut template = object.at("spec.template").clone();
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.remove("pod-template-hash");
        }
        if let Some(metadata) = template["metadata"].as_object_mut() {
            metadata.remove("creationTimestamp");
        }
        template
    };
    let wanted = template_of(deployment);
    let mut sets: Vec<&Value> = sets.iter().collect();
    sets.sort_by_key(|set| set.text("metadata.creationTimestamp").to_owned());
    let equal = sets.iter().find(|set| template_of(set) == wanted);
    equal.copied().or_else(|| {
        let revision = deployment.annotation(REVISION)?;
        sets.into_iter()
            .find(|set| set.annotation(REVISION) == Some(revision))
    })
}

fn sets_text(sets: &[&Value]) -> String {
    let texts: Vec<String> = sets
        .iter()
        .map(|set| {
            format!(
                "{} ({}/{} replicas created)",
                set.name(),
                set.number("status.replicas"),
                set.number("spec.replicas")
            )
        })
        .collect();
    if texts.is_empty() {
        "<none>".to_owned()
    } else {
        texts.join(", ")
    }
}

fn pods_status(facts: &Facts) -> String {
    let count = |phase: &str| {
        facts
            .pods
            .iter()
            .flatten()
            .filter(|pod| pod.text("status.phase") == phase)
            .count()
    };
    format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        count("Running"),
        count("Pending"),
        count("Succeeded"),
        count("Failed")
    )
}

/// Replica sets and replication controllers.
pub(crate) fn replica_set(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    let selector = if object.kind() == "ReplicationController" {
        format_labels(object.at("spec.selector"))
    } else {
        format_label_selector(object.at("spec.selector"))
    };
    w.field(0, "Selector", selector);
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    if let Some(controller) = controller(object) {
        w.field(0, "Controlled By", controller);
    }
    w.field(
        0,
        "Replicas",
        format!(
            "{} current / {} desired",
            object.number("status.replicas"),
            object.number("spec.replicas")
        ),
    );
    w.field(0, "Pods Status", pods_status(facts));
    pod::template(&mut w, object.at("spec.template"));
    conditions_with_reason(&mut w, object);
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

pub(crate) fn daemon_set(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    w.field(
        0,
        "Selector",
        format_label_selector(object.at("spec.selector")),
    );
    w.field(
        0,
        "Node-Selector",
        format_labels(object.at("spec.template.spec.nodeSelector")),
    );
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    for (label, field) in [
        (
            "Desired Number of Nodes Scheduled",
            "desiredNumberScheduled",
        ),
        (
            "Current Number of Nodes Scheduled",
            "currentNumberScheduled",
        ),
        (
            "Number of Nodes Scheduled with Up-to-date Pods",
            "updatedNumberScheduled",
        ),
        (
            "Number of Nodes Scheduled with Available Pods",
            "numberAvailable",
        ),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ] {
        w.line(0, format!("{label}: {}", object["status"].number(field)));
    }
    w.field(0, "Pods Status", pods_status(facts));
    pod::template(&mut w, object.at("spec.template"));
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

pub(crate) fn stateful_set(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    w.field(
        0,
        "CreationTimestamp",
        time::rfc1123z(object.at("metadata.creationTimestamp")),
    );
    w.field(
        0,
        "Selector",
        format_label_selector(object.at("spec.selector")),
    );
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    w.field(
        0,
        "Replicas",
        format!(
            "{} desired | {} total",
            object.number("spec.replicas"),
            object.number("status.replicas")
        ),
    );
    w.field(
        0,
        "Update Strategy",
        object.text("spec.updateStrategy.type"),
    );
    let rolling = object.at("spec.updateStrategy.rollingUpdate");
    if let Some(partition) = rolling["partition"].as_i64() {
        w.field(1, "Partition", partition);
        if !rolling["maxUnavailable"].is_null() {
            w.field(1, "MaxUnavailable", go_value(&rolling["maxUnavailable"]));
        }
    }
    w.field(0, "Pods Status", pods_status(facts));
    pod::template(&mut w, object.at("spec.template"));
    claim_templates(&mut w, object.list("spec.volumeClaimTemplates"));
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

fn claim_templates(w: &mut Writer, templates: &[Value]) {
    if templates.is_empty() {
        return w.field(0, "Volume Claims", "<none>");
    }
    w.line(0, "Volume Claims:");
    for claim in templates {
        w.field(1, "Name", claim.name());
        w.field(1, "StorageClass", claim.text("spec.storageClassName"));
        labels_indented(w, "  ", "Labels", claim.at("metadata.labels"));
        labels_indented(w, "  ", "Annotations", claim.at("metadata.annotations"));
        let capacity = claim.text("spec.resources.requests.storage");
        w.field(
            1,
            "Capacity",
            if capacity.is_empty() {
                "<default>"
            } else {
                capacity
            },
        );
        w.field(1, "Access Modes", go_value(claim.at("spec.accessModes")));
    }
}

pub(crate) fn job(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    w.field(
        0,
        "Selector",
        format_label_selector(object.at("spec.selector")),
    );
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    if let Some(controller) = controller(object) {
        w.field(0, "Controlled By", controller);
    }
    let spec = &object["spec"];
    for (label, field) in [
        ("Parallelism", "parallelism"),
        ("Completions", "completions"),
        ("Completion Mode", "completionMode"),
        ("Suspend", "suspend"),
        ("Backoff Limit", "backoffLimit"),
        ("TTL Seconds After Finished", "ttlSecondsAfterFinished"),
    ] {
        match &spec[field] {
            Value::Null if field == "completions" => w.field(0, label, "<unset>"),
            Value::Null => {}
            value => w.field(0, label, go_value(value)),
        }
    }
    let (start, end) = (
        object.at("status.startTime"),
        object.at("status.completionTime"),
    );
    if !start.is_null() {
        w.field(0, "Start Time", time::rfc1123z(start));
    }
    if let Some(Ok(end_time)) = end.as_str().map(str::parse::<jiff::Timestamp>) {
        w.field(0, "Completed At", time::rfc1123z(end));
        if !start.is_null() {
            w.field(0, "Duration", duration::since(start.as_str(), end_time));
        }
    }
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64() {
        w.field(0, "Active Deadline Seconds", format!("{seconds}s"));
    }
    let status = &object["status"];
    let ready = status["ready"]
        .as_i64()
        .map_or(String::new(), |ready| format!(" ({ready} Ready)"));
    w.field(
        0,
        "Pods Statuses",
        format!(
            "{} Active{ready} / {} Succeeded / {} Failed",
            status.number("active"),
            status.number("succeeded"),
            status.number("failed")
        ),
    );
    if spec["completionMode"] == "Indexed" {
        let indexes = status.text("completedIndexes");
        w.field(
            0,
            "Completed Indexes",
            if indexes.is_empty() {
                "<none>"
            } else {
                indexes
            },
        );
    }
    pod::template(&mut w, object.at("spec.template"));
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

pub(crate) fn cron_job(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    let unset = |value: &Value| match value {
        Value::Null => "<unset>".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => go_value(other),
    };
    let spec = &object["spec"];
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    w.field(0, "Schedule", spec.text("schedule"));
    w.field(0, "Concurrency Policy", spec.text("concurrencyPolicy"));
    w.field(0, "Suspend", unset(&spec["suspend"]));
    w.field(0, "Time Zone", unset(&spec["timeZone"]));
    w.field(
        0,
        "Successful Job History Limit",
        unset(&spec["successfulJobsHistoryLimit"]),
    );
    w.field(
        0,
        "Failed Job History Limit",
        unset(&spec["failedJobsHistoryLimit"]),
    );
    match spec["startingDeadlineSeconds"].as_i64() {
        Some(seconds) => w.field(0, "Starting Deadline Seconds", format!("{seconds}s")),
        None => w.field(0, "Starting Deadline Seconds", "<unset>"),
    }
    let job = spec.at("jobTemplate.spec");
    match &job["selector"] {
        Value::Null => w.field(0, "Selector", "<unset>"),
        selector => w.field(0, "Selector", format_label_selector(selector)),
    }
    w.field(0, "Parallelism", unset(&job["parallelism"]));
    w.field(0, "Completions", unset(&job["completions"]));
    if let Some(seconds) = job["activeDeadlineSeconds"].as_i64() {
        w.field(0, "Active Deadline Seconds", format!("{seconds}s"));
    }
    pod::template(&mut w, &job["template"]);
    let last = object.at("status.lastScheduleTime");
    let last = if last.is_null() {
        "<unset>".to_owned()
    } else {
        time::rfc1123z(last)
    };
    w.field(0, "Last Schedule Time", last);
    let active: Vec<&str> = object
        .list("status.active")
        .iter()
        .map(|job| job.text("name"))
        .collect();
    w.field(
        0,
        "Active Jobs",
        if active.is_empty() {
            "<none>".to_owned()
        } else {
            active.join(", ")
        },
    );
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}
