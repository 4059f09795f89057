//! Slim views of API objects: only the fields that a controller reads, decoded once and shared by every controller of the process.
//!
//! Invariant: decoding never fails over a field that no controller needs, and one odd value (an unparsable time, a selector that
//! is not valid) empties that field instead of losing the object. Writes never go through these types; see [`crate::api`].

pub mod apps;
pub mod core;
pub mod node;
pub mod pod;
pub mod service;

use std::fmt;

use fluyt_api::selector::{LabelSelector, Labels};
use jiff::Timestamp;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Labels or annotations: sorted, and without the half kilobyte that an ordered map costs for one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Box<[(Box<str>, Box<str>)]>);

impl Pairs {
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self
            .0
            .binary_search_by(|(name, _)| (**name).cmp(key))
            .ok()?;
        Some(&self.0[at].1)
    }

    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A copy with `key` set to `value`.
    pub fn with(&self, key: &str, value: &str) -> Self {
        let kept = self.iter().filter(|(name, _)| *name != key);
        kept.chain(std::iter::once((key, value))).collect()
    }

    /// A copy that has only the entries that `keep` accepts.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        self.iter().filter(|(key, _)| keep(key)).collect()
    }

    pub fn to_json(&self) -> Value {
        let entries = self
            .iter()
            .map(|(key, value)| (key.to_owned(), value.into()));
        Value::Object(entries.collect())
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(entries: I) -> Self {
        let mut pairs: Vec<(Box<str>, Box<str>)> = entries
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        pairs.sort_unstable();
        pairs.dedup_by(|later, earlier| later.0 == earlier.0);
        Self(pairs.into_boxed_slice())
    }
}

impl Labels for Pairs {
    fn get(&self, key: &str) -> Option<&str> {
        Pairs::get(self, key)
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of strings")
            }
            fn visit_unit<E>(self) -> Result<Pairs, E> {
                Ok(Pairs::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs: Vec<(Box<str>, Box<str>)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<Box<str>, Option<Box<str>>>()? {
                    pairs.push((key, value.unwrap_or_default()));
                }
                pairs.sort_unstable();
                Ok(Pairs(pairs.into_boxed_slice()))
            }
        }
        deserializer.deserialize_any(PairsVisitor)
    }
}

impl Serialize for Pairs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// A part of an object that is only carried along: kept as compact JSON text, which is a tenth of the size of a parsed tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawJson(Box<str>);

impl RawJson {
    pub fn from_value(value: &Value) -> Self {
        Self(value.to_string().into_boxed_str())
    }

    /// The parsed tree; `Null` when the part was absent.
    pub fn value(&self) -> Value {
        // The text was written by serde_json, so it parses; absent parts are empty text.
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self::from_value(&value))
    }
}

/// A metav1.LabelSelector, parsed once. One that does not parse matches nothing.
#[derive(Clone, Default)]
pub struct Selector {
    parsed: Option<LabelSelector>,
    raw: RawJson,
}

impl Selector {
    pub fn from_value(value: &Value) -> Self {
        Self {
            parsed: LabelSelector::from_json(value).ok(),
            raw: RawJson::from_value(value),
        }
    }

    /// Whether `labels` are selected; an empty or invalid selector selects nothing here, as controllers want it.
    pub fn matches(&self, labels: &Pairs) -> bool {
        match &self.parsed {
            Some(selector) => !selector.is_empty() && selector.matches(labels),
            None => false,
        }
    }

    pub fn is_valid(&self) -> bool {
        self.parsed.is_some()
    }

    /// Present but without a requirement: it would select everything.
    pub fn selects_everything(&self) -> bool {
        self.parsed.as_ref().is_some_and(LabelSelector::is_empty)
    }

    pub fn value(&self) -> Value {
        self.raw.value()
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.raw.text())
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self::from_value(&value))
    }
}

/// metav1.OwnerReference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    pub api_version: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

impl OwnerReference {
    /// The API group of the owner, empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    pub fn blocks_owner_deletion(&self) -> bool {
        self.block_owner_deletion == Some(true)
    }
}

