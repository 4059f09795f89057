//! Who may do what, and what admits, extends and shares the server.

use serde_json::{Value, json};

use super::view::{View, human_duration, with_more};
use super::{AGE, Column, NAME, Printer, integer, text, wide};

const BINDING: &[Column] = &[
    NAME,
    text("Role"),
    AGE,
    wide("Users"),
    wide("Groups"),
    wide("ServiceAccounts"),
];
const WEBHOOKS: &[Column] = &[NAME, integer("Webhooks"), AGE];
const POLICY_BINDING: &[Column] = &[NAME, text("PolicyName"), text("ParamRef"), AGE];
const ADMISSION: &str = "admissionregistration.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) static PRINTERS: &[Printer] = &[
    Printer {
        group: RBAC,
        kind: "RoleBinding",
        columns: BINDING,
        cells: binding,
    },
    Printer {
        group: RBAC,
        kind: "ClusterRoleBinding",
        columns: BINDING,
        cells: binding,
    },
    Printer {
        group: CERTIFICATES,
        kind: "CertificateSigningRequest",
        columns: &[
            NAME,
            AGE,
            text("SignerName"),
            text("Requestor"),
            text("RequestedDuration"),
            text("Condition"),
        ],
        cells: signing_request,
    },
    Printer {
        group: CERTIFICATES,
        kind: "ClusterTrustBundle",
        columns: &[NAME, text("SignerName")],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.text_or("spec.signerName", "<none>")),
            ]
        },
    },
    Printer {
        group: CERTIFICATES,
        kind: "PodCertificateRequest",
        columns: &[
            NAME,
            text("PodName"),
            text("ServiceAccountName"),
            text("NodeName"),
            text("SignerName"),
            text("State"),
            text("UnverifiedUserAnnotations"),
        ],
        cells: pod_certificate,
    },
    Printer {
        group: ADMISSION,
        kind: "MutatingWebhookConfiguration",
        columns: WEBHOOKS,
        cells: webhooks,
    },
    Printer {
        group: ADMISSION,
        kind: "ValidatingWebhookConfiguration",
        columns: WEBHOOKS,
        cells: webhooks,
    },
    Printer {
        group: ADMISSION,
        kind: "ValidatingAdmissionPolicy",
        columns: &[NAME, integer("Validations"), text("ParamKind"), AGE],
        cells: |object| policy(object, "spec.validations"),
    },
    Printer {
        group: ADMISSION,
        kind: "MutatingAdmissionPolicy",
        columns: &[NAME, integer("Mutations"), text("ParamKind"), AGE],
        cells: |object| policy(object, "spec.mutations"),
    },
    Printer {
        group: ADMISSION,
        kind: "ValidatingAdmissionPolicyBinding",
        columns: POLICY_BINDING,
        cells: policy_binding,
    },
    Printer {
        group: ADMISSION,
        kind: "MutatingAdmissionPolicyBinding",
        columns: POLICY_BINDING,
        cells: policy_binding,
    },
    Printer {
        group: "apiregistration.k8s.io",
        kind: "APIService",
        columns: &[NAME, text("Service"), text("Available"), AGE],
        cells: api_service,
    },
    Printer {
        group: "flowcontrol.apiserver.k8s.io",
        kind: "FlowSchema",
        columns: &[
            NAME,
            text("PriorityLevel"),
            text("MatchingPrecedence"),
            text("DistinguisherMethod"),
            AGE,
            text("MissingPL"),
        ],
        cells: flow_schema,
    },
    Printer {
        group: "flowcontrol.apiserver.k8s.io",
        kind: "PriorityLevelConfiguration",
        columns: &[
            NAME,
            text("Type"),
            text("NominalConcurrencyShares"),
            text("Queues"),
            text("HandSize"),
            text("QueueLengthLimit"),
            AGE,
        ],
        cells: priority_level,
    },
    Printer {
        group: "internal.apiserver.k8s.io",
        kind: "StorageVersion",
        columns: &[
            NAME,
            text("CommonEncodingVersion"),
            text("StorageVersions"),
            AGE,
        ],
        cells: storage_version,
    },
    Printer {
        group: "storagemigration.k8s.io",
        kind: "StorageVersionMigration",
        columns: &[text("Name"), text("Resource"), text("Status")],
        cells: migration,
    },
];

fn binding(object: &View<'_>) -> Vec<Value> {
    let subjects = |kind: &str| {
        let names: Vec<_> = object
            .list("subjects")
            .filter(|subject| subject.text("kind") == kind)
            .map(|subject| match kind {
                "ServiceAccount" => {
                    format!("{}/{}", subject.text("namespace"), subject.text("name"))
                }
                _ => subject.text("name").to_owned(),
            })
            .collect();
        names.join(", ")
    };
    let role = object.part("roleRef");
    vec![
        json!(object.name()),
        json!(format!("{}/{}", role.text("kind"), role.text("name"))),
        json!(object.age()),
        json!(subjects("User")),
        json!(subjects("Group")),
        json!(subjects("ServiceAccount")),
    ]
}

fn signing_request(object: &View<'_>) -> Vec<Value> {
    let is = |ty: &str| object.condition("status.conditions", ty).is_some();
    let mut status = if is("Denied") {
        "Denied".to_owned()
    } else if is("Approved") {
        "Approved".to_owned()
    } else {
        "Pending".to_owned()
    };
    if is("Failed") {
        status.push_str(",Failed");
    }
    if !object.text("status.certificate").is_empty() {
        status.push_str(",Issued");
    }
    let duration = match object.get("spec.expirationSeconds").as_i64() {
        Some(seconds) => human_duration(seconds),
        None => "<none>".to_owned(),
    };
    vec![
        json!(object.name()),
        json!(object.age()),
        json!(object.text_or("spec.signerName", "<none>")),
        json!(object.text("spec.username")),
        json!(duration),
        json!(status),
    ]
}

