//! Patches by example and by law.

use super::*;
use fluyt_api::catalogue;
use proptest::prelude::*;
use serde_json::json;

fn pod_type() -> fluyt_api::schema::TypeId {
    catalogue::find("", "v1", "pods").unwrap().type_id
}

fn apply(target: Value, patch: Value) -> Value {
    strategic(pod_type(), &target, &patch).unwrap()
}

#[test]
fn lists_merge_by_key() {
    let pod =
        json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}});
    for (patch, want) in [
        (
            json!([{"name": "b", "image": "2"}]),
            json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]),
        ),
        (
            json!([{"name": "c", "image": "3"}]),
            json!([{"name": "c", "image": "3"}, {"name": "a", "image": "1"}, {"name": "b", "image": "1"}]),
        ),
        (
            json!([{"name": "a", "$patch": "delete"}]),
            json!([{"name": "b", "image": "1"}]),
        ),
        (
            json!([{"$patch": "replace"}, {"name": "c"}]),
            json!([{"name": "c"}]),
        ),
        (
            json!([{"name": "a", "image": null}]),
            json!([{"name": "a"}, {"name": "b", "image": "1"}]),
        ),
    ] {
        let got = apply(pod.clone(), json!({"spec": {"containers": patch}}));
        assert_eq!(got["spec"]["containers"], want);
    }
    let error = strategic(
        pod_type(),
        &pod,
        &json!({"spec": {"containers": [{"image": "x"}]}}),
    )
    .unwrap_err();
    assert_eq!(error.code, 400);
    assert!(
        error
            .message
            .contains("does not contain declared merge key: name")
    );
}

#[test]
fn order_can_be_set() {
    let pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
    let got = apply(
        pod,
        json!({"spec": {
        "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
        "containers": [{"name": "c"}]}}),
    );
    assert_eq!(
        got["spec"]["containers"],
        json!([{"name": "b"}, {"name": "c"}, {"name": "a"}])
    );
}

#[test]
fn scalars_merge_as_sets() {
    let pod = json!({"metadata": {"finalizers": ["a", "b"]}});
    let got = apply(pod.clone(), json!({"metadata": {"finalizers": ["c", "a"]}}));
    assert_eq!(got["metadata"]["finalizers"].as_array().unwrap().len(), 3);
    let got = apply(
        pod,
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
    );
    assert_eq!(got, json!({"metadata": {"finalizers": ["b"]}}));
}

#[test]
fn directives_on_objects() {
    let pod = json!({"spec": {"nodeSelector": {"a": "1"}, "securityContext": {"runAsUser": 1}}});
    assert_eq!(
        apply(
            pod.clone(),
            json!({"spec": {"nodeSelector": {"$patch": "replace", "b": "2"}}})
        )["spec"]["nodeSelector"],
        json!({"b": "2"})
    );
    assert_eq!(
        apply(
            pod.clone(),
            json!({"spec": {"securityContext": {"$patch": "delete"}}})
        ),
        json!({"spec": {"nodeSelector": {"a": "1"}}})
    );
    assert!(strategic(pod_type(), &pod, &json!({"spec": {"$patch": "explode"}})).is_err());
    let deployment = catalogue::find("apps", "v1", "deployments")
        .unwrap()
        .type_id;
    let old =
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let got = strategic(
        deployment,
        &old,
        &json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
    )
    .unwrap();
    assert_eq!(got, json!({"spec": {"strategy": {"type": "Recreate"}}}));
}

#[test]
fn volumes_retain_keys_by_directive() {
    let pod = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
    let got = apply(
        pod,
        json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}),
    );
    assert_eq!(
        got["spec"]["volumes"],
        json!([{"name": "v", "hostPath": {"path": "/x"}}])
    );
}

#[test]
fn json_patches() {
    let object = json!({"a": {"b": 1}});
    assert_eq!(
        json(&object, br#"[{"op":"replace","path":"/a/b","value":2}]"#).unwrap(),
        json!({"a": {"b": 2}})
    );
    assert_eq!(json(&object, b"{").unwrap_err().code, 400);
    assert_eq!(
        json(&object, br#"[{"op":"remove","path":"/x"}]"#)
            .unwrap_err()
            .code,
        422
    );
    assert_eq!(
        merge(&object, &json!({"a": null, "c": 1})).unwrap(),
        json!({"c": 1})
    );
    assert_eq!(merge(&object, &json!([])).unwrap_err().code, 400);
}

/// Containers with distinct names and maybe an image.
fn containers() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::btree_map(0..6u8, prop::option::of(0..3u8), 0..5).prop_map(|map| {
        map.into_iter()
            .map(|(name, image)| match image {
                Some(image) => json!({"name": format!("c{name}"), "image": image.to_string()}),
                None => json!({"name": format!("c{name}")}),
            })
            .collect()
    })
}

/// The naive model: what each container looks like after the merge, order left aside.
fn model(old: &[Value], patch: &[Value]) -> std::collections::BTreeMap<String, Value> {
    let mut merged = std::collections::BTreeMap::new();
    for container in old.iter().chain(patch) {
        let name = container["name"].as_str().unwrap().to_owned();
        let entry: &mut Value = merged.entry(name).or_insert_with(|| json!({}));
        for (key, value) in container.as_object().unwrap() {
            entry[key] = value.clone();
        }
    }
    merged
}

proptest! {
    #[test]
    fn merging_lists_agrees_with_the_model(old in containers(), patch in containers()) {
        let pod = json!({"spec": {"containers": old.clone()}});
        let change = json!({"spec": {"containers": patch.clone()}});
        let got = apply(pod, change.clone());
        let list = got["spec"]["containers"].as_array().unwrap();
        let by_name: std::collections::BTreeMap<String, Value> = list
            .iter()
            .map(|c| (c["name"].as_str().unwrap().to_owned(), c.clone()))
            .collect();
        prop_assert_eq!(by_name.len(), list.len());
        prop_assert_eq!(by_name, model(&old, &patch));
        // The patch's own items keep the patch's order.
        let places: Vec<usize> = patch
            .iter()
            .map(|p| list.iter().position(|c| c["name"] == p["name"]).unwrap())
            .collect();
        prop_assert!(places.is_sorted());
        // Once is as good as twice.
        prop_assert_eq!(apply(got.clone(), change), got);
    }

    #[test]
    fn an_empty_patch_changes_nothing(old in containers()) {
        let pod = json!({"spec": {"containers": old}, "metadata": {"labels": {"a": "b"}}});
        prop_assert_eq!(apply(pod.clone(), json!({})), pod.clone());
        prop_assert_eq!(apply(pod.clone(), pod.clone()), pod);
    }
}
