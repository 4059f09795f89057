//! The three-way patch of `apply`: what changes between the live object and the wanted one, plus what
//! the last applied configuration had and the wanted one no longer has.
//!
//! For built-in kinds the result is a strategic merge patch by the schema tables (lists are paired by
//! their merge key); without a schema it is a JSON merge patch. Invariant: applying the patch gives an
//! object in which every wanted field has the wanted value.

use fluyt_api::schema::{self, Field, Ty, TypeId};
use serde_json::{Map, Value, json};

/// What is known about the type of a value.
#[derive(Clone, Copy)]
enum Shape {
    /// An object with a schema.
    Type(TypeId),
    /// A map whose values have this type.
    MapOf(&'static Ty),
    /// Nothing is known: objects merge, lists are replaced.
    Unknown,
}

/// The strategic merge patch for an object of type `kind`; empty when nothing is to be done.
pub(crate) fn three_way(
    kind: Option<TypeId>,
    original: &Value,
    modified: &Value,
    current: &Value,
) -> Value {
    let shape = kind.map_or(Shape::Unknown, Shape::Type);
    let none = Map::new();
    let original = original.as_object().unwrap_or(&none);
    let modified = modified.as_object().unwrap_or(&none);
    let current = current.as_object().unwrap_or(&none);
    Value::Object(diff_objects(shape, original, modified, current))
}

/// The patch that turns `original` into `modified`.
pub(crate) fn two_way(kind: Option<TypeId>, original: &Value, modified: &Value) -> Value {
    three_way(kind, original, modified, original)
}

fn diff_objects(
    shape: Shape,
    original: &Map<String, Value>,
    modified: &Map<String, Value>,
    current: &Map<String, Value>,
) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, wanted) in modified {
        let field = field_of(shape, key);
        let was = original.get(key).unwrap_or(&Value::Null);
        match current.get(key) {
            _ if wanted.is_null() => {
                if current.get(key).is_some_and(|live| !live.is_null()) {
                    patch.insert(key.clone(), Value::Null);
                }
            }
            None => {
                patch.insert(key.clone(), wanted.clone());
            }
            Some(live) => diff_values(
                key,
                shape_of(shape, key),
                field,
                (was, wanted, live),
                &mut patch,
            ),
        }
    }
    for key in original.keys() {
        if !modified.contains_key(key) && current.contains_key(key) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}

fn diff_values(
    key: &str,
    shape: Shape,
    field: Option<&'static Field>,
    (was, wanted, live): (&Value, &Value, &Value),
    patch: &mut Map<String, Value>,
) {
    let none = Map::new();
    match (wanted, live) {
        (Value::Object(wanted_map), Value::Object(live_map)) => {
            if field.is_some_and(|field| field.patch_replace) {
                if wanted != live {
                    let mut whole = wanted_map.clone();
                    whole.insert("$patch".to_owned(), json!("replace"));
                    patch.insert(key.to_owned(), Value::Object(whole));
                }
                return;
            }
            let was = was.as_object().unwrap_or(&none);
            let mut inner = diff_objects(shape, was, wanted_map, live_map);
            if inner.is_empty() {
                return;
            }
            if field.is_some_and(|field| field.patch_retain_keys) {
                inner.insert("$retainKeys".to_owned(), retained(wanted_map));
            }
            patch.insert(key.to_owned(), Value::Object(inner));
        }
        (Value::Array(wanted_items), Value::Array(live_items)) => {
            let was = was.as_array().map_or(&[][..], Vec::as_slice);
            match field.filter(|field| field.patch_merge) {
                Some(field) => diff_merged_lists(key, field, was, wanted_items, live_items, patch),
                None if wanted != live => {
                    patch.insert(key.to_owned(), wanted.clone());
                }
                None => {}
            }
        }
        _ if wanted != live => {
            patch.insert(key.to_owned(), wanted.clone());
        }
        _ => {}
    }
}

