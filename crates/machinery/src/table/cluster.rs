//! Nodes, namespaces, events and the small objects of the core group.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::view::{View, quantity};
use super::{AGE, NAME, Printer, name_format, text, wide};

const EVENT_COLUMNS: &[super::Column] = &[
    text("Last Seen"),
    text("Type"),
    text("Reason"),
    text("Object"),
    wide("Subobject"),
    wide("Source"),
    text("Message"),
    wide("First Seen"),
    wide("Count"),
    name_format(wide("Name")),
];

pub(super) static PRINTERS: &[Printer] = &[
    Printer {
        group: "",
        kind: "Node",
        columns: &[
            NAME,
            text("Status"),
            text("Roles"),
            AGE,
            text("Version"),
            wide("Internal-IP"),
            wide("External-IP"),
            wide("OS-Image"),
            wide("Kernel-Version"),
            wide("Container-Runtime"),
        ],
        cells: node,
    },
    Printer {
        group: "",
        kind: "Namespace",
        columns: &[NAME, text("Status"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.text("status.phase")),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "",
        kind: "Secret",
        columns: &[NAME, text("Type"), text("Data"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.text("type")),
                json!(object.count("data")),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "",
        kind: "ConfigMap",
        columns: &[NAME, text("Data"), AGE],
        cells: |object| {
            let entries = object.count("data") + object.count("binaryData");
            vec![json!(object.name()), json!(entries), json!(object.age())]
        },
    },
    Printer {
        group: "",
        kind: "ServiceAccount",
        columns: &[NAME, AGE],
        cells: |object| vec![json!(object.name()), json!(object.age())],
    },
    Printer {
        group: "",
        kind: "ResourceQuota",
        columns: &[NAME, text("Request"), text("Limit"), AGE],
        cells: quota,
    },
    Printer {
        group: "",
        kind: "ComponentStatus",
        columns: &[NAME, text("Status"), text("Message"), text("Error")],
        cells: component,
    },
    Printer {
        group: "",
        kind: "Event",
        columns: EVENT_COLUMNS,
        cells: event,
    },
    Printer {
        group: "events.k8s.io",
        kind: "Event",
        columns: EVENT_COLUMNS,
        cells: event,
    },
    Printer {
        group: "coordination.k8s.io",
        kind: "Lease",
        columns: &[NAME, text("Holder"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.text("spec.holderIdentity")),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "coordination.k8s.io",
        kind: "LeaseCandidate",
        columns: &[
            NAME,
            text("LeaseName"),
            text("BinaryVersion"),
            text("EmulationVersion"),
            AGE,
        ],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.text("spec.leaseName")),
                json!(object.text("spec.binaryVersion")),
                json!(object.text("spec.emulationVersion")),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "node.k8s.io",
        kind: "RuntimeClass",
        columns: &[NAME, text("Handler"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.text("handler")),
                json!(object.age()),
            ]
        },
    },
];

fn node(object: &View<'_>) -> Vec<Value> {
    let mut status = match object.condition("status.conditions", "Ready") {
        Some(ready) if ready.text("status") == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object.boolean("spec.unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    let address = |ty: &str| {
        object
            .list("status.addresses")
            .find(|address| address.text("type") == ty)
            .map_or("<none>", |address| address.text("address"))
    };
    let info = object.part("status.nodeInfo");
    let mut kernel = info.text_or("kernelVersion", "<unknown>").to_owned();
    let architecture = info.text("architecture");
    if !architecture.is_empty() {
        kernel.push_str(&format!(" ({architecture})"));
    }
    vec![
        json!(object.name()),
        json!(status),
        json!(roles(object)),
        json!(object.age()),
        json!(info.text("kubeletVersion")),
        json!(address("InternalIP")),
        json!(address("ExternalIP")),
        json!(info.text_or("osImage", "<unknown>")),
        json!(kernel),
        json!(info.text_or("containerRuntimeVersion", "<unknown>")),
    ]
}

fn roles(object: &View<'_>) -> String {
    let labels = object.get("metadata.labels").as_object();
    let roles: BTreeSet<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.as_str() {
            "kubernetes.io/role" => value.as_str(),
            key => key.strip_prefix("node-role.kubernetes.io/"),
        })
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() {
        return "<none>".to_owned();
    }
    roles.into_iter().collect::<Vec<_>>().join(",")
}

fn quota(object: &View<'_>) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let mut hard: Vec<_> = object
        .get("status.hard")
        .as_object()
        .into_iter()
        .flatten()
        .collect();
    hard.sort_by_key(|(resource, _)| resource.as_str());
    for (resource, hard) in hard {
        let used = object
            .get("status.used")
            .get(resource)
            .unwrap_or(&Value::Null);
        let text = format!("{resource}: {}/{}", quantity(used), quantity(hard));
        if resource.starts_with("limits.") {
            limits.push(text);
        } else {
            requests.push(text);
        }
    }
    vec![
        json!(object.name()),
        json!(requests.join(", ")),
        json!(limits.join(", ")),
        json!(object.age()),
    ]
}

fn component(object: &View<'_>) -> Vec<Value> {
    let (status, message, error) = match object.condition("conditions", "Healthy") {
        None => ("Unknown", "", ""),
        Some(condition) => {
            let healthy = condition.text("status") == "True";
            let status = if healthy { "Healthy" } else { "Unhealthy" };
            (status, condition.text("message"), condition.text("error"))
        }
    };
    vec![
        json!(object.name()),
        json!(status),
        json!(message),
        json!(error),
    ]
}

/// Events of both groups: the newer one has other names for the same fields.
fn event(object: &View<'_>) -> Vec<Value> {
    let newer = object.has("regarding");
    let pick = |core: &'static str, events: &'static str| if newer { events } else { core };
    let first = pick("firstTimestamp", "deprecatedFirstTimestamp");
    let first = object.time(first).or_else(|| object.time("eventTime"));
    let last = object
        .time(pick("lastTimestamp", "deprecatedLastTimestamp"))
        .or(first);
    let (last, count) = if object.has("series") {
        (
            object.time("series.lastObservedTime"),
            object.number("series.count"),
        )
    } else {
        (last, object.number(pick("count", "deprecatedCount")).max(1))
    };
    let target = object.part(pick("involvedObject", "regarding"));
    let kind = target.text("kind").to_lowercase();
    let name = match target.text("name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let source = object.part(pick("source", "deprecatedSource"));
    let reporter = pick("reportingComponent", "reportingController");
    let component = source.text_or("component", object.text(reporter));
    let source = match source.text_or("host", object.text("reportingInstance")) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    };
    vec![
        json!(object.since_time(last)),
        json!(object.text("type")),
        json!(object.text("reason")),
        json!(name),
        json!(target.text("fieldPath")),
        json!(source),
        json!(object.text(pick("message", "note")).trim()),
        json!(object.since_time(first)),
        json!(count),
        json!(object.name()),
    ]
}
