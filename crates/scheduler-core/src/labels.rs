//! Labels and the selectors over them, in a form that can be compared and hashed, so that equal selectors are counted once.
//!
//! Invariant: [`Labels`] is sorted by key without duplicates; a [`Selector`]'s requirements are sorted, its values too.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::objects::Text;

/// A sorted map of strings. Cheap to compare and to hash.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Box<[(Text, Text)]>);

impl Labels {
    pub fn get(&self, key: &str) -> Option<&Text> {
        // Most label maps are small: a scan beats a binary search on strings.
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value)
    }

    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Text)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<(Text, Text)> for Labels {
    fn from_iter<I: IntoIterator<Item = (Text, Text)>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        // Of equal keys the last wins, as in JSON.
        pairs.reverse();
        pairs.dedup_by(|a, b| a.0 == b.0);
        pairs.reverse();
        Self(pairs.into_boxed_slice())
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Labels {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        pairs
            .into_iter()
            .map(|(key, value)| (Text::from(key), Text::from(value)))
            .collect()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_unit<E>(self) -> Result<Labels, E> {
                Ok(Labels::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut pairs: Vec<(Text, Text)> = Vec::with_capacity(map.size_hint().unwrap_or(4));
                while let Some((key, Scalar(value))) = map.next_entry::<Text, Scalar>()? {
                    pairs.push((key, value));
                }
                Ok(pairs.into_iter().collect())
            }
        }
        deserializer.deserialize_any(Pairs)
    }
}

/// A string, or a number written where a string is usual (quantities may be numbers).
struct Scalar(Text);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a number")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(Text::from(text)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(compact_str::format_compact!("{number}")))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(compact_str::format_compact!("{number}")))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar(compact_str::format_compact!("{number}")))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
    /// Not one of the API's operators: matches nothing, as a term that does not parse.
    Unknown,
}

impl<'de> Deserialize<'de> for Operator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        Ok(match text.as_str() {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            _ => Self::Unknown,
        })
    }
}

/// One condition on one key; of labels (metav1.LabelSelectorRequirement) or of nodes (v1.NodeSelectorRequirement).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Requirement {
    pub key: Text,
    pub operator: Operator,
    #[serde(default)]
    pub values: Vec<Text>,
}

impl Requirement {
    pub fn new(key: &str, operator: Operator, values: &[&str]) -> Self {
        Self {
            key: key.into(),
            operator,
            values: values.iter().map(|value| Text::from(*value)).collect(),
        }
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_value(labels.get(&self.key))
    }

    pub fn matches_value(&self, value: Option<&Text>) -> bool {
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt | Operator::Lt => {
                let number = |text: &Text| text.parse::<i64>().ok();
                let bound = match self.values.as_slice() {
                    [bound] => number(bound),
                    _ => None,
                };
                match (value.and_then(number), bound) {
                    (Some(value), Some(bound)) if self.operator == Operator::Gt => value > bound,
                    (Some(value), Some(bound)) => value < bound,
                    _ => false,
                }
            }
            Operator::Unknown => false,
        }
    }
}

/// metav1.LabelSelector as written. Absent selects nothing; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    pub match_labels: Labels,
    pub match_expressions: Vec<Requirement>,
}

/// A label selector in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    Nothing,
    /// All of these; none of them is everything.
    All(Vec<Requirement>),
}

impl Selector {
    pub fn everything() -> Self {
        Self::All(Vec::new())
    }

    pub fn new(selector: Option<&LabelSelector>) -> Self {
        let Some(selector) = selector else {
            return Self::Nothing;
        };
        let mut requirements = equalities(&selector.match_labels);
        requirements.extend(selector.match_expressions.iter().cloned());
        Self::canonical(requirements)
    }

    pub fn from_labels(labels: &Labels) -> Self {
        Self::canonical(equalities(labels))
    }

    fn canonical(mut requirements: Vec<Requirement>) -> Self {
        for requirement in &mut requirements {
            requirement.values.sort();
            requirement.values.dedup();
        }
        requirements.sort();
        requirements.dedup();
        Self::All(requirements)
    }

    /// Both selectors at once.
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All(mine), Self::All(theirs)) => {
                Self::canonical(mine.iter().chain(theirs).cloned().collect())
            }
            _ => Self::Nothing,
        }
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        match self {
            Self::Nothing => false,
            Self::All(requirements) => requirements.iter().all(|one| one.matches(labels)),
        }
    }

    /// True for the selector of everything (not for nothing), as upstream's Empty().
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::All(requirements) if requirements.is_empty())
    }
}

fn equalities(labels: &Labels) -> Vec<Requirement> {
    let equal = |(key, value): (&Text, &Text)| Requirement {
        key: key.clone(),
        operator: Operator::In,
        values: vec![value.clone()],
    };
    labels.iter().map(equal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_follow_the_api() {
        let labels: Labels = [("a", "1"), ("b", "x")].into_iter().collect();
        for (key, operator, values, expected) in [
            ("a", Operator::In, vec!["1", "2"], true),
            ("a", Operator::NotIn, vec!["1"], false),
            ("c", Operator::NotIn, vec!["1"], true),
            ("c", Operator::DoesNotExist, vec![], true),
            ("a", Operator::Gt, vec!["0"], true),
            ("a", Operator::Lt, vec!["1"], false),
            ("b", Operator::Gt, vec!["0"], false),
            ("c", Operator::Lt, vec!["5"], false),
        ] {
            let requirement = Requirement::new(key, operator, &values);
            assert_eq!(requirement.matches(&labels), expected, "{requirement:?}");
        }
    }

    #[test]
    fn absent_selects_nothing_and_empty_everything() {
        let labels = Labels::default();
        assert!(!Selector::new(None).matches(&labels));
        assert!(Selector::new(Some(&LabelSelector::default())).matches(&labels));
        assert!(!Selector::Nothing.is_empty());
    }

    #[test]
    fn labels_decode_from_any_scalar() {
        let labels: Labels = serde_json::from_str(r#"{"cpu": 2, "memory": "1Gi"}"#).unwrap();
        assert_eq!(labels.get("cpu").unwrap(), "2");
        assert_eq!(labels.get("memory").unwrap(), "1Gi");
    }
}
