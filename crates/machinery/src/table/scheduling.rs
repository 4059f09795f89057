//! Priorities, groups of pods, and devices.

use serde_json::{Value, json};

use super::view::View;
use super::{AGE, NAME, Printer, boolean, integer, text};

const RESOURCE: &str = "resource.k8s.io";

fn name_and_age(object: &View<'_>) -> Vec<Value> {
    vec![json!(object.name()), json!(object.age())]
}

pub(super) static PRINTERS: &[Printer] = &[
    Printer {
        group: "scheduling.k8s.io",
        kind: "PriorityClass",
        columns: &[
            NAME,
            integer("Value"),
            boolean("Global-Default"),
            AGE,
            text("PreemptionPolicy"),
        ],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.number("value")),
                json!(object.boolean("globalDefault")),
                json!(object.age()),
                json!(object.text("preemptionPolicy")),
            ]
        },
    },
    Printer {
        group: "scheduling.k8s.io",
        kind: "Workload",
        columns: &[NAME, AGE],
        cells: name_and_age,
    },
    Printer {
        group: "scheduling.k8s.io",
        kind: "PodGroup",
        columns: &[NAME, text("Policy"), text("Workload"), text("Status"), AGE],
        cells: pod_group,
    },
    Printer {
        group: RESOURCE,
        kind: "DeviceClass",
        columns: &[NAME, AGE],
        cells: name_and_age,
    },
    Printer {
        group: RESOURCE,
        kind: "ResourceClaimTemplate",
        columns: &[NAME, AGE],
        cells: name_and_age,
    },
    Printer {
        group: RESOURCE,
        kind: "ResourceClaim",
        columns: &[NAME, text("State"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(claim_state(object)),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: RESOURCE,
        kind: "ResourceSlice",
        columns: &[NAME, text("Node"), text("Driver"), text("Pool"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.text("spec.nodeName")),
                json!(object.text("spec.driver")),
                json!(object.text("spec.pool.name")),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: RESOURCE,
        kind: "DeviceTaintRule",
        columns: &[
            NAME,
            text("Key"),
            text("Value"),
            text("Effect"),
            text("TimeAdded"),
            AGE,
        ],
        cells: |object| {
            let taint = object.part("spec.taint");
            let added = if taint.has("timeAdded") {
                taint.since("timeAdded")
            } else {
                String::new()
            };
            vec![
                json!(object.name()),
                json!(taint.text("key")),
                json!(taint.text("value")),
                json!(taint.text("effect")),
                json!(added),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: RESOURCE,
        kind: "ResourcePoolStatusRequest",
        columns: &[
            NAME,
            text("Driver"),
            text("Total"),
            text("Available"),
            text("Allocated"),
            text("Unavailable"),
            text("Errors"),
            integer("Pools"),
            text("Status"),
            text("Completed"),
        ],
        cells: pool_status,
    },
];

fn pod_group(object: &View<'_>) -> Vec<Value> {
    let gang = object.has("spec.schedulingPolicy.gang");
    let disrupted = object.condition("status.conditions", "DisruptionTarget");
    let scheduled = object.condition("status.conditions", "PodGroupScheduled");
    let status = match (disrupted, scheduled) {
        (Some(disrupted), _) => disrupted.text("reason"),
        (None, Some(scheduled)) if scheduled.text("status") == "True" => "Scheduled",
        (None, Some(_)) => "Unschedulable",
        (None, None) => "Pending",
    };
    let workload = if object.has("spec.podGroupTemplateRef") {
        object.text("spec.podGroupTemplateRef.workload.workloadName")
    } else {
        "<none>"
    };
    vec![
        json!(object.name()),
        json!(if gang { "Gang" } else { "Basic" }),
        json!(workload),
        json!(status),
        json!(object.age()),
    ]
}

fn claim_state(object: &View<'_>) -> String {
    let mut states = Vec::new();
    if object.is_deleted() {
        states.push("deleted");
    }
    if object.has("status.allocation") {
        states.push("allocated");
        if object.count("status.reservedFor") > 0 {
            states.push("reserved");
        }
    } else if !object.is_deleted() {
        states.push("pending");
    }
    states.join(",")
}

fn pool_status(object: &View<'_>) -> Vec<Value> {
    let outcome = object.list("status.conditions").find(|condition| {
        matches!(condition.text("type"), "Complete" | "Failed")
            && condition.text("status") == "True"
    });
    let kind = outcome
        .as_ref()
        .map_or("Pending", |condition| condition.text("type"));
    let (pools, listed) = (
        object.number("status.poolCount"),
        object.count("status.pools"),
    );
    let partial = kind == "Complete" && usize::try_from(pools).is_ok_and(|pools| pools > listed);
    let status = if partial {
        format!("Complete ({listed}/{pools} pools)")
    } else {
        kind.to_owned()
    };
    let known = object.has("status") && kind != "Failed";
    let sum = |field: &str| {
        if !known {
            return "-".to_owned();
        }
        let sum: i64 = object
            .list("status.pools")
            .map(|pool| pool.number(field))
            .sum();
        sum.to_string()
    };
    let errors = object
        .list("status.pools")
        .filter(|pool| pool.has("validationError"))
        .count();
    let completed = match outcome {
        Some(condition) if kind == "Complete" => condition.since("lastTransitionTime"),
        _ => "<none>".to_owned(),
    };
    vec![
        json!(object.name()),
        json!(object.text("spec.driver")),
        json!(sum("totalDevices")),
        json!(sum("availableDevices")),
        json!(sum("allocatedDevices")),
        json!(sum("unavailableDevices")),
        json!(if known {
            errors.to_string()
        } else {
            "-".to_owned()
        }),
        json!(pools),
        json!(status),
        json!(completed),
    ]
}
