//! Reading and filling in JSON objects without ceremony: what is absent reads as empty, as it does
//! for the reference's typed objects.
//!
//! Invariant: readers never fail and never allocate.

use serde_json::{Map, Value};

static NULL: Value = Value::Null;

/// Reading the fields of an object.
pub trait Get {
    /// The field, or null.
    fn at(&self, key: &str) -> &Value;
    /// The text of a field; empty when absent.
    fn text(&self, key: &str) -> &str;
    /// The integer of a field.
    fn int(&self, key: &str) -> Option<i64>;
    /// The boolean of a field.
    fn flag(&self, key: &str) -> Option<bool>;
    /// The items of a list field; none when absent.
    fn items(&self, key: &str) -> &[Value];
    /// The members of an object field; none when absent.
    fn members(&self, key: &str) -> Members<'_>;
    /// Whether the field is there and not null.
    fn has(&self, key: &str) -> bool;
    /// Whether the field is `true`.
    fn is_true(&self, key: &str) -> bool {
        self.flag(key) == Some(true)
    }
}

/// The members of an object that may be absent.
pub type Members<'a> = std::iter::Flatten<std::option::IntoIter<serde_json::map::Iter<'a>>>;

impl Get for Value {
    fn at(&self, key: &str) -> &Value {
        match self {
            Value::Object(fields) => fields.get(key).unwrap_or(&NULL),
            _ => &NULL,
        }
    }

    fn text(&self, key: &str) -> &str {
        self.at(key).as_str().unwrap_or("")
    }

    fn int(&self, key: &str) -> Option<i64> {
        self.at(key).as_i64()
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.at(key).as_bool()
    }

    fn items(&self, key: &str) -> &[Value] {
        self.at(key).as_array().map_or(&[], Vec::as_slice)
    }

    fn members(&self, key: &str) -> Members<'_> {
        self.at(key)
            .as_object()
            .map(Map::iter)
            .into_iter()
            .flatten()
    }

    fn has(&self, key: &str) -> bool {
        !self.at(key).is_null()
    }
}

/// Changing the fields of an object.
pub trait Put {
    /// Sets a field.
    fn put(&mut self, key: &str, value: impl Into<Value>);
    /// Sets a field that is absent.
    fn or_put(&mut self, key: &str, value: impl Into<Value>);
    /// Removes a field.
    fn pull(&mut self, key: &str) -> Option<Value>;
    /// The object in a field, made when absent.
    fn open(&mut self, key: &str) -> &mut Value;
    /// The object in a field, if there is one.
    fn inner(&mut self, key: &str) -> Option<&mut Value>;
    /// The items of a list field.
    fn items_mut(&mut self, key: &str) -> &mut [Value];
    /// Makes a field as it is in `other`, absent if it is absent there.
    fn copy_from(&mut self, other: &Value, key: &str);
}

impl Put for Value {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        if let Value::Object(fields) = self {
            match fields.get_mut(key) {
                Some(slot) => *slot = value.into(),
                None => {
                    fields.insert(key.to_owned(), value.into());
                }
            }
        }
    }

    fn or_put(&mut self, key: &str, value: impl Into<Value>) {
        if !self.has(key) {
            self.put(key, value);
        }
    }

    fn pull(&mut self, key: &str) -> Option<Value> {
        self.as_object_mut().and_then(|fields| fields.remove(key))
    }

    fn open(&mut self, key: &str) -> &mut Value {
        if !self.is_object() {
            *self = Value::Object(Map::new());
        }
        let slot = &mut self[key];
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        slot
    }

    fn inner(&mut self, key: &str) -> Option<&mut Value> {
        self.as_object_mut()?
            .get_mut(key)
            .filter(|value| value.is_object())
    }

    fn items_mut(&mut self, key: &str) -> &mut [Value] {
        match self
            .as_object_mut()
            .and_then(|fields| fields.get_mut(key))
            .and_then(Value::as_array_mut)
        {
            Some(items) => items.as_mut_slice(),
            None => &mut [],
        }
    }

    fn copy_from(&mut self, other: &Value, key: &str) {
        if other.has(key) {
            self.put(key, other.at(key).clone());
        } else {
            self.pull(key);
        }
    }
}
