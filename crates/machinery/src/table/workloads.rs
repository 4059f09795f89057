//! What makes pods: replica sets, deployments, jobs and their kin, and their scaling.

use serde_json::{Value, json};

use super::view::{View, human_duration, quantity};
use super::{AGE, Column, NAME, Printer, boolean, integer, text, wide};

const CONTAINERS: Column = wide("Containers");
const IMAGES: Column = wide("Images");
const SELECTOR: Column = wide("Selector");
const REPLICAS: &[Column] = &[
    NAME,
    integer("Desired"),
    integer("Current"),
    integer("Ready"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) static PRINTERS: &[Printer] = &[
    Printer {
        group: "",
        kind: "ReplicationController",
        columns: REPLICAS,
        cells: |object| replicas(object, object.labels("spec.selector")),
    },
    Printer {
        group: "apps",
        kind: "ReplicaSet",
        columns: REPLICAS,
        cells: |object| replicas(object, object.selector("spec.selector")),
    },
    Printer {
        group: "apps",
        kind: "Deployment",
        columns: &[
            NAME,
            text("Ready"),
            text("Up-to-date"),
            text("Available"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        cells: deployment,
    },
    Printer {
        group: "apps",
        kind: "StatefulSet",
        columns: &[NAME, text("Ready"), AGE, CONTAINERS, IMAGES],
        cells: |object| {
            let (names, images) = object.containers("spec.template.spec.containers");
            vec![
                json!(object.name()),
                json!(ready(object)),
                json!(object.age()),
                json!(names),
                json!(images),
            ]
        },
    },
    Printer {
        group: "apps",
        kind: "DaemonSet",
        columns: &[
            NAME,
            integer("Desired"),
            integer("Current"),
            integer("Ready"),
            integer("Up-to-date"),
            integer("Available"),
            text("Node Selector"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        cells: daemon_set,
    },
    Printer {
        group: "apps",
        kind: "ControllerRevision",
        columns: &[NAME, text("Controller"), text("Revision"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(controller(object)),
                json!(object.number("revision")),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "batch",
        kind: "Job",
        columns: &[
            NAME,
            text("Status"),
            text("Completions"),
            text("Duration"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        cells: job,
    },
    Printer {
        group: "batch",
        kind: "CronJob",
        columns: &[
            NAME,
            text("Schedule"),
            text("Timezone"),
            boolean("Suspend"),
            integer("Active"),
            text("Last Schedule"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        cells: cron_job,
    },
    Printer {
        group: "policy",
        kind: "PodDisruptionBudget",
        columns: &[
            NAME,
            text("Min Available"),
            text("Max Unavailable"),
            integer("Allowed Disruptions"),
            AGE,
        ],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(int_or_string(object.get("spec.minAvailable"))),
                json!(int_or_string(object.get("spec.maxUnavailable"))),
                json!(object.number("status.disruptionsAllowed")),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "autoscaling",
        kind: "HorizontalPodAutoscaler",
        columns: &[
            NAME,
            text("Reference"),
            text("Targets"),
            text("MinPods"),
            text("MaxPods"),
            text("Replicas"),
            AGE,
        ],
        cells: autoscaler,
    },
    Printer {
        group: "autoscaling",
        kind: "Scale",
        columns: &[text("Name"), integer("Desired"), integer("Available"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.number("spec.replicas")),
                json!(object.number("status.replicas")),
                json!(object.age()),
            ]
        },
    },
];

fn replicas(object: &View<'_>, selector: String) -> Vec<Value> {
    let (names, images) = object.containers("spec.template.spec.containers");
    vec![
        json!(object.name()),
        json!(object.number("spec.replicas")),
        json!(object.number("status.replicas")),
        json!(object.number("status.readyReplicas")),
        json!(object.age()),
        json!(names),
        json!(images),
        json!(selector),
    ]
}

fn ready(object: &View<'_>) -> String {
    format!(
        "{}/{}",
        object.number("status.readyReplicas"),
        object.number("spec.replicas")
    )
}

fn deployment(object: &View<'_>) -> Vec<Value> {
    let (names, images) = object.containers("spec.template.spec.containers");
    // Deployments print an empty selector as it is and have a word of their own for a bad one.
    let selector = match object.selector("spec.selector").as_str() {
        "<error>" => "<invalid>".to_owned(),
        "<none>" => String::new(),
        selector => selector.to_owned(),
    };
    vec![
        json!(object.name()),
        json!(ready(object)),
        json!(object.number("status.updatedReplicas")),
        json!(object.number("status.availableReplicas")),
        json!(object.age()),
        json!(names),
        json!(images),
        json!(selector),
    ]
}

fn daemon_set(object: &View<'_>) -> Vec<Value> {
    let (names, images) = object.containers("spec.template.spec.containers");
    let status = object.part("status");
    vec![
        json!(object.name()),
        json!(status.number("desiredNumberScheduled")),
        json!(status.number("currentNumberScheduled")),
        json!(status.number("numberReady")),
        json!(status.number("updatedNumberScheduled")),
        json!(status.number("numberAvailable")),
        json!(object.labels("spec.template.spec.nodeSelector")),
        json!(object.age()),
        json!(names),
        json!(images),
        json!(object.selector("spec.selector")),
    ]
}

fn controller(object: &View<'_>) -> String {
    let Some(owner) = object
        .list("metadata.ownerReferences")
        .find(|owner| owner.boolean("controller"))
    else {
        return "<none>".to_owned();
    };
    let kind = owner.text("kind");
    let kind = match owner.text("apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}"),
        None => kind.to_owned(),
    };
    format!("{}/{}", kind.to_lowercase(), owner.text("name"))
}

fn job(object: &View<'_>) -> Vec<Value> {
    let (names, images) = object.containers("spec.template.spec.containers");
    vec![
        json!(object.name()),
        json!(job_status(object)),
        json!(job_completions(object)),
        json!(job_duration(object)),
        json!(object.age()),
        json!(names),
        json!(images),
        json!(object.selector("spec.selector")),
    ]
}

fn job_status(object: &View<'_>) -> &'static str {
    let is = |condition| object.is_condition_true("status.conditions", condition);
    if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if object.is_deleted() {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn job_completions(object: &View<'_>) -> String {
    let succeeded = object.number("status.succeeded");
    if object.has("spec.completions") {
        return format!("{succeeded}/{}", object.number("spec.completions"));
    }
    match object.number("spec.parallelism") {
        parallelism if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        _ => format!("{succeeded}/1"),
    }
}

fn job_duration(object: &View<'_>) -> String {
    match (
        object.time("status.startTime"),
        object.time("status.completionTime"),
    ) {
        (None, _) => String::new(),
        (start, None) => object.since_time(start),
        (Some(start), Some(end)) => human_duration(end.duration_since(start).as_secs()),
    }
}

fn cron_job(object: &View<'_>) -> Vec<Value> {
    let template = object.part("spec.jobTemplate.spec");
    let (names, images) = template.containers("template.spec.containers");
    let last = if object.has("status.lastScheduleTime") {
        object.since("status.lastScheduleTime")
    } else {
        "<none>".to_owned()
    };
    let suspend = match object.get("spec.suspend").as_bool() {
        None => "<unset>",
        Some(true) => "True",
        Some(false) => "False",
    };
    let zone = if object.has("spec.timeZone") {
        object.text("spec.timeZone")
    } else {
        "<none>"
    };
    vec![
        json!(object.name()),
        json!(object.text("spec.schedule")),
        json!(zone),
        json!(suspend),
        json!(object.count("status.active")),
        json!(last),
        json!(object.age()),
        json!(names),
        json!(images),
        json!(template.selector("selector")),
    ]
}

fn int_or_string(value: &Value) -> String {
    match value {
        Value::Null => "N/A".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn autoscaler(object: &View<'_>) -> Vec<Value> {
    let target = object.part("spec.scaleTargetRef");
    let minimum = match object.get("spec.minReplicas") {
        Value::Null => "<unset>".to_owned(),
        minimum => minimum.to_string(),
    };
    vec![
        json!(object.name()),
        json!(format!("{}/{}", target.text("kind"), target.text("name"))),
        json!(metrics(object)),
        json!(minimum),
        json!(object.number("spec.maxReplicas")),
        json!(object.number("status.currentReplicas")),
        json!(object.age()),
    ]
}

fn metrics(object: &View<'_>) -> String {
    const SHOWN: usize = 2;
    let current: Vec<_> = object.list("status.currentMetrics").collect();
    let mut texts: Vec<String> = object
        .list("spec.metrics")
        .enumerate()
        .map(|(place, metric)| one_metric(&metric, current.get(place)))
        .collect();
    // The first version of the kind knows the use of the processor only.
    if object.has("spec.targetCPUUtilizationPercentage") {
        let current = percent(
            object.get("status.currentCPUUtilizationPercentage"),
            "<unknown>",
        );
        let target = percent(object.get("spec.targetCPUUtilizationPercentage"), "<auto>");
        texts.push(format!("cpu: {current}/{target}"));
    }
    if texts.is_empty() {
        return "<none>".to_owned();
    }
    let more = texts.len().saturating_sub(SHOWN);
    texts.truncate(SHOWN);
    let shown = texts.join(", ");
    if more > 0 {
        format!("{shown} + {more} more...")
    } else {
        shown
    }
}

fn percent(value: &Value, otherwise: &str) -> String {
    value
        .as_i64()
        .map_or_else(|| otherwise.to_owned(), |number| format!("{number}%"))
}

fn one_metric(metric: &View<'_>, status: Option<&View<'_>>) -> String {
    let field = match metric.text("type") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let target = metric.part(field).part("target");
    let current = |key: &str| -> &Value {
        status.map_or(&Value::Null, |status| {
            status.part(field).part("current").get(key)
        })
    };
    let known = status.is_some_and(|status| status.has(field));
    let amount = |key: &str, even_when_absent: bool| match current(key) {
        Value::Null if !(known && even_when_absent) => "<unknown>".to_owned(),
        value => quantity(value),
    };
    let average = target.has("averageValue");
    match field {
        "pods" => format!(
            "{}/{}",
            amount("averageValue", true),
            target.quantity("averageValue")
        ),
        "external" | "object" if average => {
            format!(
                "{}/{} (avg)",
                amount("averageValue", false),
                target.quantity("averageValue")
            )
        }
        "external" | "object" => format!("{}/{}", amount("value", true), target.quantity("value")),
        _ => {
            let name = metric.part(field).text("name");
            if average {
                let current = amount("averageValue", true);
                return format!("{name}: {current}/{}", target.quantity("averageValue"));
            }
            let current = percent(current("averageUtilization"), "<unknown>");
            let target = percent(target.get("averageUtilization"), "<auto>");
            format!("{name}: {current}/{target}")
        }
    }
}
