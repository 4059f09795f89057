//! Patches against a naive applier: whatever the three states are, applying the patch gives what was
//! wanted and keeps what only the live object has.

use super::*;
use proptest::prelude::*;

fn deployment() -> Option<TypeId> {
    schema::by_name("io.k8s.api.apps.v1.Deployment")
}

fn pod() -> Option<TypeId> {
    schema::by_name("io.k8s.api.core.v1.Pod")
}

#[test]
fn nothing_to_do() {
    let object =
        json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
    let mut live = object.clone();
    live["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    live["status"] = json!({"phase": "Running"});
    assert_eq!(three_way(pod(), &object, &object, &live), json!({}));
}

#[test]
fn containers_are_paired_by_name() {
    let original =
        json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}});
    let modified =
        json!({"spec": {"containers": [{"name": "a", "image": "2"}, {"name": "c", "image": "1"}]}});
    assert_eq!(
        three_way(pod(), &original, &modified, &original),
        json!({"spec": {
            "$setElementOrder/containers": [{"name": "a"}, {"name": "c"}],
            "containers": [
                {"name": "a", "image": "2"},
                {"name": "c", "image": "1"},
                {"$patch": "delete", "name": "b"},
            ],
        }})
    );
}

#[test]
fn what_was_dropped_from_the_manifest_is_removed() {
    let original = json!({"metadata": {"labels": {"a": "1", "b": "2"}}});
    let modified = json!({"metadata": {"labels": {"a": "1"}}});
    let live = json!({"metadata": {"labels": {"a": "1", "b": "2", "other": "3"}}});
    assert_eq!(
        three_way(pod(), &original, &modified, &live),
        json!({"metadata": {"labels": {"b": null}}})
    );
}

#[test]
fn plain_lists_without_a_merge_key() {
    let live = json!({"metadata": {"finalizers": ["a", "b", "server"]}});
    let original = json!({"metadata": {"finalizers": ["a", "b"]}});
    let modified = json!({"metadata": {"finalizers": ["a", "c"]}});
    assert_eq!(
        three_way(pod(), &original, &modified, &live),
        json!({"metadata": {
            "$setElementOrder/finalizers": ["a", "c"],
            "finalizers": ["c"],
            "$deleteFromPrimitiveList/finalizers": ["b"],
        }})
    );
    let command = |text: &str| json!({"spec": {"containers": [{"name": "a", "command": [text]}]}});
    assert_eq!(
        three_way(pod(), &command("x"), &command("y"), &command("x"))["spec"]["containers"],
        json!([{"name": "a", "command": ["y"]}])
    );
}

#[test]
fn a_union_drops_the_members_that_are_not_wanted() {
    let live =
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let modified = json!({"spec": {"strategy": {"type": "Recreate"}}});
    assert_eq!(
        three_way(deployment(), &json!({}), &modified, &live),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}})
    );
}

/// Applies the directives that `three_way` makes, as plainly as possible.
fn apply(target: &Value, patch: &Value, shape: Shape) -> Value {
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else {
        return patch.clone();
    };
    let mut result = target.clone();
    if let Some(keys) = patch.get("$retainKeys") {
        result.retain(|key, _| keys.as_array().unwrap().contains(&json!(key)));
    }
    for (key, change) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        if change.is_null() {
            result.remove(key);
            continue;
        }
        let live = result.get(key).cloned().unwrap_or_default();
        let merged = field_of(shape, key).filter(|field| field.patch_merge);
        let next = match (change, merged) {
            (Value::Array(changes), Some(field)) => apply_list(&live, changes, field),
            (Value::Object(map), _)
                if live.is_object() && map.get("$patch") != Some(&json!("replace")) =>
            {
                apply(&live, change, shape_of(shape, key))
            }
            _ => without_directives(change),
        };
        result.insert(key.clone(), next);
    }
    for (key, values) in patch {
        if let Some(key) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let items = result[key].as_array_mut().unwrap();
            items.retain(|item| !values.as_array().unwrap().contains(item));
        }
    }
    for (key, order) in patch {
        if let Some(key) = key.strip_prefix("$setElementOrder/") {
            let merge_key = field_of(shape, key).and_then(|field| field.merge_key);
            let place = |item: &Value| {
                let order = order.as_array().unwrap();
                order.iter().position(|other| match merge_key {
                    Some(merge_key) => other[merge_key] == item[merge_key],
                    None => other == item,
                })
            };
            let items = result[key].as_array_mut().unwrap();
            items.sort_by_key(|item| place(item).unwrap_or(usize::MAX));
        }
    }
    Value::Object(result)
}

