//! One pass from bytes to a checked object: the parser drives a visitor that follows the schema,
//! so that types are checked, unknown fields dropped or refused, zero values normalised and
//! always-present fields filled in while the text is read.
//!
//! Invariant: a mistake never stops the pass. The first one is remembered (the reference reports
//! one) and the value is dropped, so that a syntax error later in the text still wins.

use std::cell::RefCell;
use std::fmt;

use fluyt_api::schema::{Ty, TypeId};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

use super::plan::{Plan, plan};
use super::scalar;
use crate::at::At;

/// The most strict-decoding errors that are reported, as in the reference.
const MAX_STRICT_ERRORS: usize = 100;

/// What a pass found besides the object.
#[derive(Default)]
pub(crate) struct Findings {
    /// The first error that makes the object unusable.
    pub(crate) fatal: Option<String>,
    /// Unknown and duplicate fields, in the order of the text.
    pub(crate) strict: Vec<String>,
}

/// One decoding pass.
pub(crate) struct Pass {
    collect: bool,
    found: RefCell<Findings>,
}

impl Pass {
    /// `collect`: report unknown and duplicate fields.
    pub(crate) fn new(collect: bool) -> Self {
        Self {
            collect,
            found: RefCell::default(),
        }
    }

    /// Reads an object of type `id`.
    pub(crate) fn run<'de, D: Deserializer<'de>>(
        &self,
        id: TypeId,
        input: D,
    ) -> Result<Value, D::Error> {
        let ty = Ty::Ref(id);
        input.deserialize_any(Seed {
            pass: self,
            ty: &ty,
            scalar_name: None,
            at: &At::ROOT,
        })
    }

    pub(crate) fn into_findings(self) -> Findings {
        self.found.into_inner()
    }

    fn fatal(&self, message: impl FnOnce() -> String) {
        let mut found = self.found.borrow_mut();
        if found.fatal.is_none() {
            found.fatal = Some(message());
        }
    }

    fn strict(&self, what: &str, at: &At) {
        if !self.collect {
            return;
        }
        let mut found = self.found.borrow_mut();
        if found.strict.len() < MAX_STRICT_ERRORS {
            found
                .strict
                .push(format!("{what} field \"{}\"", at.strict()));
        }
    }
}

