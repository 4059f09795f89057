//! Descriptions of single objects: what the verb `describe` prints. One list says which kind has a
//! describer of its own; all others get the generic one. Describers are pure: what they need beyond the
//! object (events, pods, leases) is gathered before, in [`Facts`].

mod access;
mod config;
mod containers;
mod generic;
mod node;
mod parts;
mod pod;
mod policy;
mod service;
mod storage;
mod volumes;
mod workloads;
mod writer;

pub(crate) use access::rule_lines;
pub(crate) use parts::{event_age, taint_text};
pub(crate) use workloads::newest_replica_set;

use crate::context::Context;
use crate::failure::Failure;
use crate::object::{Object, pod_selector};
use crate::rest::Call;
use crate::selection::{Reference, SelectorFlags, list_all};
use serde_json::Value;

/// What a description needs beside the object.
pub(crate) struct Facts {
    now: jiff::Timestamp,
    /// None: not asked for, or not to be had.
    events: Option<Vec<Value>>,
    /// On a node, or of a workload.
    pods: Option<Vec<Value>>,
    replica_sets: Vec<Value>,
    endpoint_slices: Vec<Value>,
    quotas: Option<Vec<Value>>,
    limit_ranges: Option<Vec<Value>>,
    lease: Result<Value, String>,
}

type Describer = fn(&Value, &Facts) -> String;

const RBAC: &str = "rbac.authorization.k8s.io";

/// The kinds with a layout of their own.
const DESCRIBERS: &[(&str, &str, Describer)] = &[
    ("", "Pod", pod::describe),
    ("", "Node", node::describe),
    ("", "Service", service::service),
    ("", "Endpoints", service::endpoints),
    ("", "Namespace", config::namespace),
    ("", "ConfigMap", config::config_map),
    ("", "Secret", config::secret),
    ("", "ServiceAccount", config::service_account),
    ("", "ResourceQuota", config::quota),
    ("", "LimitRange", config::limit_range),
    ("", "ReplicationController", workloads::replica_set),
    ("apps", "Deployment", workloads::deployment),
    ("apps", "ReplicaSet", workloads::replica_set),
    ("apps", "DaemonSet", workloads::daemon_set),
    ("apps", "StatefulSet", workloads::stateful_set),
    ("batch", "Job", workloads::job),
    ("batch", "CronJob", workloads::cron_job),
    ("", "PersistentVolume", storage::volume),
    ("", "PersistentVolumeClaim", storage::claim),
    ("storage.k8s.io", "StorageClass", storage::storage_class),
    ("discovery.k8s.io", "EndpointSlice", service::endpoint_slice),
    ("scheduling.k8s.io", "PriorityClass", policy::priority_class),
    ("policy", "PodDisruptionBudget", policy::disruption_budget),
    (RBAC, "Role", access::role),
    (RBAC, "ClusterRole", access::role),
    (RBAC, "RoleBinding", access::binding),
    (RBAC, "ClusterRoleBinding", access::binding),
];

/// Describes an object that has been read.
pub(crate) async fn describe(
    context: &Context,
    reference: &Reference,
    show_events: bool,
) -> Result<String, Failure> {
    let facts = gather(context, reference, show_events).await?;
    let mapping = &reference.mapping;
    let describer = DESCRIBERS
        .iter()
        .find(|(group, kind, _)| *group == mapping.group && *kind == mapping.kind)
        .map_or(generic::describe as Describer, |(_, _, describer)| {
            *describer
        });
    Ok(describer(&reference.value, &facts))
}

