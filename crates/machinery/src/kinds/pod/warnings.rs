//! What is allowed in a pod but hardly meant.
//!
//! Invariant: nothing here refuses anything.

use fluyt_api::quantity::Quantity;
use serde_json::Value;

use crate::at::At;
use crate::get::Get;

/// Labels that nodes no longer need to have: the label, since when, what replaced it.
const OLD_LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "v1.17",
        "topology.kubernetes.io/region",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "v1.17",
        "topology.kubernetes.io/zone",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "v1.17",
        "node.kubernetes.io/instance-type",
    ),
];

/// Kinds of volumes that do nothing any more.
const OLD_VOLUMES: [(&str, &str); 9] = [
    (
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// The warnings about a pod's spec at `at`.
pub(crate) fn of_spec(spec: &Value, at: &At) -> Vec<String> {
    let mut found = Vec::new();
    placement(spec, at, &mut found);
    volumes(spec, at, &mut found);
    for (list, field) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        duplicates(spec, list, field, at, &mut found);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let place = at.child(list);
        for (index, container) in spec.items(list).iter().enumerate() {
            let at = place.index(index);
            fractions(container, &at, &mut found);
            variables(container, &at, &mut found);
        }
    }
    if spec
        .int("terminationGracePeriodSeconds")
        .is_some_and(|s| s < 0)
    {
        let at = at.child("terminationGracePeriodSeconds");
        found.push(format!(
            "{at}: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    found
}

fn old_label(label: &str) -> Option<String> {
    let (_, since, new) = OLD_LABELS.iter().find(|(old, _, _)| *old == label)?;
    Some(format!("deprecated since {since}; use {new:?} instead"))
}

fn placement(spec: &Value, at: &At, found: &mut Vec<String>) {
    let selector = at.child("nodeSelector");
    for (label, _) in spec.members("nodeSelector") {
        if let Some(why) = old_label(label) {
            found.push(format!("{}: {why}", selector.key(label)));
        }
    }
    let list = at.child("topologySpreadConstraints");
    for (index, constraint) in spec.items("topologySpreadConstraints").iter().enumerate() {
        let at = list.index(index);
        let key = constraint.text("topologyKey");
        if let Some(why) = old_label(key) {
            found.push(format!("{}: {key} is {why}", at.child("topologyKey")));
        }
        if !constraint.has("labelSelector") {
            let at = at.child("labelSelector");
            found.push(format!(
                "{at}: a null labelSelector results in matching no pod"
            ));
        }
    }
}

fn volumes(spec: &Value, at: &At, found: &mut Vec<String>) {
    let list = at.child("volumes");
    for (index, volume) in spec.items("volumes").iter().enumerate() {
        for (kind, why) in OLD_VOLUMES {
            if volume.has(kind) {
                found.push(format!("{}: {why}", list.index(index).child(kind)));
            }
        }
    }
}

fn duplicates(spec: &Value, list: &str, field: &str, at: &At, found: &mut Vec<String>) {
    let items = spec.items(list);
    let place = at.child(list);
    for (index, item) in items.iter().enumerate() {
        let value = item.text(field);
        let at = place.index(index);
        if items[..index]
            .iter()
            .any(|other| other.text(field) == value)
        {
            found.push(format!("{}: duplicate {field} {value:?}", at.child(field)));
        }
        if field == "name" && value.is_empty() {
            found.push(format!("{}: invalid empty name \"\"", at.child(field)));
        }
    }
}

/// A part of a byte can be neither asked for nor given.
fn fractions(container: &Value, at: &At, found: &mut Vec<String>) {
    let resources = at.child("resources");
    for name in ["memory", "ephemeral-storage"] {
        for list in ["limits", "requests"] {
            let text = container.at("resources").at(list).text(name);
            let fraction = Quantity::parse(text).is_ok_and(|q| q.milli_value() % 1000 != 0);
            if fraction {
                let list = resources.child(list);
                found.push(format!(
                    "{}: fractional byte value {text:?} is invalid, must be an integer",
                    list.key(name)
                ));
            }
        }
    }
}

/// A variable that stands twice, the second without building on the first.
fn variables(container: &Value, at: &At, found: &mut Vec<String>) {
    let list = at.child("env");
    let env = container.items("env");
    for (index, variable) in env.iter().enumerate() {
        let name = variable.text("name");
        if !env[..index].iter().any(|other| other.text("name") == name) {
            continue;
        }
        let reference = format!("$({name})");
        let value = variable.text("value");
        if variable.has("valueFrom") || value == reference || !value.contains(&reference) {
            let at = list.index(index);
            found.push(format!(
                "{at}: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}
