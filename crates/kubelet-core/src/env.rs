//! A container's environment: references followed, `$(NAME)` expanded.

use crate::api::{Container, EnvVar, Pod};
use crate::fields::{Facts, FieldError, field, resource};
use crate::model::{find_container, namespace};
use std::collections::BTreeMap;

/// The contents of the config maps and secrets that a container refers to, by name;
/// `None` for one that does not exist.
#[derive(Clone, Debug, Default)]
pub struct References {
    pub config_maps: BTreeMap<String, Option<BTreeMap<String, String>>>,
    pub secrets: BTreeMap<String, Option<BTreeMap<String, String>>>,
}

/// Why an environment cannot be built; the container waits with CreateContainerConfigError.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum EnvError {
    #[error("configmap \"{0}\" not found")]
    ConfigMap(String),
    #[error("secret \"{0}\" not found")]
    Secret(String),
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    Key {
        kind: &'static str,
        namespace: String,
        name: String,
        key: String,
    },
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// Variables in the order in which they were first named; the last value wins.
#[derive(Debug, Default)]
struct Variables {
    list: Vec<(String, String)>,
}

impl Variables {
    fn set(&mut self, name: &str, value: String) {
        match self.list.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.list.push((name.to_owned(), value)),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.list
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The environment of a container. `services` are the variables about services, which
/// yield to everything that the pod says itself.
pub fn build(
    pod: &Pod,
    container: &Container,
    references: &References,
    facts: &Facts,
    services: &[(String, String)],
) -> Result<Vec<(String, String)>, EnvError> {
    let mut variables = Variables::default();
    add_sources(container, references, &mut variables)?;
    let known: BTreeMap<&str, &str> = services
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    for variable in container.env.iter().flatten() {
        let value = match &variable.value {
            Some(value) if !value.is_empty() => expand(value, |name| {
                variables.get(name).or_else(|| known.get(name).copied())
            }),
            _ => match follow(pod, container, variable, references, facts)? {
                Some(value) => value,
                None => continue,
            },
        };
        variables.set(&variable.name, value);
    }
    for (name, value) in services {
        if variables.get(name).is_none() {
            variables.set(name, value.clone());
        }
    }
    Ok(variables.list)
}

/// Whole config maps and secrets.
fn add_sources(
    container: &Container,
    references: &References,
    into: &mut Variables,
) -> Result<(), EnvError> {
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let content = if let Some(reference) = &source.config_map_ref {
            let found = references
                .config_maps
                .get(&reference.name)
                .and_then(Option::as_ref);
            if found.is_none() && reference.optional != Some(true) {
                return Err(EnvError::ConfigMap(reference.name.clone()));
            }
            found
        } else if let Some(reference) = &source.secret_ref {
            let found = references
                .secrets
                .get(&reference.name)
                .and_then(Option::as_ref);
            if found.is_none() && reference.optional != Some(true) {
                return Err(EnvError::Secret(reference.name.clone()));
            }
            found
        } else {
            None
        };
        for (key, value) in content.into_iter().flatten() {
            into.set(&format!("{prefix}{key}"), value.clone());
        }
    }
    Ok(())
}

/// The value behind `valueFrom`; `None` when it is optional and missing.
fn follow(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    references: &References,
    facts: &Facts,
) -> Result<Option<String>, EnvError> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(String::new()));
    };
    if let Some(reference) = &source.field_ref {
        return Ok(Some(field(pod, &reference.field_path, facts)?));
    }
    if let Some(selector) = &source.resource_field_ref {
        let other = match selector.container_name.as_deref() {
            Some(name) if !name.is_empty() && name != container.name => Some(
                find_container(pod, name)
                    .ok_or_else(|| FieldError::Container(name.to_owned()))?
                    .1,
            ),
            _ => None,
        };
        return Ok(Some(resource(
            other.as_ref().unwrap_or(container),
            selector,
            facts,
        )?));
    }
    let (kind, map, selector_name, key, optional) = if let Some(r) = &source.config_map_key_ref {
        (
            "ConfigMap",
            &references.config_maps,
            &r.name,
            &r.key,
            r.optional,
        )
    } else if let Some(r) = &source.secret_key_ref {
        ("Secret", &references.secrets, &r.name, &r.key, r.optional)
    } else {
        return Ok(Some(String::new()));
    };
    let optional = optional == Some(true);
    match map.get(selector_name).and_then(Option::as_ref) {
        None if optional => Ok(None),
        None if kind == "ConfigMap" => Err(EnvError::ConfigMap(selector_name.clone())),
        None => Err(EnvError::Secret(selector_name.clone())),
        Some(content) => match content.get(key) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(EnvError::Key {
                kind,
                namespace: namespace(pod).to_owned(),
                name: selector_name.clone(),
                key: key.clone(),
            }),
        },
    }
}

