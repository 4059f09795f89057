//! What decoding has to know about a type, worked out once per type from the schema tables.
//!
//! Invariant: a plan's fields are in the order of the schema's fields, so that an index into one is
//! an index into the other; plans are built on first use and live as long as the process.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use fluyt_api::schema::{self, Ty, TypeId};
use serde_json::{Map, Value};

use super::go_fields::GO_FIELDS;

/// How one type is decoded.
pub(crate) struct Plan {
    /// The type's name as error messages write it: `PodSpec`.
    pub(crate) short: &'static str,
    /// The same with its package: `v1.PodSpec`.
    pub(crate) qualified: &'static str,
    pub(crate) fields: Vec<PlanField>,
    /// Holds JSON of any shape.
    pub(crate) open: bool,
    /// Fields that are always present, with the value they get when the input has none.
    pub(crate) always: Vec<(usize, Value)>,
}

/// How one field is decoded.
pub(crate) struct PlanField {
    pub(crate) name: &'static str,
    pub(crate) ty: &'static Ty,
    /// A zero value is as good as none and is left out.
    pub(crate) omit_zero: bool,
    /// The name of the reference's scalar type, where it has one: `v1.RestartPolicy`.
    pub(crate) scalar_name: Option<&'static str>,
}

impl Plan {
    /// The index of a field.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.fields
            .binary_search_by(|field| field.name.cmp(name))
            .ok()
    }

    /// An object of this type with nothing but what is always there.
    pub(crate) fn empty(&self) -> Value {
        let mut map = Map::new();
        for (index, value) in &self.always {
            map.insert(self.fields[*index].name.to_owned(), value.clone());
        }
        Value::Object(map)
    }
}

static PLANS: LazyLock<Vec<OnceLock<Plan>>> =
    LazyLock::new(|| schema::types().iter().map(|_| OnceLock::new()).collect());

static GO: LazyLock<HashMap<&'static str, &'static str>> =
    LazyLock::new(|| GO_FIELDS.iter().copied().collect());

/// The plan of a type.
pub(crate) fn plan(id: TypeId) -> &'static Plan {
    PLANS[usize::from(id.0)].get_or_init(|| build(id))
}

fn build(id: TypeId) -> Plan {
    let ty = schema::get(id);
    let facts = GO.get(ty.name).copied().unwrap_or("");
    let fields: Vec<PlanField> = ty.fields.iter().map(|f| field(f, facts)).collect();
    let always = ty
        .fields
        .iter()
        .enumerate()
        .filter_map(|(index, field)| Some((index, always(field)?)))
        .collect();
    Plan {
        short: last_parts(ty.name, 1),
        qualified: last_parts(ty.name, 2),
        fields,
        open: ty.open,
        always,
    }
}

fn field(field: &'static schema::Field, facts: &'static str) -> PlanField {
    let (pointer, scalar_name) = facts
        .split(' ')
        .find_map(|fact| {
            let (name, scalar) = match fact.split_once(':') {
                Some((name, scalar)) => (name, Some(scalar)),
                None => (fact, None),
            };
            let bare = name.strip_suffix('*');
            (bare.unwrap_or(name) == field.name).then_some((bare.is_some(), scalar))
        })
        .unwrap_or((false, None));
    let stated = field.required || field.default.is_some();
    let may_omit = match field.ty {
        Ty::String | Ty::Int32 | Ty::Int64 | Ty::Bool | Ty::Double | Ty::Bytes => {
            !pointer && !stated
        }
        Ty::List(_) | Ty::Map(_) => !field.required,
        _ => false,
    };
    PlanField {
        name: field.name,
        ty: &field.ty,
        omit_zero: may_omit,
        scalar_name,
    }
}

/// The value a field has when the input has none: the schema's default, with nested ones filled in.
fn always(field: &schema::Field) -> Option<Value> {
    let text = field.default?;
    match field.ty {
        Ty::Ref(id) => Some(plan(id).empty()),
        Ty::String | Ty::Int32 | Ty::Int64 | Ty::Bool | Ty::Double | Ty::Bytes => {
            serde_json::from_str(text).ok()
        }
        _ => None,
    }
}

/// The last `count` parts of a dotted name.
fn last_parts(name: &'static str, count: usize) -> &'static str {
    match name.rmatch_indices('.').nth(count - 1) {
        Some((dot, _)) => &name[dot + 1..],
        None => name,
    }
}