/// The part of metav1.ObjectMeta that controllers read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub name: Box<str>,
    pub namespace: Box<str>,
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    pub generation: i64,
    #[serde(deserialize_with = "time")]
    pub creation_timestamp: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    pub deletion_timestamp: Option<Timestamp>,
    pub labels: Pairs,
    /// Emptied for pods and nodes, where they are long and nobody reads them.
    pub annotations: Pairs,
    #[serde(deserialize_with = "nullable")]
    pub owner_references: Vec<OwnerReference>,
    #[serde(deserialize_with = "nullable")]
    pub finalizers: Vec<Box<str>>,
}

impl Meta {
    pub fn key(&self) -> String {
        if self.namespace.is_empty() {
            self.name.to_string()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }

    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references
            .iter()
            .find(|owner| owner.controller == Some(true))
    }

    pub fn is_controlled_by(&self, uid: &str) -> bool {
        self.controller().is_some_and(|owner| &*owner.uid == uid)
    }

    pub fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|name| &**name == finalizer)
    }

    /// Drops what growth left over, for objects that live long in a cache.
    pub(crate) fn shrink(&mut self) {
        self.owner_references.shrink_to_fit();
        self.finalizers.shrink_to_fit();
    }
}

/// Every slim type has metadata.
pub trait Object: Send + Sync + 'static {
    fn meta(&self) -> &Meta;
}

/// Metadata alone: what garbage collection needs of any resource.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MetaOnly {
    pub metadata: Meta,
}

impl Object for MetaOnly {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// "True", "False" or "Unknown".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    #[default]
    Unknown,
}

impl ConditionStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl<'de> Deserialize<'de> for ConditionStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(
            match <std::borrow::Cow<'_, str>>::deserialize(deserializer)?.as_ref() {
                "True" => Self::True,
                "False" => Self::False,
                _ => Self::Unknown,
            },
        )
    }
}

impl Serialize for ConditionStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An absolute number or a percentage.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    Int(i64),
    Text(Box<str>),
}

impl IntOrString {
    /// The number it stands for, of `total` if it is a percentage; anything else counts as 0 (validation refuses it).
    pub fn scaled(&self, total: i64, round_up: bool) -> i64 {
        match self {
            Self::Int(value) => *value,
            Self::Text(text) => {
                let percent: i64 = text
                    .strip_suffix('%')
                    .and_then(|digits| digits.parse().ok())
                    .unwrap_or(0);
                let product = percent.saturating_mul(total);
                if round_up {
                    product.saturating_add(99).div_euclid(100)
                } else {
                    product / 100
                }
            }
        }
    }
}

/// A time as the API writes it; anything else counts as absent.
pub(crate) fn time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// A list that may be null.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// Null is absent.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Only whether a field is there.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<IgnoredAny>::deserialize(deserializer)?.is_some())
}

/// A time with second precision, as metav1.Time is written.
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pairs_are_sorted_and_found() {
        let pairs: Pairs = serde_json::from_value(json!({"b": "2", "a": "1", "c": null})).unwrap();
        assert_eq!(pairs.get("a"), Some("1"));
        assert_eq!(pairs.get("c"), Some(""));
        assert_eq!(pairs.get("d"), None);
        assert_eq!(pairs.with("a", "9").get("a"), Some("9"));
        assert_eq!(
            serde_json::from_value::<Pairs>(Value::Null).unwrap(),
            Pairs::default()
        );
    }

    #[test]
    fn percentages_round_as_asked() {
        let quarter = IntOrString::Text("25%".into());
        for (total, up, expected) in [(10, true, 3), (10, false, 2), (4, true, 1), (0, true, 0)] {
            assert_eq!(quarter.scaled(total, up), expected, "{total} {up}");
        }
        assert_eq!(IntOrString::Int(3).scaled(10, true), 3);
        assert_eq!(IntOrString::Text("x".into()).scaled(10, true), 0);
    }

    #[test]
    fn odd_values_empty_a_field_but_keep_the_object() {
        let meta: Meta = serde_json::from_value(json!({
            "name": "a", "creationTimestamp": "yesterday", "finalizers": null, "unknown": [1]
        }))
        .unwrap();
        assert_eq!((&*meta.name, meta.creation_timestamp), ("a", None));
    }

    #[test]
    fn times_are_written_with_seconds() {
        let time: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(rfc3339(time), "2026-01-02T03:04:05Z");
    }
}