/// Reads one value of a known type.
struct Seed<'a> {
    pass: &'a Pass,
    ty: &'a Ty,
    scalar_name: Option<&'static str>,
    at: &'a At<'a>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl Seed<'_> {
    /// The value has a form that the type does not allow.
    fn mismatch(&self, form: &str) -> Value {
        self.pass.fatal(|| {
            let wanted = match (self.scalar_name, self.ty) {
                (Some(name), _) => name.to_owned(),
                (None, ty) => go_type(ty),
            };
            match self.at.go_field() {
                Some(field) => format!(
                    "json: cannot unmarshal {form} into Go struct field {field} of type {wanted}"
                ),
                None => format!("json: cannot unmarshal {form} into Go value of type {wanted}"),
            }
        });
        Value::Null
    }

    fn text(self, text: &str) -> Value {
        let checked = match self.ty {
            Ty::String | Ty::IntOrString | Ty::Any(_) => Ok(Value::String(text.to_owned())),
            Ty::Quantity => scalar::quantity(text),
            Ty::Time => scalar::time(text),
            Ty::MicroTime => scalar::micro_time(text),
            Ty::Bytes => scalar::bytes(text),
            _ => return self.mismatch("string"),
        };
        checked.unwrap_or_else(|message| {
            self.pass.fatal(|| message);
            Value::Null
        })
    }

    fn integer(self, number: i64) -> Value {
        match self.ty {
            Ty::Int64 | Ty::Double | Ty::Any(_) => Value::from(number),
            Ty::Int32 | Ty::IntOrString => match i32::try_from(number) {
                Ok(_) => Value::from(number),
                Err(_) => self.mismatch(&format!("number {number}")),
            },
            Ty::Quantity => self.text(&number.to_string()),
            _ => self.mismatch("number"),
        }
    }

    fn float(self, number: f64) -> Value {
        match self.ty {
            Ty::Double | Ty::Any(_) => Value::from(number),
            Ty::Int32 | Ty::Int64 | Ty::IntOrString => self.mismatch(&format!("number {number:?}")),
            Ty::Quantity => self.text(&number.to_string()),
            _ => self.mismatch("number"),
        }
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let item = match self.ty {
            Ty::List(item) => *item,
            Ty::Any(_) => self.ty,
            _ => {
                while input.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(self.mismatch("array"));
            }
        };
        let mut items = Vec::new();
        loop {
            let at = self.at.index(items.len());
            let seed = Seed {
                pass: self.pass,
                ty: item,
                scalar_name: None,
                at: &at,
            };
            match input.next_element_seed(seed)? {
                Some(Value::Null) if !matches!(item, Ty::Any(_)) => items.push(zero(item)),
                Some(value) => items.push(value),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn object<'de, A: MapAccess<'de>>(
        self,
        plan: &'static Plan,
        mut input: A,
    ) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let (mut seen, mut kept) = (0u128, 0u128);
        while let Some(key) = input.next_key_seed(Key(plan))? {
            let index = match key {
                Known::Field(index) => index,
                Known::No(name) => {
                    self.pass.strict("unknown", &self.at.child(&name));
                    input.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let field = &plan.fields[index];
            let at = self.at.owned(plan.short, field.name);
            let bit = 1u128 << index;
            if seen & bit != 0 {
                self.pass.strict("duplicate", &at);
            }
            seen |= bit;
            let value = input.next_value_seed(Seed {
                pass: self.pass,
                ty: field.ty,
                scalar_name: field.scalar_name,
                at: &at,
            })?;
            if value.is_null() || (field.omit_zero && is_zero(&value)) {
                continue;
            }
            kept |= bit;
            object.insert(field.name.to_owned(), value);
        }
        for (index, value) in &plan.always {
            if kept & (1u128 << index) == 0 {
                object.insert(plan.fields[*index].name.to_owned(), value.clone());
            }
        }
        Ok(Value::Object(object))
    }

    fn map<'de, A: MapAccess<'de>>(self, item: &Ty, mut input: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = input.next_key::<String>()? {
            let at = self.at.key(&key);
            if self.pass.collect && object.contains_key(&key) {
                self.pass.strict("duplicate", &at);
            }
            let value = input.next_value_seed(Seed {
                pass: self.pass,
                ty: item,
                scalar_name: None,
                at: &at,
            })?;
            let value = match (value, item) {
                (Value::Null, Ty::Any(_)) => Value::Null,
                (Value::Null, item) => zero(item),
                (value, _) => value,
            };
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        input.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(match self.ty {
            Ty::Bool | Ty::Any(_) => Value::Bool(value),
            _ => self.mismatch("bool"),
        })
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(self.integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(match i64::try_from(value) {
            Ok(value) => self.integer(value),
            Err(_) => match self.ty {
                Ty::Int32 | Ty::Int64 | Ty::IntOrString => {
                    self.mismatch(&format!("number {value}"))
                }
                Ty::Quantity => self.text(&value.to_string()),
                Ty::Double | Ty::Any(_) => Value::from(value),
                _ => self.mismatch("number"),
            },
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(self.float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(self.text(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        match self.ty {
            Ty::String | Ty::IntOrString | Ty::Any(_) => Ok(Value::String(value)),
            _ => Ok(self.text(&value)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, input: A) -> Result<Value, A::Error> {
        self.list(input)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        match self.ty {
            Ty::Ref(id) => {
                let plan = plan(*id);
                if plan.open || plan.fields.is_empty() {
                    return self.map(&ANY, input);
                }
                if plan.fields.len() > 128 {
                    return Err(A::Error::custom("a type of more than 128 fields"));
                }
                self.object(plan, input)
            }
            Ty::Map(item) => self.map(item, input),
            Ty::Any(_) => self.map(&ANY, input),
            _ => {
                while input.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(self.mismatch("object"))
            }
        }
    }
}

/// Free-form JSON below a free-form value.
static ANY: Ty = Ty::Any(TypeId(0));

/// A key of an object whose fields are known.
struct Key(&'static Plan);

enum Known {
    Field(usize),
    No(Box<str>),
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Known;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Known, D::Error> {
        input.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Known;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Known, E> {
        Ok(match self.0.find(name) {
            Some(index) => Known::Field(index),
            None => Known::No(name.into()),
        })
    }
}

/// What the reference's encoder leaves out of a field marked so.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// What `null` as an item of a list or map is read as.
fn zero(ty: &Ty) -> Value {
    match ty {
        Ty::String | Ty::Bytes => Value::String(String::new()),
        Ty::Int32 | Ty::Int64 | Ty::Double | Ty::IntOrString => Value::from(0),
        Ty::Bool => Value::Bool(false),
        Ty::Quantity => Value::from("0"),
        Ty::Ref(id) => plan(*id).empty(),
        Ty::List(_) => Value::Array(Vec::new()),
        Ty::Map(_) => Value::Object(Map::new()),
        Ty::Time | Ty::MicroTime | Ty::Any(_) => Value::Null,
    }
}

/// The reference's name of a type.
fn go_type(ty: &Ty) -> String {
    match ty {
        Ty::String | Ty::Bytes | Ty::Time | Ty::MicroTime | Ty::Quantity => "string".to_owned(),
        Ty::Int32 | Ty::IntOrString => "int32".to_owned(),
        Ty::Int64 => "int64".to_owned(),
        Ty::Bool => "bool".to_owned(),
        Ty::Double => "float64".to_owned(),
        Ty::Any(_) => "interface {}".to_owned(),
        Ty::Ref(id) => plan(*id).qualified.to_owned(),
        Ty::List(item) => format!("[]{}", go_type(item)),
        Ty::Map(item) => format!("map[string]{}", go_type(item)),
    }
}