fn pod_certificate(object: &View<'_>) -> Vec<Value> {
    let state = object
        .list("status.conditions")
        .map(|condition| condition.text("type"))
        .rfind(|ty| matches!(*ty, "Issued" | "Denied" | "Failed"));
    vec![
        json!(object.name()),
        json!(object.text("spec.podName")),
        json!(object.text("spec.serviceAccountName")),
        json!(object.text("spec.nodeName")),
        json!(object.text("spec.signerName")),
        json!(state.unwrap_or("Pending")),
        json!(object.labels("spec.unverifiedUserAnnotations")),
    ]
}

fn webhooks(object: &View<'_>) -> Vec<Value> {
    vec![
        json!(object.name()),
        json!(object.count("webhooks")),
        json!(object.age()),
    ]
}

fn policy(object: &View<'_>, rules: &str) -> Vec<Value> {
    let kind = object.part("spec.paramKind");
    let kind = if object.has("spec.paramKind") {
        format!("{}/{}", kind.text("apiVersion"), kind.text("kind"))
    } else {
        "<unset>".to_owned()
    };
    vec![
        json!(object.name()),
        json!(object.count(rules)),
        json!(kind),
        json!(object.age()),
    ]
}

fn policy_binding(object: &View<'_>) -> Vec<Value> {
    let reference = object.part("spec.paramRef");
    let parameter = match (reference.text("name"), reference.text("namespace")) {
        ("", _) if reference.has("selector") => go_selector(&reference.part("selector")),
        ("", _) => "<unset>".to_owned(),
        (name, "") => format!("*/{name}"),
        (name, namespace) => format!("{namespace}/{name}"),
    };
    vec![
        json!(object.name()),
        json!(object.text("spec.policyName")),
        json!(parameter),
        json!(object.age()),
    ]
}

/// A label selector as Go prints the struct.
fn go_selector(selector: &View<'_>) -> String {
    let mut labels: Vec<_> = selector
        .get("matchLabels")
        .as_object()
        .into_iter()
        .flatten()
        .collect();
    labels.sort_by_key(|(key, _)| key.as_str());
    let labels: String = labels
        .iter()
        .map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or_default()))
        .collect();
    let expressions: String = selector
        .list("matchExpressions")
        .map(|expression| {
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
                expression.text("key"),
                expression.text("operator"),
                expression.texts("values").join(" ")
            )
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

fn api_service(object: &View<'_>) -> Vec<Value> {
    let service = object.part("spec.service");
    let service = if object.has("spec.service") {
        format!("{}/{}", service.text("namespace"), service.text("name"))
    } else {
        "Local".to_owned()
    };
    let available = match object.condition("status.conditions", "Available") {
        None => "Unknown".to_owned(),
        Some(condition) => match condition.text("status") {
            "True" => "True".to_owned(),
            status => format!("{status} ({})", condition.text("reason")),
        },
    };
    vec![
        json!(object.name()),
        json!(service),
        json!(available),
        json!(object.age()),
    ]
}

fn flow_schema(object: &View<'_>) -> Vec<Value> {
    let dangling = object.condition("status.conditions", "Dangling");
    let method = if object.has("spec.distinguisherMethod") {
        object.text("spec.distinguisherMethod.type")
    } else {
        "<none>"
    };
    vec![
        json!(object.name()),
        json!(object.text("spec.priorityLevelConfiguration.name")),
        json!(object.number("spec.matchingPrecedence")),
        json!(method),
        json!(object.age()),
        json!(dangling.map_or("?", |condition| condition.text("status"))),
    ]
}

fn priority_level(object: &View<'_>) -> Vec<Value> {
    let limited = object.part("spec.limited");
    let number = |within: &View<'_>, holder: bool, path: &str| {
        if holder {
            json!(within.number(path))
        } else {
            json!("<none>")
        }
    };
    let has_limit = object.has("spec.limited");
    let queuing = limited.part("limitResponse.queuing");
    let has_queues = limited.has("limitResponse.queuing");
    vec![
        json!(object.name()),
        json!(object.text("spec.type")),
        number(&limited, has_limit, "nominalConcurrencyShares"),
        number(&queuing, has_queues, "queues"),
        number(&queuing, has_queues, "handSize"),
        number(&queuing, has_queues, "queueLengthLimit"),
        json!(object.age()),
    ]
}

fn storage_version(object: &View<'_>) -> Vec<Value> {
    let versions: Vec<_> = object
        .list("status.storageVersions")
        .map(|version| {
            format!(
                "{}={}",
                version.text("apiServerID"),
                version.text("encodingVersion")
            )
        })
        .collect();
    let common = object.get("status.commonEncodingVersion").as_str();
    vec![
        json!(object.name()),
        json!(common.unwrap_or("<unset>")),
        json!(with_more(&versions, 3)),
        json!(object.age()),
    ]
}

fn migration(object: &View<'_>) -> Vec<Value> {
    let resource = match (
        object.text("spec.resource.resource"),
        object.text("spec.resource.group"),
    ) {
        (resource, "") => resource.to_owned(),
        (resource, group) => format!("{resource}.{group}"),
    };
    let status = object
        .list("status.conditions")
        .filter(|condition| condition.text("status") == "True")
        .map(|condition| condition.text("type"))
        .rfind(|ty| matches!(*ty, "Running" | "Failed" | "Succeeded"));
    vec![
        json!(object.name()),
        json!(resource),
        json!(status.unwrap_or("Unknown")),
    ]
}
