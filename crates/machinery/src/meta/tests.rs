//! What becomes of metadata, and what is wrong with it.

use super::*;
use crate::errors::Errors;
use fluyt_api::catalogue;
use serde_json::json;

fn ctx(namespace: &str) -> Ctx {
    Ctx {
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        uid: uuid::Uuid::nil(),
        entropy: 3,
        namespace: namespace.into(),
    }
}

fn maps() -> &'static Resource {
    catalogue::find("", "v1", "configmaps").unwrap()
}

#[test]
fn creation_fills_in_what_the_server_owns() {
    let mut map = json!({"metadata": {"generateName": "a-", "uid": "mine", "resourceVersion": "9",
        "deletionTimestamp": "2020-01-01T00:00:00Z"}});
    create_meta(maps(), &mut map, "", &ctx("default")).unwrap();
    let metadata = of(&map);
    assert!(metadata.text("name").starts_with("a-") && metadata.text("name").len() == 7);
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["uid"], "00000000-0000-0000-0000-000000000000");
    assert_eq!(metadata["creationTimestamp"], "2026-01-01T00:00:00Z");
    assert!(!metadata.has("resourceVersion") && !metadata.has("deletionTimestamp"));
}

#[test]
fn requests_and_objects_must_agree() {
    let mut map = json!({"metadata": {"name": "a", "namespace": "b"}});
    let status = create_meta(maps(), &mut map, "", &ctx("default")).unwrap_err();
    assert_eq!(
        status.message,
        "the namespace of the provided object does not match the namespace sent on the request"
    );
    let mut map = json!({"metadata": {"name": "a"}});
    let status = create_meta(maps(), &mut map, "b", &ctx("default")).unwrap_err();
    assert_eq!(
        status.message,
        "the name of the object (a) does not match the name on the URL (b)"
    );
}

fn check(metadata: Value, want: &[&str]) {
    let object = json!({ "metadata": metadata });
    let found = Errors::of(|errors| validate(&object, true, NameRule::Subdomain, errors));
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, want);
}

#[test]
fn bad_metadata() {
    check(
        json!({}),
        &[
            "metadata.name: Required value: name or generateName is required",
            "metadata.namespace: Required value",
        ],
    );
    check(
        json!({"name": "a", "namespace": "b", "labels": {"a b": "c"}}),
        &[
            "metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ],
    );
    check(
        json!({"name": "a", "namespace": "b", "finalizers": ["x"]}),
        &[
            "metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified",
        ],
    );
    check(
        json!({"name": "a", "namespace": "b", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}),
        &["metadata.ownerReferences.uid: Invalid value: \"\": must not be empty"],
    );
    check(
        json!({"name": "a", "namespace": "b", "annotations": {"x": "y".repeat(300_000)}}),
        &["metadata.annotations: Too long: may not be more than 262144 bytes"],
    );
}

#[test]
fn updates_keep_identity() {
    let old = json!({"metadata": {"name": "a", "namespace": "b", "uid": "u", "creationTimestamp": "2020-01-01T00:00:00Z", "generation": 3}});
    let mut new = json!({"metadata": {"name": "a", "generation": 9, "deletionTimestamp": "2020-01-01T00:00:00Z"}});
    update_meta(maps(), &mut new, &old, &ctx("b")).unwrap();
    assert_eq!(new, old);
    new["metadata"]["uid"] = json!("other");
    let found = Errors::of(|errors| validate_update(&new, &old, true, errors));
    assert_eq!(
        found[0].to_string(),
        "metadata.uid: Invalid value: \"other\": field is immutable"
    );
}

#[test]
fn generations_count_changes() {
    let old = json!({"metadata": {"generation": 3}, "spec": {"a": 1}, "status": {}});
    let mut same =
        json!({"metadata": {"generation": 3, "labels": {}}, "spec": {"a": 1}, "status": {"b": 1}});
    bump_generation(&mut same, &old);
    assert_eq!(same["metadata"]["generation"], 3);
    let mut other = json!({"metadata": {"generation": 3}, "spec": {"a": 2}});
    bump_generation(&mut other, &old);
    assert_eq!(other["metadata"]["generation"], 4);
}