/// Replaces `$(NAME)` where the name is known; `$$` stands for `$`.
pub fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('$') {
        result.push_str(&rest[..position]);
        rest = &rest[position + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match lookup(name) {
                Some(value) => result.push_str(value),
                None => result.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    result
}

/// A container's command or arguments with the environment's variables expanded.
pub fn expand_all(list: Option<&Vec<String>>, environment: &[(String, String)]) -> Vec<String> {
    let lookup = |name: &str| {
        environment
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    list.into_iter()
        .flatten()
        .map(|text| expand(text, lookup))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expansion() {
        let lookup = |name: &str| match name {
            "A" => Some("1"),
            "EMPTY" => Some(""),
            _ => None,
        };
        let table = [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$(EMPTY)|", "|"),
            ("$A $ $(A", "$A $ $(A"),
            ("ü$(A)", "ü1"),
            ("end$", "end$"),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }

    fn build_from(
        container: serde_json::Value,
        references: &References,
    ) -> Result<Vec<(String, String)>, EnvError> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": []}}))
        .unwrap();
        let container = serde_json::from_value(container).unwrap();
        build(
            &pod,
            &container,
            references,
            &Facts::default(),
            &[("SVC".into(), "s".into())],
        )
    }

    fn references() -> References {
        let content = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        References {
            config_maps: BTreeMap::from([
                ("c".to_owned(), Some(content.clone())),
                ("gone".to_owned(), None),
            ]),
            secrets: BTreeMap::from([("s".to_owned(), Some(content))]),
        }
    }

    #[test]
    fn later_variables_see_earlier_ones() {
        let built = build_from(
            json!({"name": "a", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}],
                "env": [{"name": "A", "value": "$(P_k)-$(SVC)"}, {"name": "B", "value": "$(A)!"}]}),
            &references(),
        )
        .unwrap();
        let expected = [("P_k", "v"), ("A", "v-s"), ("B", "v-s!"), ("SVC", "s")];
        assert_eq!(built, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn missing_references_are_named() {
        let table = [
            (
                json!({"configMapKeyRef": {"name": "gone", "key": "k"}}),
                "configmap \"gone\" not found",
            ),
            (
                json!({"secretKeyRef": {"name": "none", "key": "k"}}),
                "secret \"none\" not found",
            ),
            (
                json!({"configMapKeyRef": {"name": "c", "key": "x"}}),
                "couldn't find key x in ConfigMap n/c",
            ),
        ];
        for (source, expected) in table {
            let container = json!({"name": "a", "env": [{"name": "X", "valueFrom": source}]});
            assert_eq!(
                build_from(container, &references())
                    .unwrap_err()
                    .to_string(),
                expected
            );
        }
    }

    #[test]
    fn optional_references_may_be_missing() {
        let container = json!({"name": "a", "envFrom": [{"secretRef": {"name": "none", "optional": true}}],
            "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "k", "optional": true}}}]});
        assert_eq!(
            build_from(container, &references()).unwrap(),
            [("SVC".to_owned(), "s".to_owned())]
        );
    }
}
