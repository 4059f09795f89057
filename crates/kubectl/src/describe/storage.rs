//! Persistent volumes, claims of them, and storage classes.

use super::Facts;
use super::parts::{annotations, events, format_labels, labels, lines, terminating};
use super::volumes;
use super::writer::Writer;
use crate::object::Object;
use crate::printers::custom_columns::go_value;
use serde_json::Value;

pub(crate) fn claim(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    w.field(0, "StorageClass", class(object));
    w.field(0, "Status", phase(object, facts));
    let volume = object.text("spec.volumeName");
    w.field(0, "Volume", volume);
    common(&mut w, object);
    let is_bound = !volume.is_empty();
    let capacity = match (is_bound, object.at("status.capacity.storage")) {
        (false, _) => "",
        (true, amount) => amount.as_str().unwrap_or("0"),
    };
    w.field(0, "Capacity", capacity);
    let modes = match is_bound {
        true => access_modes(object.list("status.accessModes")),
        false => String::new(),
    };
    w.field(0, "Access Modes", modes);
    w.field_if(0, "VolumeMode", object.text("spec.volumeMode"));
    let source = object.at("spec.dataSource");
    if source.is_object() {
        w.line(0, "DataSource:");
        w.field_if(1, "APIGroup", source.text("apiGroup"));
        w.field(1, "Kind", source.text("kind"));
        w.field(1, "Name", source.text("name"));
    }
    let users = facts.pods.as_deref().unwrap_or_default();
    let users: Vec<&str> = users.iter().map(|pod| pod.name()).collect();
    lines(&mut w, "Used By", &users);
    conditions(&mut w, object.list("status.conditions"));
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

/// Whether a pod's volume is this claim: by name, or made for the pod.
pub(crate) fn uses(pod: &Value, claim: &str) -> bool {
    pod.list("spec.volumes").iter().any(|volume| {
        volume.text("persistentVolumeClaim.claimName") == claim
            || (volume["ephemeral"].is_object()
                && format!("{}-{}", pod.name(), volume.text("name")) == claim)
    })
}

pub(crate) fn volume(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    common(&mut w, object);
    w.field(0, "StorageClass", class(object));
    w.field(0, "Status", phase(object, facts));
    let claim = object.at("spec.claimRef");
    let claim = match claim.is_object() {
        true => format!("{}/{}", claim.text("namespace"), claim.text("name")),
        false => String::new(),
    };
    w.field(0, "Claim", claim);
    let policy = object.text("spec.persistentVolumeReclaimPolicy");
    w.field(0, "Reclaim Policy", policy);
    let modes = access_modes(object.list("spec.accessModes"));
    w.field(0, "Access Modes", modes);
    w.field_if(0, "VolumeMode", object.text("spec.volumeMode"));
    let capacity = object.at("spec.capacity.storage").as_str().unwrap_or("0");
    w.field(0, "Capacity", capacity);
    node_affinity(&mut w, object.at("spec.nodeAffinity.required"));
    w.field(0, "Message", object.text("status.message"));
    w.line(0, "Source:");
    volumes::persistent(&mut w, &object["spec"]);
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

pub(crate) fn storage_class(object: &Value, facts: &Facts) -> String {
    const DEFAULT: [&str; 2] = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ];
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    let is_default = DEFAULT
        .iter()
        .any(|key| object.annotation(key) == Some("true"));
    w.field(0, "IsDefaultClass", if is_default { "Yes" } else { "No" });
    let annotations = format_labels(object.at("metadata.annotations"));
    w.field(0, "Annotations", annotations);
    w.field(0, "Provisioner", object.text("provisioner"));
    w.field(0, "Parameters", format_labels(&object["parameters"]));
    let expansion = match &object["allowVolumeExpansion"] {
        Value::Bool(true) => "True",
        Value::Bool(false) => "False",
        _ => "<unset>",
    };
    w.field(0, "AllowVolumeExpansion", expansion);
    let options = object.list("mountOptions");
    if options.is_empty() {
        w.field(0, "MountOptions", "<none>");
    } else {
        w.line(0, "MountOptions:");
    }
    for option in options {
        w.line(1, go_value(option));
    }
    w.field_if(0, "ReclaimPolicy", object.text("reclaimPolicy"));
    w.field_if(0, "VolumeBindingMode", object.text("volumeBindingMode"));
    let topologies = object.list("allowedTopologies");
    if !topologies.is_empty() {
        w.line(0, "AllowedTopologies:\t");
    }
    for (index, term) in topologies.iter().enumerate() {
        term_lines(&mut w, 1, index, term.list("matchLabelExpressions"));
    }
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

fn common(w: &mut Writer, object: &Value) {
    labels(w, "Labels", object.at("metadata.labels"));
    annotations(w, "Annotations", object.at("metadata.annotations"));
    let finalizers = object.list("metadata.finalizers").to_vec();
    w.field(0, "Finalizers", go_value(&Value::Array(finalizers)));
}

/// The annotation from before there was a field wins.
fn class(object: &Value) -> &str {
    object
        .annotation("volume.beta.kubernetes.io/storage-class")
        .unwrap_or(object.text("spec.storageClassName"))
}

fn phase(object: &Value, facts: &Facts) -> String {
    terminating(object, facts.now).unwrap_or_else(|| object.text("status.phase").to_owned())
}

/// In this order, each once.
fn access_modes(modes: &[Value]) -> String {
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let found = short
        .iter()
        .filter(|(mode, _)| modes.iter().any(|one| one == mode));
    found.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

fn node_affinity(w: &mut Writer, required: &Value) {
    if !required.is_object() {
        return w.field(0, "Node Affinity", "<none>");
    }
    w.line(0, "Node Affinity:\t");
    let terms = required.list("nodeSelectorTerms");
    if terms.is_empty() {
        return w.field(1, "Required Terms", "<none>");
    }
    w.line(1, "Required Terms:\t");
    for (index, term) in terms.iter().enumerate() {
        term_lines(w, 2, index, term.list("matchExpressions"));
    }
}

/// Requirements of nodes, or (without an operator) of topology labels.
fn term_lines(w: &mut Writer, level: usize, index: usize, requirements: &[Value]) {
    w.part(level, format!("Term {index}:"));
    if requirements.is_empty() {
        return w.line(0, "<none>");
    }
    for (index, requirement) in requirements.iter().enumerate() {
        if index > 0 {
            w.part(level, "");
        }
        let operator = match requirement.text("operator") {
            "" => "in".to_owned(),
            operator => operator.to_lowercase(),
        };
        let mut text = format!("\t{} {operator}", requirement.text("key"));
        let values = requirement.list("values");
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(go_value).collect();
            text.push_str(&format!(" [{}]", values.join(", ")));
        }
        w.line(0, text);
    }
}

fn conditions(w: &mut Writer, conditions: &[Value]) {
    if conditions.is_empty() {
        return;
    }
    w.line(0, "Conditions:");
    w.line(
        1,
        "Type\tStatus\tLastProbeTime\tLastTransitionTime\tReason\tMessage",
    );
    w.line(
        1,
        "----\t------\t-----------------\t------------------\t------\t-------",
    );
    for condition in conditions {
        let time = |field: &str| crate::text::time::rfc1123z(&condition[field]);
        w.line(
            1,
            format!(
                "{} \t{} \t{} \t{} \t{} \t{} ",
                condition.text("type"),
                condition.text("status"),
                time("lastProbeTime"),
                time("lastTransitionTime"),
                condition.text("reason"),
                condition.text("message")
            ),
        );
    }
}
