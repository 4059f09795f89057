//! Reading and changing raw objects: accessors that answer "empty" for what is missing.

use serde_json::{Map, Value, json};

pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Shorthand for the fields that every verb reads.
pub(crate) trait Object {
    /// The value at a path of fields, or null.
    fn at(&self, path: &str) -> &Value;
    /// The text at a path; empty if it is none.
    fn text(&self, path: &str) -> &str;
    /// The number at a path; 0 if it is none.
    fn number(&self, path: &str) -> i64;
    /// The items of the list at a path; none if it is no list.
    fn list(&self, path: &str) -> &[Value];
    fn name(&self) -> &str;
    fn namespace(&self) -> &str;
    fn kind(&self) -> &str;
    fn annotation(&self, key: &str) -> Option<&str>;
    /// A map of texts, sorted by key.
    fn pairs(&self, path: &str) -> Vec<(&str, &str)>;
}

impl Object for Value {
    fn at(&self, path: &str) -> &Value {
        path.split('.').fold(self, |value, field| &value[field])
    }

    fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    fn number(&self, path: &str) -> i64 {
        self.at(path).as_i64().unwrap_or_default()
    }

    fn list(&self, path: &str) -> &[Value] {
        self.at(path).as_array().map_or(&[], Vec::as_slice)
    }

    fn name(&self) -> &str {
        self.text("metadata.name")
    }

    fn namespace(&self) -> &str {
        self.text("metadata.namespace")
    }

    fn kind(&self) -> &str {
        self.text("kind")
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self["metadata"]["annotations"][key].as_str()
    }

    fn pairs(&self, path: &str) -> Vec<(&str, &str)> {
        let mut pairs: Vec<(&str, &str)> = self
            .at(path)
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
            .collect();
        pairs.sort();
        pairs
    }
}

/// The map at a path of fields, made where missing.
pub(crate) fn map_mut<'a>(object: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let mut value = object;
    for field in path {
        if !value.is_object() {
            *value = json!({});
        }
        value = &mut value[*field];
    }
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("made an object above")
}

/// The `spec` that holds a pod: that of the template, or the pod's own.
pub(crate) fn pod_spec(object: &Value) -> &Value {
    match object.kind() {
        "Pod" => &object["spec"],
        "CronJob" => object.at("spec.jobTemplate.spec.template.spec"),
        _ => object.at("spec.template.spec"),
    }
}

/// The labels that select the pods of a workload or a service, as a selector text.
pub(crate) fn pod_selector(object: &Value) -> Option<String> {
    match object.kind() {
        "Service" | "ReplicationController" => {
            let pairs = object.pairs("spec.selector");
            (!pairs.is_empty()).then(|| equalities(&pairs))
        }
        "Pod" => None,
        _ => {
            let selector = object.at("spec.selector");
            selector
                .is_object()
                .then(|| format_label_selector(selector))
        }
    }
}

fn equalities(pairs: &[(&str, &str)]) -> String {
    let parts: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    parts.join(",")
}

/// A `metav1.LabelSelector` as text; `<none>` when it selects nothing in particular.
pub(crate) fn format_label_selector(selector: &Value) -> String {
    let mut parts: Vec<(String, String)> = selector
        .pairs("matchLabels")
        .iter()
        .map(|(key, value)| ((*key).to_owned(), format!("{key}={value}")))
        .collect();
    for expression in selector.list("matchExpressions") {
        let key = expression.text("key");
        let mut values: Vec<&str> = expression
            .list("values")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        values.sort_unstable();
        let values = values.join(",");
        let text = match expression.text("operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => "<error>".to_owned(),
        };
        parts.push((key.to_owned(), text));
    }
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    let texts: Vec<String> = parts.into_iter().map(|(_, text)| text).collect();
    if texts.is_empty() {
        "<none>".to_owned()
    } else {
        texts.join(",")
    }
}

/// Removes what only servers care about before a person reads it.
pub(crate) fn without_managed_fields(mut object: Value) -> Value {
    fn strip(object: &mut Value) {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    }
    if object["metadata"].is_object() {
        strip(&mut object);
    }
    if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
        for item in items.iter_mut().filter(|item| item["metadata"].is_object()) {
            strip(item);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_as_text() {
        let selector = json!({
            "matchLabels": {"b": "1"},
            "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}, {"key": "c", "operator": "DoesNotExist"}],
        });
        assert_eq!(format_label_selector(&selector), "a in (x,y),b=1,!c");
        assert_eq!(format_label_selector(&json!({})), "<none>");
    }
}
