//! Namespaces: born active with a finalizer that holds them until their content is gone.
//!
//! Invariant: `spec.finalizers` changes only through `/finalize`.

use serde_json::{Value, json};

use crate::ctx::Ctx;
use crate::get::{Get, Put};
use crate::strategy::Rules;

const FINALIZER: &str = "kubernetes";

pub(super) fn extend(rules: &mut Rules) {
    rules.create = create;
    rules.update = |new, old, _| keep_finalizers(new, old);
    rules.select = |namespace| vec![("status.phase", namespace.at("status").text("phase").into())];
}

fn create(namespace: &mut Value, _: &Ctx) {
    namespace.put("status", json!({"phase": "Active"}));
    let name = namespace.at("metadata").text("name").to_owned();
    namespace
        .open("metadata")
        .open("labels")
        .put("kubernetes.io/metadata.name", name);
    let spec = namespace.open("spec");
    let mut finalizers = spec.items("finalizers").to_vec();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(Value::from(FINALIZER));
    }
    spec.put("finalizers", finalizers);
}

fn keep_finalizers(new: &mut Value, old: &Value) {
    new.open("spec").copy_from(old.at("spec"), "finalizers");
    let name = new.at("metadata").text("name").to_owned();
    new.open("metadata")
        .open("labels")
        .put("kubernetes.io/metadata.name", name);
}
