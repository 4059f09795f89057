//! A manifest as somebody would apply it: a pod, or a workload that makes pods from a template.
//!
//! What the API server would fill in and scheduling reads is filled in here: requests from limits, the scheduler's name, the
//! tolerations of a DaemonSet's pods. Everything else is taken as written.

use serde_json::{Map, Value, json};

use crate::objects::{Pod, Text};
use crate::profile::DEFAULT_SCHEDULER_NAME;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pod,
    /// So many replicas of a template.
    Replicated,
    /// One on every node that its selectors name.
    DaemonSet,
}

#[derive(Clone, Debug)]
pub struct Manifest {
    /// The object's kind as written.
    pub kind: Text,
    pub mode: Kind,
    pub namespace: Text,
    pub name: Text,
    pub replicas: usize,
    pub(super) template: Pod,
}

impl Manifest {
    /// Reads an object. `namespace`: where it goes when it does not say. Errors name kind and field.
    pub fn read(object: &Value, namespace: &str) -> Result<Self, String> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let (mode, template, replicas) = match kind {
            "Pod" => (Kind::Pod, object, 1),
            "Deployment" | "ReplicaSet" | "StatefulSet" | "ReplicationController" => (
                Kind::Replicated,
                &object["spec"]["template"],
                number(object, "replicas")?,
            ),
            "Job" => (
                Kind::Replicated,
                &object["spec"]["template"],
                of_job(object)?,
            ),
            "DaemonSet" => (Kind::DaemonSet, &object["spec"]["template"], 0),
            "" => return Err("kind: missing: the manifest must say what it is".to_owned()),
            other => {
                return Err(format!(
                    "kind: {other:?} makes no pods that could be placed: a Pod, Deployment, ReplicaSet, StatefulSet, \
                     ReplicationController, DaemonSet or Job does"
                ));
            }
        };
        let name = match &object["metadata"]["name"] {
            Value::String(name) => name.as_str(),
            _ => object["metadata"]["generateName"]
                .as_str()
                .unwrap_or("what-if"),
        };
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or(namespace);
        let spec = template["spec"]
            .as_object()
            .filter(|spec| spec.get("containers").is_some_and(Value::is_array))
            .ok_or_else(|| match mode {
                Kind::Pod => format!("{kind} {name}: spec.containers: missing"),
                _ => format!("{kind} {name}: spec.template.spec.containers: missing"),
            })?;
        let pod = json!({
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": template["metadata"]["labels"],
            },
            "spec": completed(spec, mode),
        });
        let template: Pod = serde_json::from_value(pod)
            .map_err(|error| format!("{kind} {name}: the pod cannot be read: {error}"))?;
        Ok(Self {
            kind: kind.into(),
            mode,
            namespace: namespace.into(),
            name: name.into(),
            replicas,
            template,
        })
    }
}

fn number(object: &Value, field: &str) -> Result<usize, String> {
    match &object["spec"][field] {
        Value::Null => Ok(1),
        value => value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| format!("spec.{field}: {value} is not a number of pods")),
    }
}

/// As many as may run at once.
fn of_job(object: &Value) -> Result<usize, String> {
    let parallelism = number(object, "parallelism")?;
    match &object["spec"]["completions"] {
        Value::Null => Ok(parallelism),
        _ => Ok(parallelism.min(number(object, "completions")?)),
    }
}

fn completed(spec: &Map<String, Value>, mode: Kind) -> Value {
    let mut spec = spec.clone();
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        containers
            .into_iter()
            .flatten()
            .for_each(request_what_is_limited);
    }
    if spec
        .get("schedulerName")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        spec.insert("schedulerName".to_owned(), json!(DEFAULT_SCHEDULER_NAME));
    }
    // A question where it would go; who names the node has answered it.
    if mode != Kind::Pod {
        spec.remove("nodeName");
    }
    if mode == Kind::DaemonSet {
        tolerate_as_daemon(&mut spec);
    }
    Value::Object(spec)
}

/// A limit without a request is a request, too.
fn request_what_is_limited(container: &mut Value) {
    let Some(limits) = container["resources"]["limits"].as_object().cloned() else {
        return;
    };
    let resources = &mut container["resources"];
    if !resources["requests"].is_object() {
        resources["requests"] = json!({});
    }
    for (name, amount) in limits {
        if resources["requests"][&name].is_null() {
            resources["requests"][&name] = amount;
        }
    }
}

/// The tolerations that the DaemonSet controller gives to its pods.
fn tolerate_as_daemon(spec: &mut Map<String, Value>) {
    let own_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Some(tolerations) = tolerations.as_array_mut() else {
        return;
    };
    let mut add = |key: &str, effect: &str| {
        let key = format!("node.kubernetes.io/{key}");
        tolerations.push(json!({"key": key, "operator": "Exists", "effect": effect}));
    };
    add("not-ready", "NoExecute");
    add("unreachable", "NoExecute");
    for key in [
        "disk-pressure",
        "memory-pressure",
        "pid-pressure",
        "unschedulable",
    ] {
        add(key, "NoSchedule");
    }
    if own_network {
        add("network-unavailable", "NoSchedule");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_say_how_many() {
        let template = json!({"spec": {"containers": [{"name": "c"}]}});
        for (kind, spec, mode, replicas) in [
            (
                "Deployment",
                json!({"replicas": 7, "template": template}),
                Kind::Replicated,
                7,
            ),
            (
                "StatefulSet",
                json!({"template": template}),
                Kind::Replicated,
                1,
            ),
            (
                "Job",
                json!({"parallelism": 4, "completions": 3, "template": template}),
                Kind::Replicated,
                3,
            ),
            (
                "DaemonSet",
                json!({"template": template}),
                Kind::DaemonSet,
                0,
            ),
        ] {
            let object = json!({"kind": kind, "metadata": {"name": "x"}, "spec": spec});
            let manifest = Manifest::read(&object, "ns").unwrap();
            assert_eq!(
                (manifest.mode, manifest.replicas),
                (mode, replicas),
                "{kind}"
            );
            assert_eq!(manifest.namespace, "ns");
        }
    }

    #[test]
    fn what_is_limited_is_requested() {
        let object = json!({"kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [
            {"name": "c", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}}]}});
        let pod = Manifest::read(&object, "ns").unwrap().template;
        let requests = &pod.spec.containers[0].resources.requests;
        assert_eq!(requests.get("cpu").unwrap(), "1");
        assert_eq!(requests.get("memory").unwrap(), "1Gi");
    }

    #[test]
    fn errors_name_the_field() {
        for (object, expected) in [
            (json!({}), "kind"),
            (json!({"kind": "Service"}), "Service"),
            (
                json!({"kind": "Deployment", "spec": {"replicas": "x"}}),
                "spec.replicas",
            ),
            (
                json!({"kind": "Deployment", "metadata": {"name": "d"}}),
                "spec.template.spec.containers",
            ),
        ] {
            let error = Manifest::read(&object, "ns").unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
