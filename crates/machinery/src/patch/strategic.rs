//! Strategic merge patches: merge patches that know from the schema which lists are sets, by which
//! key their items pair, and which objects are replaced as a whole.
//!
//! Directives are `$patch` (replace, merge, delete), `$deleteFromPrimitiveList/F`,
//! `$setElementOrder/F` and `$retainKeys`.
//!
//! Invariant: no directive reaches the result; a patch applied twice gives what it gives once.

use fluyt_api::schema::{self, Field, Ty, TypeId};
use fluyt_api::status::Status;
use serde_json::{Map, Value};

use super::order;
use crate::get::Get;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

type Object = Map<String, Value>;

/// Applies a strategic merge patch to an object of type `ty`.
///
/// Errors: 400 for a patch with a malformed directive or an item without its merge key.
pub fn strategic(ty: TypeId, target: &Value, patch: &Value) -> Result<Value, Status> {
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else {
        return Err(Status::bad_request(
            "error decoding patch: a strategic merge patch must be an object",
        ));
    };
    merge_object(Some(ty), target.clone(), patch)
        .map(Value::Object)
        .map_err(Status::bad_request)
}

/// The schema of a field of a type that may be unknown.
fn field_of(ty: Option<TypeId>, name: &str) -> Option<&'static Field> {
    schema::get(ty?).field(name)
}

fn referred(ty: &Ty) -> Option<TypeId> {
    match ty {
        Ty::Ref(id) => Some(*id),
        Ty::List(item) | Ty::Map(item) => referred(item),
        _ => None,
    }
}

fn merge_object(ty: Option<TypeId>, mut target: Object, patch: &Object) -> Result<Object, String> {
    match patch.get(PATCH) {
        None => {}
        Some(Value::String(word)) => match word.as_str() {
            "replace" => return Ok(without_directives(patch)),
            "delete" => return Ok(Object::new()),
            "merge" => {}
            _ => return Err(unknown_directive(word)),
        },
        Some(other) => return Err(unknown_directive(&other.to_string())),
    }
    if let Some(retained) = patch.get(RETAIN_KEYS) {
        retain_keys(&mut target, patch, retained)?;
    }
    for (key, value) in patch {
        if let Some(name) = key.strip_prefix(DELETE_FROM) {
            delete_from(&mut target, name, value)?;
        } else if let Some(name) = key.strip_prefix(SET_ORDER) {
            if !patch.contains_key(name) {
                set_order(ty, &mut target, name, value)?;
            }
        } else if key != PATCH && key != RETAIN_KEYS {
            let order = patch.get(&format!("{SET_ORDER}{key}"));
            merge_member(ty, &mut target, key, value, order)?;
        }
    }
    Ok(target)
}

fn unknown_directive(word: &str) -> String {
    format!("unknown patch type found: {word}")
}

fn merge_member(
    ty: Option<TypeId>,
    target: &mut Object,
    key: &str,
    patch: &Value,
    order: Option<&Value>,
) -> Result<(), String> {
    if patch.is_null() {
        target.remove(key);
        return Ok(());
    }
    let field = field_of(ty, key);
    // Entries of a map have the map's item type; fields have their own.
    let below = field.and_then(|field| match field.ty {
        Ty::Map(_) => None,
        _ => referred(&field.ty),
    });
    let merged = match (target.remove(key), patch) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            if field.is_some_and(|field| field.patch_replace) {
                Value::Object(without_directives(new))
            } else {
                let merged = match field.map(|field| &field.ty) {
                    Some(Ty::Map(item)) => merge_entries(item, old, new)?,
                    _ => merge_object(below, old, new)?,
                };
                if merged.is_empty() && new.get(PATCH).is_some_and(|word| word == "delete") {
                    return Ok(());
                }
                Value::Object(merged)
            }
        }
        (old, Value::Array(new)) if field.is_some_and(|field| field.patch_merge) => {
            let old = match old {
                Some(Value::Array(old)) => old,
                _ => Vec::new(),
            };
            let key = field.and_then(|field| field.merge_key);
            Value::Array(merge_list(below, key, old, new, order)?)
        }
        (_, Value::Object(new)) => {
            if new.get(PATCH).is_some_and(|word| word == "delete") {
                return Ok(());
            }
            Value::Object(merge_new(below, new)?)
        }
        (_, other) => strip(other),
    };
    target.insert(key.to_owned(), merged);
    Ok(())
}

/// An object where there was none: the same as merging into an empty one.
fn merge_new(ty: Option<TypeId>, patch: &Object) -> Result<Object, String> {
    merge_object(ty, Object::new(), patch)
}

/// Merges the entries of a map, whose items are all of one type.
fn merge_entries(item: &Ty, mut target: Object, patch: &Object) -> Result<Object, String> {
    if patch.get(PATCH).is_some() {
        return merge_object(None, target, patch);
    }
    for (key, value) in patch {
        match (target.get(key), value) {
            (_, Value::Null) => {
                target.remove(key);
            }
            (Some(Value::Object(old)), Value::Object(new)) => {
                let merged = merge_object(referred(item), old.clone(), new)?;
                target.insert(key.clone(), Value::Object(merged));
            }
            (_, value) => {
                target.insert(key.clone(), strip(value));
            }
        }
    }
    Ok(target)
}

