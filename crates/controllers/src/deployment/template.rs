//! Pod templates of a deployment: when two are the same, the hash that names a replica set, and the replica set made of one.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::annotations;
use super::math::max_surge;
use crate::objects::apps::Deployment;
use crate::replicaset::reconcile::controller_reference;

pub const HASH_LABEL: &str = "pod-template-hash";
/// The characters of generated names: no vowels, so that no words appear, and nothing that is easily misread.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// metadata.name of a replica set (a DNS subdomain).
const MAX_NAME: usize = 253;

/// A template in a form in which equal meaning is equal value: without the hash label, nulls and empty lists.
pub fn normalized(mut template: Value) -> Value {
    prune(&mut template);
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove(HASH_LABEL);
        }
        metadata.retain(|_, value| !value.as_object().is_some_and(Map::is_empty));
        if metadata.is_empty() {
            template
                .as_object_mut()
                .map(|object| object.remove("metadata"));
        }
    }
    template
}

/// Absent, null and an empty list mean the same; an empty object does not (an emptyDir without options).
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| {
                !value.is_null() && !value.as_array().is_some_and(Vec::is_empty)
            });
            fields.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

/// A short hash of a normalized template. `collisions` makes another one of the same template.
pub fn hash(template: &Value, collisions: Option<i32>) -> String {
    let mut hasher = Sha256::new();
    feed(&mut hasher, template);
    if let Some(collisions) = collisions {
        hasher.update(collisions.to_le_bytes());
    }
    let digest = hasher.finalize();
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let digits = number.to_string();
    digits
        .bytes()
        .map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]))
        .collect()
}

/// Feeds a tree in sorted order, so that the hash does not depend on how maps happen to be kept.
fn feed(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            hasher.update(b"{");
            for name in names {
                hasher.update(name.as_bytes());
                hasher.update(b"\0");
                feed(hasher, &fields[name]);
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            items.iter().for_each(|item| feed(hasher, item));
            hasher.update(b"]");
        }
        scalar => {
            hasher.update(scalar.to_string().as_bytes());
            hasher.update(b",");
        }
    }
}

/// The name of the replica set of a hash; a long deployment name is cut.
pub fn set_name(deployment: &str, hash: &str) -> String {
    let room = MAX_NAME - 1 - hash.len();
    let mut cut = deployment.len().min(room);
    while !deployment.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}-{hash}", &deployment[..cut])
}

/// The replica set of the deployment's present template.
pub fn new_set(deployment: &Deployment, template: &Value, replicas: i32, revision: i64) -> Value {
    let hash = hash(template, deployment.status.collision_count);
    let mut template = deployment.spec.template.value();
    if !template["metadata"].is_object() {
        template["metadata"] = json!({});
    }
    template["metadata"]["labels"][HASH_LABEL] = json!(hash);
    let mut selector = deployment.spec.selector.value();
    selector["matchLabels"][HASH_LABEL] = json!(hash);
    let mut notes = annotations::inherited(&deployment.metadata.annotations);
    notes.insert(annotations::REVISION.into(), json!(revision.to_string()));
    let wanted = deployment.spec.replicas;
    notes.insert(annotations::DESIRED.into(), json!(wanted.to_string()));
    notes.insert(
        annotations::MAX.into(),
        json!((wanted + max_surge(deployment)).to_string()),
    );
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": set_name(&deployment.metadata.name, &hash),
            "namespace": deployment.metadata.namespace,
            "labels": template["metadata"]["labels"],
            "annotations": notes,
            "ownerReferences": [controller_reference("apps/v1", "Deployment", &deployment.metadata)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": deployment.spec.min_ready_seconds,
            "selector": selector,
            "template": template,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_compared_by_meaning() {
        let plain =
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]}});
        let hashed = json!({"metadata": {"creationTimestamp": null, "labels": {"a": "b", "pod-template-hash": "x"}},
            "spec": {"containers": [{"name": "c", "args": []}], "volumes": null}});
        let other =
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "d"}]}});
        assert_eq!(normalized(plain.clone()), normalized(hashed));
        assert_ne!(normalized(plain), normalized(other));
        let only_hash = json!({"metadata": {"labels": {"pod-template-hash": "x"}}, "spec": {}});
        assert_eq!(normalized(only_hash), json!({"spec": {}}));
        let empty_dir = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        assert_eq!(normalized(empty_dir.clone()), empty_dir);
    }

    #[test]
    fn hashes_are_stable_and_tell_templates_apart() {
        let template = json!({"spec": {"containers": [{"name": "c", "image": "i"}]}});
        let first = hash(&template, None);
        assert_eq!(
            first,
            hash(
                &json!({"spec": {"containers": [{"image": "i", "name": "c"}]}}),
                None
            )
        );
        assert_ne!(
            first,
            hash(
                &json!({"spec": {"containers": [{"image": "j", "name": "c"}]}}),
                None
            )
        );
        assert_ne!(first, hash(&template, Some(1)));
        assert!(
            first.len() <= 10 && first.bytes().all(|c| ALPHABET.contains(&c)),
            "{first}"
        );
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(set_name("web", "abc"), "web-abc");
        assert_eq!(set_name(&"x".repeat(253), "abc").len(), 253);
    }
}
