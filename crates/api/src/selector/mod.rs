//! Label selectors and field selectors: parsing in upstream's grammar and words, matching
//! without allocation.

mod fields;
mod parse;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use serde_json::{Map, Value};

pub use fields::{FieldOperator, FieldRequirement, FieldSelector};

use crate::field::{self, FieldError, Path};
use crate::names;

/// Why a selector is not one; Display is upstream's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// Something that has labels.
pub trait Labels {
    /// The value of a label.
    fn get(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn get(&self, key: &str) -> Option<&str> {
        BTreeMap::get(self, key).map(String::as_str)
    }
}

impl Labels for Map<String, Value> {
    fn get(&self, key: &str) -> Option<&str> {
        Map::get(self, key).and_then(Value::as_str)
    }
}

/// The labels of an object's `metadata.labels`, which may be null.
impl Labels for Value {
    fn get(&self, key: &str) -> Option<&str> {
        Value::get(self, key).and_then(Value::as_str)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Labels for [(K, V)] {
    fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self
            .iter()
            .find(|(candidate, _)| candidate.as_ref() == key)?;
        Some(value.as_ref())
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Labels for Vec<(K, V)> {
    fn get(&self, key: &str) -> Option<&str> {
        self.as_slice().get_label(key)
    }
}

/// Keeps the slice's own `get` out of the way.
trait LabelsOfSlice {
    fn get_label(&self, key: &str) -> Option<&str>;
}

impl<K: AsRef<str>, V: AsRef<str>> LabelsOfSlice for [(K, V)] {
    fn get_label(&self, key: &str) -> Option<&str> {
        Labels::get(self, key)
    }
}

impl<T: Labels> Labels for Option<T> {
    fn get(&self, key: &str) -> Option<&str> {
        self.as_ref()?.get(key)
    }
}

impl<T: Labels + ?Sized> Labels for &T {
    fn get(&self, key: &str) -> Option<&str> {
        (**self).get(key)
    }
}

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `key=value`.
    Equals,
    /// `key==value`.
    DoubleEquals,
    /// `key!=value`; also true without the label.
    NotEquals,
    /// `key in (a,b)`.
    In,
    /// `key notin (a,b)`; also true without the label.
    NotIn,
    /// `key`.
    Exists,
    /// `!key`.
    DoesNotExist,
    /// `key>1`.
    GreaterThan,
    /// `key<1`.
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

impl Requirement {
    /// A requirement, checked.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        let errors = check(key, operator, &values);
        if !errors.is_empty() {
            return Err(SelectorError(field::aggregate(&errors)));
        }
        Ok(Self {
            key: key.to_owned(),
            operator,
            values,
        })
    }

    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The comparison.
    pub const fn operator(&self) -> Operator {
        self.operator
    }

    /// The values compared with.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether the labels fulfil it.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        let value = labels.get(&self.key);
        let listed = |value: &str| self.values.iter().any(|candidate| candidate == value);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => value.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compare(value).is_some_and(|(label, own)| label > own),
            Operator::LessThan => self.compare(value).is_some_and(|(label, own)| label < own),
        }
    }

