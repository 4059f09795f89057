//! One type of the schema tables as an OpenAPI schema.

use std::collections::BTreeSet;

use fluyt_api::schema::{self, AnyOf, Field, ListType, Ty, Type, TypeId};
use serde_json::{Map, Value, json};

use super::Flavor;

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";

/// Adds a type and everything it refers to.
pub(super) fn reach(id: TypeId, into: &mut BTreeSet<TypeId>) {
    if !into.insert(id) {
        return;
    }
    for field in schema::get(id).fields {
        reach_from(field.ty, into);
    }
}

fn reach_from(ty: Ty, into: &mut BTreeSet<TypeId>) {
    match ty {
        Ty::Ref(id) | Ty::Any(id) => reach(id, into),
        Ty::List(inner) | Ty::Map(inner) => reach_from(*inner, into),
        special => {
            if let Some(id) = special_name(special).and_then(schema::by_name) {
                reach(id, into);
            }
        }
    }
}

fn special_name(ty: Ty) -> Option<&'static str> {
    match ty {
        Ty::Quantity => Some(QUANTITY),
        Ty::IntOrString => Some(INT_OR_STRING),
        Ty::Time => Some(TIME),
        Ty::MicroTime => Some(MICRO_TIME),
        _ => None,
    }
}

/// A reference to a type.
pub(super) fn reference(name: &str, flavor: Flavor) -> Value {
    let place = match flavor {
        Flavor::V2 => "#/definitions/",
        Flavor::V3 => "#/components/schemas/",
    };
    json!({"$ref": format!("{place}{name}")})
}

/// The schema of a type. Version 3 documents name of the kinds of shared types only those of
/// their own group and version and of the core group.
pub(super) fn render(ty: &Type, flavor: Flavor, group_version: Option<(&str, &str)>) -> Value {
    let mut out = match (ty.json, flavor) {
        (AnyOf::Object, _) => json!({"type": "object"}),
        (AnyOf::DateTime, _) => json!({"type": "string", "format": "date-time"}),
        (AnyOf::Anything, _) => json!({}),
        (AnyOf::StringOrNumber, Flavor::V2) => json!({"type": "string"}),
        (AnyOf::StringOrNumber, Flavor::V3) => {
            json!({"oneOf": [{"type": "string"}, {"type": "number"}]})
        }
        (AnyOf::IntegerOrString, Flavor::V2) => {
            json!({"type": "string", "format": "int-or-string"})
        }
        (AnyOf::IntegerOrString, Flavor::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
    };
    let required: Vec<_> = ty
        .fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name)
        .collect();
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    if !ty.fields.is_empty() {
        let fields = ty
            .fields
            .iter()
            .map(|field| (field.name.to_owned(), property(field, flavor)));
        out["properties"] = Value::Object(fields.collect());
    }
    let kinds: Vec<Value> = ty
        .gvks
        .iter()
        .filter(|gvk| match group_version {
            Some(own) if ty.gvks.len() > 1 => {
                gvk.group.is_empty() || (gvk.group, gvk.version) == own
            }
            _ => true,
        })
        .map(|gvk| json!({"group": gvk.group, "kind": gvk.kind, "version": gvk.version}))
        .collect();
    if !kinds.is_empty() {
        out["x-kubernetes-group-version-kind"] = Value::Array(kinds);
    }
    if ty.atomic {
        out["x-kubernetes-map-type"] = json!("atomic");
    }
    if let Some(unions) = ty.unions {
        out["x-kubernetes-unions"] = parse(unions);
    }
    out
}

/// The tables hold JSON texts that the generator wrote.
fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("generated JSON is well-formed")
}

fn property(field: &Field, flavor: Flavor) -> Value {
    let mut extra = Map::new();
    if let (Some(default), Flavor::V3) = (field.default, flavor) {
        extra.insert("default".into(), parse(default));
    }
    let list_type = match field.list {
        ListType::None => None,
        ListType::Atomic => Some("atomic"),
        ListType::Set => Some("set"),
        ListType::Map(keys) => {
            extra.insert("x-kubernetes-list-map-keys".into(), json!(keys));
            Some("map")
        }
    };
    if let Some(list_type) = list_type {
        extra.insert("x-kubernetes-list-type".into(), json!(list_type));
    }
    if field.map_atomic {
        extra.insert("x-kubernetes-map-type".into(), json!("atomic"));
    }
    if field.map_granular {
        extra.insert("x-kubernetes-map-type".into(), json!("granular"));
    }
    if let Some(key) = field.merge_key {
        extra.insert("x-kubernetes-patch-merge-key".into(), json!(key));
    }
    let strategies: Vec<&str> = [
        (field.patch_merge, "merge"),
        (field.patch_retain_keys, "retainKeys"),
        (field.patch_replace, "replace"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect();
    if !strategies.is_empty() {
        extra.insert(
            "x-kubernetes-patch-strategy".into(),
            json!(strategies.join(",")),
        );
    }
    let mut out = value(field.ty, flavor);
    // A reference of version 3 may have no siblings.
    if flavor == Flavor::V3 && !extra.is_empty() && out.get("$ref").is_some() {
        out = json!({"allOf": [out]});
    }
    if let Value::Object(out) = &mut out {
        out.append(&mut extra);
    }
    out
}

fn value(ty: Ty, flavor: Flavor) -> Value {
    match ty {
        Ty::String => json!({"type": "string"}),
        Ty::Int32 => json!({"type": "integer", "format": "int32"}),
        Ty::Int64 => json!({"type": "integer", "format": "int64"}),
        Ty::Bool => json!({"type": "boolean"}),
        Ty::Double => json!({"type": "number", "format": "double"}),
        Ty::Bytes => json!({"type": "string", "format": "byte"}),
        Ty::Quantity => reference(QUANTITY, flavor),
        Ty::IntOrString => reference(INT_OR_STRING, flavor),
        Ty::Time => reference(TIME, flavor),
        Ty::MicroTime => reference(MICRO_TIME, flavor),
        Ty::Any(id) | Ty::Ref(id) => reference(schema::get(id).name, flavor),
        Ty::List(inner) => json!({"type": "array", "items": value(*inner, flavor)}),
        Ty::Map(inner) => json!({"type": "object", "additionalProperties": value(*inner, flavor)}),
    }
}
