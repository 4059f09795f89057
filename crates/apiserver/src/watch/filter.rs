//! Selectors over stored bytes: what they may ask about is extracted without keeping the decoded object.

use std::collections::BTreeMap;

use fluyt_api::catalogue::Resource;
use fluyt_api::selector::{FieldSelector, LabelSelector};
use fluyt_api::status::Status;
use fluyt_machinery::strategy;
use serde::Deserialize;
use serde_json::Value;

use crate::http::query::Query;

/// What selectors can ask about one object. Thousands of them are kept (see `frame`), so without room to grow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    labels: Box<[(Box<str>, Box<str>)]>,
    fields: Box<[(&'static str, Box<str>)]>,
}

#[derive(Deserialize)]
struct Labelled {
    metadata: LabelledMeta,
}

#[derive(Deserialize)]
struct LabelledMeta {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Attributes {
    /// Reads the attributes off stored bytes; `fields` only when a field selector beyond the metadata needs them.
    pub(crate) fn read(resource: &Resource, value: &[u8], fields: bool) -> Self {
        if fields {
            return match serde_json::from_slice::<Value>(value) {
                Ok(object) => Self::of(resource, &object),
                Err(_) => Attributes::default(),
            };
        }
        let Ok(object) = serde_json::from_slice::<Labelled>(value) else {
            return Attributes::default();
        };
        let meta = object.metadata;
        let fields = [
            ("metadata.name", meta.name),
            ("metadata.namespace", meta.namespace),
        ];
        Self::kept(meta.labels.unwrap_or_default(), fields)
    }

    /// The attributes of a decoded object.
    pub(crate) fn of(resource: &Resource, object: &Value) -> Self {
        let meta = &object["metadata"];
        let labels = meta["labels"].as_object().into_iter().flatten();
        let labels =
            labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned()));
        let mut fields = strategy::of(resource).selectable_fields(object);
        for (path, value) in [
            ("metadata.name", &meta["name"]),
            ("metadata.namespace", &meta["namespace"]),
        ] {
            if !fields.iter().any(|(known, _)| *known == path) {
                fields.push((path, value.as_str().unwrap_or("").to_owned()));
            }
        }
        Self::kept(labels, fields)
    }

    fn kept(
        labels: impl IntoIterator<Item = (String, String)>,
        fields: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let label = |(key, value): (String, String)| (key.into_boxed_str(), value.into_boxed_str());
        let field = |(path, value): (&'static str, String)| (path, value.into_boxed_str());
        Attributes {
            labels: labels.into_iter().map(label).collect(),
            fields: fields.into_iter().map(field).collect(),
        }
    }
}

/// The selectors of a list or watch.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    resource: &'static Resource,
    labels: Option<LabelSelector>,
    fields: Option<FieldSelector>,
    /// A field selector that asks for more than metadata.name and metadata.namespace.
    deep: bool,
}

impl Filter {
    pub(crate) fn parse(resource: &'static Resource, query: &Query) -> Result<Self, Status> {
        let labels = match query.non_empty("labelSelector") {
            None => None,
            Some(text) => {
                let selector = LabelSelector::parse(text).map_err(|error| {
                    Status::bad_request(format!("unable to parse requirement: {error}"))
                })?;
                (!selector.is_empty()).then_some(selector)
            }
        };
        let fields = match query.non_empty("fieldSelector") {
            None => None,
            Some(text) => {
                let selector = FieldSelector::parse(text)
                    .map_err(|error| Status::bad_request(error.to_string()))?;
                Some(selector)
            }
        };
        let mut filter = Filter {
            resource,
            labels,
            fields,
            deep: false,
        };
        filter.check_fields()?;
        Ok(filter)
    }

    /// Refuses fields that the resource cannot be selected by.
    fn check_fields(&mut self) -> Result<(), Status> {
        let Some(selector) = &self.fields else {
            return Ok(());
        };
        let known = strategy::of(self.resource).selectable_fields(&Value::Null);
        for requirement in selector.requirements() {
            let path: &str = &requirement.path;
            if path == "metadata.name" || path == "metadata.namespace" {
                continue;
            }
            self.deep = true;
            if !known.iter().any(|(field, _)| *field == path) {
                return Err(Status::bad_request(format!(
                    "field label not supported: {path}"
                )));
            }
        }
        Ok(())
    }

    /// True when every object passes.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
    }

    /// Reads what this filter needs; frames keep the answer for the other watchers, so it is read in full there.
    pub(crate) fn read(&self, value: &[u8]) -> Attributes {
        Attributes::read(self.resource, value, self.deep)
    }

    /// As [`Filter::read`], but always with the selectable fields: shared among watchers with other selectors.
    pub(crate) fn read_all(&self, value: &[u8]) -> Attributes {
        Attributes::read(self.resource, value, true)
    }

    pub(crate) fn matches(&self, attributes: &Attributes) -> bool {
        self.labels
            .as_ref()
            .is_none_or(|selector| selector.matches(&*attributes.labels))
            && self.fields.as_ref().is_none_or(|selector| {
                selector.matches(|path| {
                    attributes
                        .fields
                        .iter()
                        .find(|(field, _)| *field == path)
                        .map(|(_, value)| &**value)
                })
            })
    }
}