    fn compare(&self, value: Option<&str>) -> Option<(i64, i64)> {
        let own = self.values.first()?;
        Some((value?.parse().ok()?, own.parse().ok()?))
    }
}

/// The complaint about a label key, if it is malformed.
fn check_key(path: &Path, key: &str) -> Option<FieldError> {
    let errors = names::qualified_name(key);
    (!errors.is_empty()).then(|| field::invalid(path, key, errors.join("; ")))
}

fn check(key: &str, operator: Operator, values: &[String]) -> Vec<FieldError> {
    let path = Path::new("values");
    let mut errors: Vec<FieldError> = check_key(&Path::new("key"), key).into_iter().collect();
    let complain = |detail: &str| field::invalid(&path, values.to_vec(), detail);
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            errors.push(complain(
                "for 'in', 'notin' operators, values set can't be empty",
            ));
        }
        Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
            errors.push(complain(
                "exact-match compatibility requires one single value",
            ));
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            errors.push(complain(
                "values set must be empty for exists and does not exist",
            ));
        }
        Operator::GreaterThan | Operator::LessThan => {
            if values.len() != 1 {
                errors.push(complain(
                    "for 'Gt', 'Lt' operators, exactly one value is required",
                ));
            }
            for (place, value) in values.iter().enumerate() {
                if value.parse::<i64>().is_err() {
                    errors.push(field::invalid(
                        &path.index(place),
                        value.as_str(),
                        "for 'Gt', 'Lt' operators, the value must be an integer",
                    ));
                }
            }
        }
        _ => {}
    }
    for (place, value) in values.iter().enumerate() {
        let complaints = names::label_value(value);
        if !complaints.is_empty() {
            let path = path.index(place).key(key);
            errors.push(field::invalid(&path, value.as_str(), complaints.join("; ")));
        }
    }
    errors
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        values.sort_unstable();
        let (key, values) = (&self.key, values.join(","));
        match self.operator {
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// Conditions on labels that must all hold.
///
/// ```
/// use fluyt_api::selector::LabelSelector;
/// let selector = LabelSelector::parse("app=web,tier in (a,b),!old")?;
/// assert!(selector.matches(&[("app", "web"), ("tier", "b")][..]));
/// # Ok::<(), fluyt_api::selector::SelectorError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabelSelector {
    /// None matches nothing.
    requirements: Option<Vec<Requirement>>,
}

/// Matches everything.
impl Default for LabelSelector {
    fn default() -> Self {
        Self::everything()
    }
}

impl LabelSelector {
    /// Matches every object.
    pub const fn everything() -> Self {
        Self {
            requirements: Some(Vec::new()),
        }
    }

    /// Matches no object.
    pub const fn nothing() -> Self {
        Self { requirements: None }
    }

    /// All of `requirements`.
    pub fn all(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self {
            requirements: Some(requirements),
        }
    }

    /// Parses the text of a `labelSelector` parameter.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::parse(text).map(Self::all).map_err(SelectorError)
    }

    /// Every pair of a map, unchecked: the selectors of services and replication controllers,
    /// which were validated when they were stored.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let requirement = |(key, value): (&str, &str)| Requirement {
            key: key.to_owned(),
            operator: Operator::Equals,
            values: vec![value.to_owned()],
        };
        Self::all(pairs.into_iter().map(requirement).collect())
    }

    /// Reads a `metav1.LabelSelector`: null matches nothing, an empty one everything.
    pub fn from_json(selector: &Value) -> Result<Self, SelectorError> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement::new(key, Operator::Equals, vec![value])?);
        }
        for expression in selector["matchExpressions"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let text = |key: &str| expression[key].as_str().unwrap_or_default();
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values
                .map(|v| v.as_str().unwrap_or_default().to_owned())
                .collect();
            requirements.push(expression_requirement(
                text("key"),
                text("operator"),
                values,
            )?);
        }
        Ok(Self::all(requirements))
    }

    /// Reads a typed `metav1.LabelSelector`: none matches nothing, an empty one everything.
    pub fn from_typed(selector: Option<&meta::LabelSelector>) -> Result<Self, SelectorError> {
        let Some(selector) = selector else {
            return Ok(Self::nothing());
        };
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement::new(
                key,
                Operator::Equals,
                vec![value.clone()],
            )?);
        }
        for expression in selector.match_expressions.iter().flatten() {
            let values = expression.values.clone().unwrap_or_default();
            requirements.push(expression_requirement(
                &expression.key,
                &expression.operator,
                values,
            )?);
        }
        Ok(Self::all(requirements))
    }

    /// Whether the labels fulfil every requirement.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        match &self.requirements {
            Some(requirements) => requirements
                .iter()
                .all(|requirement| requirement.matches(labels)),
            None => false,
        }
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether it can match nothing.
    pub const fn is_nothing(&self) -> bool {
        self.requirements.is_none()
    }

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }
}

fn expression_requirement(
    key: &str,
    operator: &str,
    values: Vec<String>,
) -> Result<Requirement, SelectorError> {
    let operator = match operator {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => {
            return Err(SelectorError(format!(
                "{} is not a valid label selector operator",
                crate::text::quote(other)
            )));
        }
    };
    Requirement::new(key, operator, values)
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, requirement) in self.requirements().iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for LabelSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests;
