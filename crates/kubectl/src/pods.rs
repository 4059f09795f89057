//! From what a user names to a pod and a container in it: `deployment/web` means one of its pods, and a
//! pod of several containers has a default one.

use crate::context::Context;
use crate::failure::Failure;
use crate::object::{Object, format_label_selector, pod_selector};
use crate::output;
use crate::rest::Call;
use crate::selection::{Reference, SelectorFlags, list_all};
use crate::text::goquote::quote;
use serde_json::Value;
use std::time::Duration;

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The object that `pod`, `TYPE/NAME` means; a bare word is a pod.
pub(crate) async fn find(context: &Context, word: &str) -> Result<Reference, Failure> {
    let (kind, name) = word.split_once('/').unwrap_or(("pods", word));
    let mapping = context
        .mapper()
        .resource(context.rest().await?, kind)
        .await?;
    let namespace = mapping
        .namespaced
        .then(|| context.namespace())
        .transpose()?;
    let reference = Reference {
        mapping,
        namespace,
        name: name.to_owned(),
        value: Value::Null,
        source: None,
    };
    crate::selection::fetch_one(context, reference).await
}

/// The pods that an object stands for: itself, or those it selects, the best first.
pub(crate) async fn pods_of(
    context: &Context,
    reference: &Reference,
) -> Result<Vec<Reference>, Failure> {
    if reference.mapping.plural == "pods" {
        return Ok(vec![reference.clone()]);
    }
    let selector = match pod_selector(&reference.value) {
        Some(selector) if selector != "<none>" => selector,
        _ if reference.value.kind() == "Service" => {
            return Err(Failure::message(format!(
                "invalid service '{}': Service is defined without a selector",
                reference.name
            )));
        }
        _ if reference.value.kind() == "Job" => {
            format_label_selector(reference.value.at("spec.selector"))
        }
        _ => {
            return Err(Failure::message(format!(
                "cannot attach to {}: selector for {} not implemented",
                reference.display(),
                reference.mapping.kind
            )));
        }
    };
    let pods = context.mapper().well_known("pods");
    let selectors = SelectorFlags {
        selector: Some(selector),
        ..SelectorFlags::default()
    };
    let mut found = list_all(context, &pods, reference.namespace.as_deref(), &selectors).await?;
    found.sort_by_key(|pod| rank(&pod.value));
    Ok(found)
}

/// Assigned, running, ready pods come first, then the older ones.
fn rank(pod: &Value) -> (bool, u8, bool, String) {
    let phase = match pod.text("status.phase") {
        "Running" => 0,
        "Pending" => 2,
        _ => 1,
    };
    let ready = pod
        .list("status.conditions")
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    (
        pod.text("spec.nodeName").is_empty(),
        phase,
        !ready,
        pod.text("metadata.creationTimestamp").to_owned(),
    )
}

/// One pod of what a user named, waiting up to `timeout` for it to exist.
pub(crate) async fn first_pod(
    context: &Context,
    word: &str,
    timeout: Duration,
) -> Result<Reference, Failure> {
    let reference = find(context, word).await?;
    let found = tokio::time::timeout(timeout, async {
        let mut pause = Duration::from_millis(100);
        loop {
            let pods = pods_of(context, &reference).await?;
            if let Some(pod) = pods.into_iter().next() {
                return Ok(pod);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    })
    .await;
    found.unwrap_or_else(|_| Err(Failure::message("timed out waiting for the condition")))
}

/// The container that is meant: the named one, the annotated one, or the first; a guess among several is
/// told on standard error.
pub(crate) fn container(pod: &Value, wanted: Option<&str>, quiet: bool) -> Result<String, Failure> {
    let names = all_containers(pod);
    if let Some(wanted) = wanted.filter(|name| !name.is_empty()) {
        if names.iter().any(|(name, _)| name == wanted) {
            return Ok(wanted.to_owned());
        }
        return Err(Failure::message(format!(
            "container {wanted} is not valid for pod {} out of: {}",
            pod.name(),
            listed(&names)
        )));
    }
    if let Some(default) = pod.annotation(DEFAULT_CONTAINER) {
        if names.iter().any(|(name, _)| name == default) {
            return Ok(default.to_owned());
        }
        output::error_line(format!(
            "Default container name {} not found in pod {}",
            quote(default),
            pod.name()
        ));
    }
    let Some((first, _)) = names.first() else {
        return Err(Failure::message(format!(
            "pod {} has no containers",
            pod.name()
        )));
    };
    if names.len() > 1 && !quiet {
        output::error_line(format!(
            "Defaulted container {} out of: {}",
            quote(first),
            listed(&names)
        ));
    }
    Ok(first.clone())
}

/// The names of all containers with what they are besides ordinary.
pub(crate) fn all_containers(pod: &Value) -> Vec<(String, &'static str)> {
    let mut names = Vec::new();
    for (path, suffix) in [
        ("spec.containers", ""),
        ("spec.initContainers", " (init)"),
        ("spec.ephemeralContainers", " (ephem)"),
    ] {
        for container in pod.list(path) {
            names.push((container.text("name").to_owned(), suffix));
        }
    }
    names
}

fn listed(names: &[(String, &'static str)]) -> String {
    let texts: Vec<String> = names
        .iter()
        .map(|(name, suffix)| format!("{name}{suffix}"))
        .collect();
    texts.join(", ")
}

/// Reads a pod anew.
pub(crate) async fn refresh(context: &Context, pod: &Reference) -> Result<Value, Failure> {
    context.rest().await?.json(&Call::get(pod.path())).await
}

/// Waits until the pod is in one of the phases, following its changes.
pub(crate) async fn wait_for_phase(
    context: &Context,
    pod: &Reference,
    phases: &[&str],
) -> Result<Value, Failure> {
    let rest = context.rest().await?;
    let collection = pod.mapping.collection(pod.namespace.as_deref());
    loop {
        let current = refresh(context, pod).await?;
        if phases.contains(&current.text("status.phase")) {
            return Ok(current);
        }
        let watch = Call::get(&collection)
            .query("fieldSelector", format!("metadata.name={}", pod.name))
            .query("resourceVersion", current.text("metadata.resourceVersion"))
            .query("watch", "true");
        let mut events = rest.lines(&watch).await?;
        while let Some(event) = events.next_json().await {
            if event.text("type") == "ERROR" {
                break;
            }
            if phases.contains(&event.text("object.status.phase")) {
                return Ok(event["object"].clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn which_container() {
        let mut pod = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
        });
        assert_eq!(container(&pod, None, true).unwrap(), "a");
        assert_eq!(container(&pod, Some("i"), true).unwrap(), "i");
        assert_eq!(
            container(&pod, Some("x"), true).unwrap_err().render(),
            "error: container x is not valid for pod p out of: a, b, i (init)"
        );
        pod["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "b"});
        assert_eq!(container(&pod, None, true).unwrap(), "b");
    }
}