async fn gather(
    context: &Context,
    reference: &Reference,
    show_events: bool,
) -> Result<Facts, Failure> {
    let object = &reference.value;
    let mut facts = Facts {
        now: jiff::Timestamp::now(),
        events: None,
        pods: None,
        replica_sets: Vec::new(),
        endpoint_slices: Vec::new(),
        quotas: None,
        limit_ranges: None,
        lease: Err("not asked for".to_owned()),
    };
    if show_events {
        facts.events = events_of(context, reference).await;
    }
    match (
        reference.mapping.group.as_str(),
        reference.mapping.kind.as_str(),
    ) {
        ("", "Node") => {
            let selector = format!(
                "spec.nodeName={},status.phase!=Failed,status.phase!=Succeeded",
                object.name()
            );
            facts.pods = list(context, "pods", None, None, Some(selector)).await;
            facts.lease = lease_of(context, object.name()).await;
        }
        ("", "Namespace") => {
            facts.quotas = list(context, "resourcequotas", Some(object.name()), None, None).await;
            facts.limit_ranges =
                list(context, "limitranges", Some(object.name()), None, None).await;
        }
        ("", "Service") => {
            let selector = format!("kubernetes.io/service-name={}", object.name());
            let slices = list(
                context,
                "endpointslices",
                Some(object.namespace()),
                Some(selector),
                None,
            )
            .await;
            facts.endpoint_slices = slices.unwrap_or_default();
        }
        ("", "PersistentVolumeClaim") => {
            let pods = list(context, "pods", Some(object.namespace()), None, None).await;
            let users = |pod: &Value| storage::uses(pod, object.name());
            facts.pods = pods.map(|pods| pods.into_iter().filter(users).collect());
        }
        ("apps", "Deployment") => {
            let sets = owned(context, "replicasets", object).await;
            facts.replica_sets = sets.unwrap_or_default();
        }
        ("apps", "ReplicaSet" | "DaemonSet" | "StatefulSet") | ("", "ReplicationController") => {
            facts.pods = owned(context, "pods", object).await;
        }
        _ => {}
    }
    Ok(facts)
}

async fn list(
    context: &Context,
    resource: &str,
    namespace: Option<&str>,
    selector: Option<String>,
    field_selector: Option<String>,
) -> Option<Vec<Value>> {
    let mapping = context.mapper().well_known(resource);
    let selectors = SelectorFlags {
        selector,
        field_selector,
        all_namespaces: false,
    };
    let found = list_all(context, &mapping, namespace, &selectors)
        .await
        .ok()?;
    Some(found.into_iter().map(|reference| reference.value).collect())
}

/// The objects that `owner` controls, among those its selector matches.
pub(crate) async fn owned(context: &Context, resource: &str, owner: &Value) -> Option<Vec<Value>> {
    let selector = pod_selector(owner);
    let mut found = list(context, resource, Some(owner.namespace()), selector, None).await?;
    found.retain(|object| {
        object
            .list("metadata.ownerReferences")
            .iter()
            .any(|reference| {
                reference["controller"] == true && reference["uid"] == owner["metadata"]["uid"]
            })
    });
    Some(found)
}

async fn lease_of(context: &Context, node: &str) -> Result<Value, String> {
    let mapping = context.mapper().well_known("leases");
    let path = mapping.path(Some("kube-node-lease"), node);
    let rest = context.rest().await.map_err(|failure| failure.text())?;
    rest.json(&Call::get(path))
        .await
        .map_err(|failure| failure.text())
}

/// Events name an object by its uid; those about nodes come from kubelets that use the name for it.
async fn events_of(context: &Context, reference: &Reference) -> Option<Vec<Value>> {
    let object = &reference.value;
    let mapping = &reference.mapping;
    let mirror = object.annotation("kubernetes.io/config.mirror");
    let mut uids = vec![mirror.unwrap_or(object.text("metadata.uid"))];
    if mapping.kind == "Node" && mapping.group.is_empty() {
        uids.push(object.name());
    }
    let mut found = Vec::new();
    for uid in uids {
        let mut selector = format!(
            "involvedObject.name={},involvedObject.uid={uid}",
            object.name()
        );
        if mapping.kind != "Pod" {
            selector.push_str(&format!(",involvedObject.kind={}", mapping.kind));
        }
        if mapping.namespaced {
            selector.push_str(&format!(",involvedObject.namespace={}", object.namespace()));
        }
        let namespace = mapping.namespaced.then(|| object.namespace());
        found.extend(list(context, "events", namespace, None, Some(selector)).await?);
    }
    Some(found)
}

/// A pod template on its own.
pub(crate) fn template_text(template: &Value) -> String {
    let mut w = writer::Writer::default();
    pod::template(&mut w, template);
    w.finish()
}
