//! The downward API: a pod's own fields and resources as text.

use crate::amount::{ResourceList, milli, value};
use crate::api::{Container, Pod, ResourceFieldSelector};
use std::collections::BTreeMap;

/// What a pod may be told that is not in its own object.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub node_name: String,
    pub host_ips: Vec<String>,
    pub pod_ips: Vec<String>,
    /// What the node offers: the limit of a container that has none.
    pub allocatable: ResourceList,
}

/// A reference that cannot be followed.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum FieldError {
    #[error("unsupported fieldPath: {0}")]
    Unsupported(String),
    #[error("unsupported container resource : {0}")]
    Resource(String),
    #[error("container \"{0}\" not found")]
    Container(String),
}

/// The text of a field of the pod.
pub fn field(pod: &Pod, path: &str, facts: &Facts) -> Result<String, FieldError> {
    let meta = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(FieldError::Unsupported(path.to_owned())),
        };
        return Ok(map
            .and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    let text = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => Some(format_map(meta.labels.as_ref())),
        "metadata.annotations" => Some(format_map(meta.annotations.as_ref())),
        "spec.nodeName" => Some(facts.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" => facts.host_ips.first().cloned(),
        "status.hostIPs" => Some(facts.host_ips.join(",")),
        "status.podIP" => facts.pod_ips.first().cloned(),
        "status.podIPs" => Some(facts.pod_ips.join(",")),
        _ => return Err(FieldError::Unsupported(path.to_owned())),
    };
    Ok(text.unwrap_or_default())
}

/// "metadata.labels['key']" as ("metadata.labels", "key").
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// A map as lines of key="value", sorted.
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", quote(value)))
        .collect();
    lines.join("\n")
}

/// A value in double quotes with the escapes that every reader knows.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The text of a container's request or limit, in units of the divisor, rounded up.
pub fn resource(
    container: &Container,
    selector: &ResourceFieldSelector,
    facts: &Facts,
) -> Result<String, FieldError> {
    let unsupported = || FieldError::Resource(selector.resource.clone());
    let (list, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let resources = container.resources.as_ref();
    let limits = resources.and_then(|r| r.limits.as_ref());
    let requests = resources.and_then(|r| r.requests.as_ref());
    let own = match list {
        "limits" => limits.and_then(|l| l.get(name)),
        "requests" => requests
            .and_then(|l| l.get(name))
            .or_else(|| limits.and_then(|l| l.get(name))),
        _ => return Err(unsupported()),
    };
    let quantity = match own {
        Some(quantity) => Some(quantity),
        None if list == "limits" => facts.allocatable.get(name),
        None => None,
    };
    let Some(quantity) = quantity else {
        return Ok("0".into());
    };
    let divisor = selector.divisor.as_ref();
    let (amount, unit) = match name {
        "cpu" => (milli(quantity), divisor.map_or(1000, milli)),
        "memory" | "ephemeral-storage" => (value(quantity), divisor.map_or(1, value)),
        other if other.starts_with("hugepages-") => (value(quantity), divisor.map_or(1, value)),
        _ => return Err(unsupported()),
    };
    // A divisor of zero is the default divisor.
    let unit = if unit > 0 {
        unit
    } else if name == "cpu" {
        1000
    } else {
        1
    };
    Ok(amount
        .div_euclid(unit)
        .saturating_add(i64::from(amount.rem_euclid(unit) != 0))
        .to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u",
                "labels": {"b": "2", "a": "say \"x\""}},
            "spec": {"serviceAccountName": "default", "containers": []}}))
        .unwrap()
    }

    #[test]
    fn fields_of_the_pod() {
        let facts = Facts {
            node_name: "node1".into(),
            host_ips: vec!["192.168.0.1".into()],
            pod_ips: vec!["10.0.0.1".into(), "fd00::1".into()],
            ..Default::default()
        };
        let table = [
            ("metadata.name", "p"),
            ("metadata.uid", "u"),
            ("metadata.labels['b']", "2"),
            ("metadata.annotations['none']", ""),
            ("metadata.labels", "a=\"say \\\"x\\\"\"\nb=\"2\""),
            ("spec.nodeName", "node1"),
            ("status.podIP", "10.0.0.1"),
            ("status.podIPs", "10.0.0.1,fd00::1"),
            ("status.hostIP", "192.168.0.1"),
        ];
        for (path, expected) in table {
            assert_eq!(
                field(&pod(), path, &facts).as_deref(),
                Ok(expected),
                "{path}"
            );
        }
        assert!(field(&pod(), "spec.nothing", &facts).is_err());
    }

    #[test]
    fn resources_of_a_container() {
        let container: Container = serde_json::from_value(json!({"name": "a", "resources": {
            "limits": {"cpu": "1500m", "memory": "10Mi"}, "requests": {"cpu": "250m"}}}))
        .unwrap();
        let facts = Facts {
            allocatable: serde_json::from_value(json!({"ephemeral-storage": "5"})).unwrap(),
            ..Default::default()
        };
        let table = [
            ("limits.cpu", None, "2"),
            ("limits.cpu", Some("1m"), "1500"),
            ("requests.cpu", None, "1"),
            ("requests.memory", Some("1Mi"), "10"),
            ("limits.memory", None, "10485760"),
            ("limits.ephemeral-storage", None, "5"),
        ];
        for (resource_name, divisor, expected) in table {
            let selector =
                serde_json::from_value(json!({"resource": resource_name, "divisor": divisor}))
                    .unwrap();
            assert_eq!(
                resource(&container, &selector, &facts).as_deref(),
                Ok(expected),
                "{resource_name}"
            );
        }
    }
}
