//! Classes that objects get when they name none, and finalizers that keep storage while it is used.

use serde_json::Value;

use crate::get::{Get, Put};
use crate::meta;

/// Holds a claim or volume until nothing uses it.
pub fn protect_storage(kind: &str, object: &mut Value) {
    match kind {
        "PersistentVolumeClaim" => meta::add_finalizer(object, "kubernetes.io/pvc-protection"),
        "PersistentVolume" => meta::add_finalizer(object, "kubernetes.io/pv-protection"),
        _ => {}
    }
}

/// Names the default class on a claim (from StorageClasses) or an ingress (from IngressClasses) that
/// names none. Of several defaults the newest wins, then the first by name.
pub fn default_class(kind: &str, object: &mut Value, classes: &[Value]) {
    let (field, annotation, legacy) = match kind {
        "PersistentVolumeClaim" => (
            "storageClassName",
            "storageclass.kubernetes.io/is-default-class",
            "volume.beta.kubernetes.io/storage-class",
        ),
        "Ingress" => (
            "ingressClassName",
            "ingressclass.kubernetes.io/is-default-class",
            "kubernetes.io/ingress.class",
        ),
        _ => return,
    };
    let named = object.at("spec").has(field) || meta::of(object).at("annotations").has(legacy);
    if named {
        return;
    }
    let best = classes
        .iter()
        .map(meta::of)
        .filter(|class| class.at("annotations").text(annotation) == "true")
        .max_by(|a, b| {
            let born = |class: &Value| class.text("creationTimestamp").to_owned();
            born(a)
                .cmp(&born(b))
                .then_with(|| b.text("name").cmp(a.text("name")))
        });
    if let Some(class) = best {
        object.open("spec").put(field, class.text("name"));
    }
}
