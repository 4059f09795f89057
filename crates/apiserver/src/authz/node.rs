//! What a kubelet may do: what the `system:node` role says, but to objects of its own node alone. Secrets, config
//! maps and claims are readable when a pod of that node refers to them.

use std::sync::Arc;

use fluyt_api::catalogue::Resource;
use serde_json::Value;

use super::{Decision, Question};
use crate::authn::User;
use crate::core::Core;
use crate::stored;

const PODS: (&str, &str, &str) = ("", "v1", "pods");

/// Decides for requests by nodes; everybody else is none of its business.
pub(crate) async fn decide(core: &Arc<Core>, user: &User, question: &Question<'_>) -> Decision {
    let Some(node) = user.node_name() else {
        return Decision::default();
    };
    if question.path.is_none() {
        let verdict = match (question.group, question.resource) {
            ("", "secrets" | "configmaps") => read_referenced(core, node, question).await,
            ("", "persistentvolumeclaims") if question.subresource.is_empty() => {
                read_referenced(core, node, question).await
            }
            ("", "serviceaccounts") if question.subresource == "token" => {
                token_of_own_pod(core, node, question).await
            }
            ("coordination.k8s.io", "leases") => Some(own_lease(node, question)),
            ("storage.k8s.io", "csinodes") => Some(own_name(node, question)),
            _ => None,
        };
        if let Some(allowed) = verdict {
            return allowed;
        }
    }
    match core.authorizer.rbac.role("", "system:node") {
        Some(rules) if rules.iter().any(|rule| rule.allows(question)) => {
            Decision::allow(String::new())
        }
        _ => Decision::default(),
    }
}

fn refuse(reason: String) -> Option<Decision> {
    Some(Decision {
        allowed: false,
        reason,
    })
}

fn own_name(node: &str, question: &Question<'_>) -> Decision {
    let creates = question.verb == "create" && question.name.is_empty();
    if question.name == node || creates {
        return Decision::allow(String::new());
    }
    Decision {
        allowed: false,
        reason: "can only access CSINode with the same name as the requesting node".to_owned(),
    }
}

fn own_lease(node: &str, question: &Question<'_>) -> Decision {
    let in_place = question.namespace == "kube-node-lease";
    let creates = question.verb == "create" && question.name.is_empty();
    if in_place && (question.name == node || creates) {
        return Decision::allow(String::new());
    }
    Decision {
        allowed: false,
        reason: "can only access node lease with the same name as the requesting node".to_owned(),
    }
}

async fn read_referenced(
    core: &Arc<Core>,
    node: &str,
    question: &Question<'_>,
) -> Option<Decision> {
    if !matches!(question.verb, "get" | "list" | "watch") {
        return refuse(format!(
            "can only read resources of this type, not {}",
            question.verb
        ));
    }
    if question.name.is_empty() || question.namespace.is_empty() {
        return refuse("No Object name found".to_owned());
    }
    let refers = |pod: &Value| refers(pod, question.resource, question.name);
    if any_pod(core, node, question.namespace, refers).await {
        return Some(Decision::allow(String::new()));
    }
    refuse(format!(
        "no relationship found between node '{node}' and this object"
    ))
}

async fn token_of_own_pod(
    core: &Arc<Core>,
    node: &str,
    question: &Question<'_>,
) -> Option<Decision> {
    let uses = |pod: &Value| pod["spec"]["serviceAccountName"] == question.name;
    if question.verb == "create" && any_pod(core, node, question.namespace, uses).await {
        return Some(Decision::allow(String::new()));
    }
    refuse(format!(
        "no relationship found between node '{node}' and this object"
    ))
}

/// Whether a pod of the node in this namespace satisfies `test`. Pods are found by the bytes of their node's name
/// before anything is decoded.
async fn any_pod(
    core: &Arc<Core>,
    node: &str,
    namespace: &str,
    test: impl Fn(&Value) -> bool,
) -> bool {
    let pods: &Resource = stored::builtin(PODS);
    let prefix = stored::prefix(pods, namespace);
    let Ok(page) = stored::range(&*core.store, &prefix, None, None, 0).await else {
        return false;
    };
    let needle = format!("\"nodeName\":\"{node}\"");
    let finder = memchr::memmem::Finder::new(needle.as_bytes());
    page.entries
        .iter()
        .filter(|entry| finder.find(&entry.value).is_some())
        .filter_map(|entry| serde_json::from_slice::<Value>(&entry.value).ok())
        .any(|pod| pod["spec"]["nodeName"] == node && test(&pod))
}

/// Whether a pod refers to a secret, config map or claim by name.
fn refers(pod: &Value, resource: &str, name: &str) -> bool {
    let spec = &pod["spec"];
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    for volume in volumes {
        let direct = match resource {
            "secrets" => &volume["secret"]["secretName"],
            "configmaps" => &volume["configMap"]["name"],
            _ => &volume["persistentVolumeClaim"]["claimName"],
        };
        if direct == name || projects(volume, resource, name) {
            return true;
        }
        // Volume plugins name their secrets in a secretRef.
        let by_plugin = resource == "secrets"
            && volume.as_object().is_some_and(|sources| {
                sources.values().any(|source| {
                    source["secretRef"]["name"] == name
                        || source["nodePublishSecretRef"]["name"] == name
                })
            });
        if by_plugin {
            return true;
        }
    }
    let pulls = spec["imagePullSecrets"].as_array().into_iter().flatten();
    if resource == "secrets" && pulls.into_iter().any(|secret| secret["name"] == name) {
        return true;
    }
    ["containers", "initContainers", "ephemeralContainers"]
        .iter()
        .flat_map(|list| spec[*list].as_array().into_iter().flatten())
        .any(|container| container_refers(container, resource, name))
}

fn projects(volume: &Value, resource: &str, name: &str) -> bool {
    let field = match resource {
        "secrets" => "secret",
        "configmaps" => "configMap",
        _ => return false,
    };
    volume["projected"]["sources"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|source| source[field]["name"] == name)
}

fn container_refers(container: &Value, resource: &str, name: &str) -> bool {
    let (from, key) = match resource {
        "secrets" => ("secretRef", "secretKeyRef"),
        "configmaps" => ("configMapRef", "configMapKeyRef"),
        _ => return false,
    };
    let env_from = container["envFrom"].as_array().into_iter().flatten();
    let env = container["env"].as_array().into_iter().flatten();
    env_from
        .into_iter()
        .any(|source| source[from]["name"] == name)
        || env
            .into_iter()
            .any(|variable| variable["valueFrom"][key]["name"] == name)
}