fn diff_merged_lists(
    key: &str,
    field: &'static Field,
    was: &[Value],
    wanted: &[Value],
    live: &[Value],
    patch: &mut Map<String, Value>,
) {
    let Some(merge_key) = field.merge_key else {
        return diff_sets(key, was, wanted, live, patch);
    };
    if !(keyed(merge_key, wanted) && keyed(merge_key, live) && keyed(merge_key, was)) {
        if wanted != live {
            let mut whole = vec![json!({"$patch": "replace"})];
            whole.extend_from_slice(wanted);
            patch.insert(key.to_owned(), Value::Array(whole));
        }
        return;
    }
    let shape = match field.ty {
        Ty::List(item) => shape_of_type(item),
        _ => Shape::Unknown,
    };
    let mut changes = Vec::new();
    for item in wanted {
        let of = |list: &[Value]| {
            list.iter()
                .find(|other| other[merge_key] == item[merge_key])
                .cloned()
        };
        match of(live) {
            None => changes.push(item.clone()),
            Some(live_item) => {
                let was_item = of(was).unwrap_or_default();
                let none = Map::new();
                let wanted_map = item.as_object().unwrap_or(&none);
                let mut inner = diff_objects(
                    shape,
                    was_item.as_object().unwrap_or(&none),
                    wanted_map,
                    live_item.as_object().unwrap_or(&none),
                );
                if inner.is_empty() {
                    continue;
                }
                if field.patch_retain_keys {
                    inner.insert("$retainKeys".to_owned(), retained(wanted_map));
                }
                inner.insert(merge_key.to_owned(), item[merge_key].clone());
                changes.push(Value::Object(inner));
            }
        }
    }
    for item in was {
        let is_gone = !wanted
            .iter()
            .any(|other| other[merge_key] == item[merge_key]);
        let is_live = live.iter().any(|other| other[merge_key] == item[merge_key]);
        if is_gone && is_live {
            changes.push(json!({"$patch": "delete", merge_key: item[merge_key]}));
        }
    }
    let order: Vec<Value> = wanted
        .iter()
        .map(|item| json!({merge_key: item[merge_key]}))
        .collect();
    let live_order: Vec<&Value> = live
        .iter()
        .map(|item| &item[merge_key])
        .filter(|value| wanted.iter().any(|item| item[merge_key] == **value))
        .collect();
    let same_order = changes.is_empty()
        && live_order
            .into_iter()
            .eq(wanted.iter().map(|item| &item[merge_key]));
    if same_order {
        return;
    }
    patch.insert(format!("$setElementOrder/{key}"), Value::Array(order));
    if !changes.is_empty() {
        patch.insert(key.to_owned(), Value::Array(changes));
    }
}

/// Lists of plain values that are merged as sets.
fn diff_sets(
    key: &str,
    was: &[Value],
    wanted: &[Value],
    live: &[Value],
    patch: &mut Map<String, Value>,
) {
    let added: Vec<Value> = wanted
        .iter()
        .filter(|item| !live.contains(item))
        .cloned()
        .collect();
    let removed: Vec<Value> = was
        .iter()
        .filter(|item| !wanted.contains(item) && live.contains(item))
        .cloned()
        .collect();
    if added.is_empty() && removed.is_empty() {
        return;
    }
    patch.insert(
        format!("$setElementOrder/{key}"),
        Value::Array(wanted.to_vec()),
    );
    if !added.is_empty() {
        patch.insert(key.to_owned(), Value::Array(added));
    }
    if !removed.is_empty() {
        patch.insert(
            format!("$deleteFromPrimitiveList/{key}"),
            Value::Array(removed),
        );
    }
}

/// Whether every item has the key, and no two the same: else items cannot be paired.
fn keyed(merge_key: &str, items: &[Value]) -> bool {
    items.iter().enumerate().all(|(index, item)| {
        !item[merge_key].is_null()
            && !items[..index]
                .iter()
                .any(|other| other[merge_key] == item[merge_key])
    })
}

fn retained(wanted: &Map<String, Value>) -> Value {
    let mut keys: Vec<&String> = wanted.keys().collect();
    keys.sort();
    json!(keys)
}

fn field_of(shape: Shape, key: &str) -> Option<&'static Field> {
    match shape {
        Shape::Type(id) => schema::get(id).field(key),
        _ => None,
    }
}

fn shape_of(shape: Shape, key: &str) -> Shape {
    match shape {
        Shape::Type(id) => schema::get(id)
            .field(key)
            .map_or(Shape::Unknown, |field| shape_of_type(&field.ty)),
        Shape::MapOf(ty) => shape_of_type(ty),
        Shape::Unknown => Shape::Unknown,
    }
}

fn shape_of_type(ty: &'static Ty) -> Shape {
    match ty {
        Ty::Ref(id) => Shape::Type(*id),
        Ty::Map(item) => Shape::MapOf(item),
        _ => Shape::Unknown,
    }
}

#[cfg(test)]
mod tests;
