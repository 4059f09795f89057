//! YAML bodies, read into plain values with YAML 1.1's idea of scalars, which manifests rely on.
//!
//! Invariant: one document; of a key that stands twice the last wins and is reported.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The value, and the strict-decoding errors for keys that stand twice.
pub(super) fn parse(text: &str) -> Result<(Value, Vec<String>), String> {
    let mut options = serde_saphyr::Options::default();
    options.duplicate_keys = serde_saphyr::DuplicateKeyPolicy::PassThrough;
    options.with_snippet = false;
    let duplicates = RefCell::new(Vec::new());
    let document = first_document(text);
    serde_saphyr::with_deserializer_from_str_with_options(document, options, |input| {
        Any(&duplicates).deserialize(input)
    })
    .map(|value| (value, duplicates.take()))
    .map_err(|error| format!("error converting YAML to JSON: yaml: {error}"))
}

/// Only the first document of a stream counts, as in the reference.
fn first_document(text: &str) -> &str {
    let body = text.strip_prefix("---\n").unwrap_or(text);
    match body.find("\n---\n") {
        Some(end) => &body[..=end],
        None => body.strip_suffix("\n---").unwrap_or(body),
    }
}

#[derive(Clone, Copy)]
struct Any<'a>(&'a RefCell<Vec<String>>);

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
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
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = input.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = input.next_key_seed(self)? {
            let key = match key {
                Value::String(key) => key,
                other => other.to_string(),
            };
            let value = input.next_value_seed(self)?;
            if fields.contains_key(&key) {
                self.0.borrow_mut().push(format!(
                    "yaml: unmarshal errors: key {key:?} already set in map"
                ));
            }
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}