fn merge_list(
    item: Option<TypeId>,
    merge_key: Option<&str>,
    old: Vec<Value>,
    patch: &[Value],
    order: Option<&Value>,
) -> Result<Vec<Value>, String> {
    let order = match order {
        None => None,
        Some(Value::Array(order)) => Some(order.as_slice()),
        Some(_) => return Err("invalid $setElementOrder directive: not a list".to_owned()),
    };
    let Some(key) = merge_key.filter(|_| old.iter().chain(patch).any(Value::is_object)) else {
        return Ok(merge_set(old, patch, order));
    };
    if patch
        .iter()
        .any(|p| p.text(PATCH) == "replace" && p.as_object().is_some_and(|o| o.len() == 1))
    {
        let kept = patch.iter().filter(|p| !p.has(PATCH));
        return Ok(kept.map(strip).collect());
    }
    let mut merged = old.clone();
    let mut changed = Vec::new();
    for change in patch {
        let id = change.at(key);
        if id.is_null() {
            return Err(format!(
                "map: {change} does not contain declared merge key: {key}"
            ));
        }
        let Value::Object(change) = change else {
            return Err(format!("expected an object in a list merged by {key}"));
        };
        let place = merged.iter().position(|existing| existing.at(key) == id);
        match (change.get(PATCH).and_then(Value::as_str), place) {
            (Some("delete"), _) => merged.retain(|existing| existing.at(key) != id),
            (Some("replace"), Some(place)) => {
                merged[place] = Value::Object(without_directives(change));
                changed.push(id.clone());
            }
            (_, Some(place)) => {
                let existing = match merged[place].take() {
                    Value::Object(existing) => existing,
                    _ => Object::new(),
                };
                merged[place] = Value::Object(merge_object(item, existing, change)?);
                changed.push(id.clone());
            }
            (_, None) => {
                merged.push(Value::Object(merge_new(item, change)?));
                changed.push(id.clone());
            }
        }
    }
    let order: Vec<Value> = match order {
        Some(order) => order.iter().map(|entry| entry.at(key).clone()).collect(),
        None => changed,
    };
    let live: Vec<Value> = old.iter().map(|entry| entry.at(key).clone()).collect();
    Ok(order::arrange(merged, |entry| entry.at(key), &order, &live))
}

/// Merges lists of scalars: a union.
fn merge_set(old: Vec<Value>, patch: &[Value], order: Option<&[Value]>) -> Vec<Value> {
    let mut merged: Vec<Value> = Vec::new();
    for item in old.iter().chain(patch) {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    order::arrange(merged, |item| item, order.unwrap_or(patch), &old)
}

fn retain_keys(target: &mut Object, patch: &Object, retained: &Value) -> Result<(), String> {
    let Value::Array(retained) = retained else {
        return Err("bad patch format for $retainKeys: not a list".to_owned());
    };
    let all_listed = patch
        .keys()
        .filter(|key| !key.starts_with('$'))
        .all(|key| retained.iter().any(|name| name == key));
    if !all_listed {
        return Err(
            "bad patch format for $retainKeys: every key of the patch must be listed".to_owned(),
        );
    }
    target.retain(|key, _| retained.iter().any(|name| name == key));
    Ok(())
}

fn delete_from(target: &mut Object, name: &str, gone: &Value) -> Result<(), String> {
    let Value::Array(gone) = gone else {
        return Err(format!(
            "bad patch format for {DELETE_FROM}{name}: not a list"
        ));
    };
    if let Some(Value::Array(items)) = target.get_mut(name) {
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

/// Puts a list in order that the patch does not change otherwise.
fn set_order(
    ty: Option<TypeId>,
    target: &mut Object,
    name: &str,
    order: &Value,
) -> Result<(), String> {
    let Value::Array(_) = order else {
        return Err("invalid $setElementOrder directive: not a list".to_owned());
    };
    let field = field_of(ty, name);
    if let Some(Value::Array(items)) = target.get_mut(name) {
        let below = field.and_then(|field| referred(&field.ty));
        let key = field.and_then(|field| field.merge_key);
        let old = std::mem::take(items);
        *items = merge_list(below, key, old, &[], Some(order))?;
    }
    Ok(())
}

/// The object without directives and nulls at any depth.
fn without_directives(patch: &Object) -> Object {
    patch
        .iter()
        .filter(|(key, value)| !is_directive(key) && !value.is_null())
        .map(|(key, value)| (key.clone(), strip(value)))
        .collect()
}

fn is_directive(key: &str) -> bool {
    key == PATCH || key == RETAIN_KEYS || key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER)
}

fn strip(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(without_directives(fields)),
        Value::Array(items) => Value::Array(
            items
                .iter()
                .filter(|item| item.text(PATCH) != "delete")
                .map(strip)
                .collect(),
        ),
        other => other.clone(),
    }
}
