//! What the server adds to new pods: an account and its token, a priority, patience with failing
//! nodes.

use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use serde_json::{Value, json};

use super::forbidden;
use crate::ctx::Ctx;
use crate::get::{Get, Put};
use crate::meta;

const MIRROR: &str = "kubernetes.io/config.mirror";
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const TOKEN_VOLUME: &str = "kube-api-access-";
const TOKEN_SECONDS: i64 = 3607;

/// Priorities of what the cluster and each node cannot do without.
pub const SYSTEM_CLUSTER_CRITICAL: (&str, i64) = ("system-cluster-critical", 2_000_000_000);
pub const SYSTEM_NODE_CRITICAL: (&str, i64) = ("system-node-critical", 2_000_001_000);

/// Evicts five minutes after a node fails, unless the pod says otherwise.
pub fn default_tolerations(pod: &mut Value) {
    const SECONDS: i64 = 300;
    let spec = pod.open("spec");
    let mut tolerations = spec.items("tolerations").to_vec();
    let before = tolerations.len();
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = tolerations[..before].iter().any(|toleration| {
            let own = toleration.text("key");
            (own.is_empty() || own == key) && matches!(toleration.text("effect"), "" | "NoExecute")
        });
        if !tolerated {
            tolerations.push(
                json!({"key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": SECONDS}),
            );
        }
    }
    if tolerations.len() > before {
        spec.put("tolerations", tolerations);
    }
}

fn is_mirror(pod: &Value) -> bool {
    meta::of(pod).at("annotations").has(MIRROR)
}

/// The account of a pod that names none. The API server then fetches that account for
/// [`service_account`]. Mirror pods have none: `None`.
pub fn default_service_account(pod: &mut Value) -> Option<String> {
    if is_mirror(pod) {
        return None;
    }
    let spec = pod.open("spec");
    if spec.text("serviceAccountName").is_empty() {
        spec.put("serviceAccountName", "default");
    }
    let name = spec.text("serviceAccountName").to_owned();
    spec.put("serviceAccount", name.as_str());
    Some(name)
}

/// Gives a pod its account's token and image secrets; `account` is `None` when it does not exist.
pub fn service_account(
    resource: &Resource,
    pod: &mut Value,
    account: Option<&Value>,
    ctx: &Ctx,
) -> Result<(), Status> {
    if is_mirror(pod) {
        return check_mirror(resource, pod);
    }
    let name = pod.at("spec").text("serviceAccountName").to_owned();
    let Some(account) = account else {
        let why = format!(
            "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
            ctx.namespace
        );
        return Err(forbidden(resource, pod, why));
    };
    let mount = pod
        .at("spec")
        .flag("automountServiceAccountToken")
        .or_else(|| account.flag("automountServiceAccountToken"))
        .unwrap_or(true);
    let spec = pod.open("spec");
    if mount {
        mount_token(spec, ctx);
    }
    if spec.items("imagePullSecrets").is_empty() && !account.items("imagePullSecrets").is_empty() {
        spec.put(
            "imagePullSecrets",
            account.items("imagePullSecrets").to_vec(),
        );
    }
    Ok(())
}

fn check_mirror(resource: &Resource, pod: &Value) -> Result<(), Status> {
    let spec = pod.at("spec");
    if !spec.text("serviceAccountName").is_empty() {
        let why = "a mirror pod may not reference service accounts";
        return Err(forbidden(resource, pod, why));
    }
    let volumes = spec.items("volumes");
    if volumes.iter().any(|volume| volume.has("secret")) {
        return Err(forbidden(
            resource,
            pod,
            "a mirror pod may not reference secrets",
        ));
    }
    let projects_token = volumes.iter().any(|volume| {
        let sources = volume.at("projected").items("sources");
        sources
            .iter()
            .any(|source| source.has("serviceAccountToken"))
    });
    if projects_token {
        let why = "a mirror pod may not use ServiceAccountToken volume projections";
        return Err(forbidden(resource, pod, why));
    }
    Ok(())
}

fn mount_token(spec: &mut Value, ctx: &Ctx) {
    let existing = spec
        .items("volumes")
        .iter()
        .map(|volume| volume.text("name"))
        .find(|name| name.starts_with(TOKEN_VOLUME))
        .map(str::to_owned);
    let volume = existing
        .clone()
        .unwrap_or_else(|| format!("{TOKEN_VOLUME}{}", ctx.suffix(1)));
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in spec.items_mut(list) {
            let mut mounts = container.items("volumeMounts").to_vec();
            if mounts
                .iter()
                .any(|mount| mount.text("mountPath") == TOKEN_PATH)
            {
                continue;
            }
            mounts.push(json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH}));
            container.put("volumeMounts", mounts);
            used = true;
        }
    }
    if used && existing.is_none() {
        let mut volumes = spec.items("volumes").to_vec();
        volumes.push(token_volume(&volume));
        spec.put("volumes", volumes);
    }
}

/// The token, the cluster's certificate and the namespace, as files.
fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt",
            "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

/// Resolves a pod's priority class. `class` finds a class by name; `default` is the one marked as
/// the cluster's default, if any.
pub fn priority<'a>(
    resource: &Resource,
    pod: &mut Value,
    class: impl FnOnce(&str) -> Option<&'a Value>,
    default: Option<&'a Value>,
) -> Result<(), Status> {
    let name = pod.at("spec").text("priorityClassName").to_owned();
    let found = if name.is_empty() {
        default
    } else {
        match class(&name) {
            Some(found) => Some(found),
            None => {
                let why = format!("no PriorityClass with name {name} was found");
                return Err(forbidden(resource, pod, why));
            }
        }
    };
    let value = found.and_then(|class| class.int("value")).unwrap_or(0);
    let preemption = found
        .map(|class| class.text("preemptionPolicy"))
        .filter(|policy| !policy.is_empty())
        .unwrap_or("PreemptLowerPriority");
    let spec = pod.at("spec");
    if let Some(stated) = spec.int("priority").filter(|stated| *stated != value) {
        let why = format!(
            "the integer value of priority ({stated}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        );
        return Err(forbidden(resource, pod, why));
    }
    let stated = spec.text("preemptionPolicy");
    if spec.has("preemptionPolicy") && stated != preemption {
        let why = format!(
            "the string value of PreemptionPolicy ({stated}) must not be provided in pod spec; priority admission controller computed {preemption} from the given PriorityClass name"
        );
        return Err(forbidden(resource, pod, why));
    }
    let spec = pod.open("spec");
    if let Some(found) = found {
        spec.put("priorityClassName", meta::of(found).text("name"));
    }
    spec.put("priority", value);
    spec.put("preemptionPolicy", preemption);
    Ok(())
}

/// The priority classes that every cluster has.
pub fn system_priority_classes() -> [Value; 2] {
    [SYSTEM_CLUSTER_CRITICAL, SYSTEM_NODE_CRITICAL].map(|(name, value)| {
        let what = if name == SYSTEM_NODE_CRITICAL.0 {
            "For pods that their node cannot do without; they stay where they are."
        } else {
            "For pods that the cluster cannot do without, on whichever node."
        };
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name}, "value": value, "description": what,
            "preemptionPolicy": "PreemptLowerPriority"})
    })
}