fn apply_list(live: &Value, changes: &[Value], field: &'static Field) -> Value {
    let mut items = live.as_array().cloned().unwrap_or_default();
    let Some(merge_key) = field.merge_key else {
        items.extend(changes.iter().cloned());
        return Value::Array(items);
    };
    if changes.first() == Some(&json!({"$patch": "replace"})) {
        return Value::Array(changes[1..].to_vec());
    }
    let Ty::List(item_type) = field.ty else {
        unreachable!()
    };
    for change in changes {
        let place = items
            .iter()
            .position(|item| item[merge_key] == change[merge_key]);
        match (place, change["$patch"] == "delete") {
            (Some(place), true) => {
                items.remove(place);
            }
            (Some(place), false) => {
                items[place] = apply(&items[place], change, shape_of_type(item_type))
            }
            (None, true) => {}
            (None, false) => items.push(without_directives(change)),
        }
    }
    Value::Array(items)
}

fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| !key.starts_with('$'))
            .map(|(key, value)| (key.clone(), without_directives(value)))
            .collect(),
        other => other.clone(),
    }
}

/// Every field of `wanted` is in `result` with that value; paired lists item by item.
fn has_all(result: &Value, wanted: &Value, shape: Shape) -> bool {
    let (Value::Object(result), Value::Object(wanted)) = (result, wanted) else {
        return result == wanted;
    };
    wanted.iter().all(|(key, wanted)| {
        let result = result.get(key).unwrap_or(&Value::Null);
        let field = field_of(shape, key);
        match (wanted, field.filter(|field| field.patch_merge)) {
            (Value::Array(wanted), Some(field)) => {
                wanted.iter().all(|item| match field.merge_key {
                    Some(merge_key) => {
                        let Ty::List(item_type) = field.ty else {
                            unreachable!()
                        };
                        let found = result
                            .as_array()
                            .into_iter()
                            .flatten()
                            .find(|other| other[merge_key] == item[merge_key]);
                        found.is_some_and(|found| has_all(found, item, shape_of_type(item_type)))
                    }
                    None => result.as_array().is_some_and(|items| items.contains(item)),
                })
            }
            _ => has_all(result, wanted, shape_of(shape, key)),
        }
    })
}

fn container() -> impl Strategy<Value = Value> {
    let text = prop::option::of("[xy]");
    (
        "[abc]",
        text,
        prop::collection::vec("[pq]", 0..3),
        prop::collection::btree_map("[kl]", "[12]", 0..3),
    )
        .prop_map(|(name, image, args, env)| {
            let env: Vec<Value> = env
                .into_iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect();
            let mut container = json!({"name": name, "args": args, "env": env});
            if let Some(image) = image {
                container["image"] = json!(image);
            }
            container
        })
}

fn object() -> impl Strategy<Value = Value> {
    (
        prop::collection::vec(container(), 0..4),
        prop::collection::btree_map("[abc]", "[12]", 0..3),
        prop::collection::btree_set("[fgh]", 0..3),
        prop::option::of(1..4i64),
    )
        .prop_map(|(mut containers, labels, finalizers, seconds)| {
            containers.sort_by_key(|container| container["name"].to_string());
            containers.dedup_by_key(|container| container["name"].to_string());
            let mut object = json!({
                "metadata": {"labels": labels, "finalizers": finalizers},
                "spec": {"containers": containers},
            });
            if let Some(seconds) = seconds {
                object["spec"]["terminationGracePeriodSeconds"] = json!(seconds);
            }
            object
        })
}

proptest! {
    /// From the last applied state, the patch gives exactly the wanted one.
    #[test]
    fn two_way_patches_are_exact(original in object(), modified in object()) {
        let patch = two_way(pod(), &original, &modified);
        let result = apply(&original, &patch, Shape::Type(pod().unwrap()));
        prop_assert_eq!(&result, &modified, "patch {}", patch);
        prop_assert_eq!(two_way(pod(), &result, &modified), json!({}));
    }

    /// From any live state, every wanted field gets its value, and a second apply has nothing to do.
    #[test]
    fn three_way_patches_reach_what_is_wanted(original in object(), modified in object(), live in object()) {
        let patch = three_way(pod(), &original, &modified, &live);
        let result = apply(&live, &patch, Shape::Type(pod().unwrap()));
        prop_assert!(has_all(&result, &modified, Shape::Type(pod().unwrap())), "patch {} result {}", patch, result);
        prop_assert_eq!(three_way(pod(), &modified, &modified, &result), json!({}));
    }
}
