//! Registers the node and keeps its status true: written when it changes, when somebody
//! else changed it, and every five minutes.

use super::machine::{Machine, architecture};
use crate::context::Context;
use crate::settings::Settings;
use fluyt_client::events::rfc3339;
use fluyt_client::rest::{self, PatchType};
use fluyt_cri::{ListImagesRequest, StatusRequest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Without a change the status is written this often.
const REPORT: Duration = Duration::from_secs(300);
/// Images beyond these are not named in the status.
const MOST_IMAGES: usize = 50;

pub(crate) struct Reporter {
    pub context: Arc<Context>,
    pub machine: Machine,
    /// Notified when the API shows another status than ours.
    pub contradicted: Arc<Notify>,
    pub port: u16,
}

impl Reporter {
    /// Registers, then reports until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        if self.context.settings.register && !self.register(&shutdown).await {
            return;
        }
        self.context
            .node_event(false, "Starting", "Starting kubelet.".to_owned());
        let mut network = self.context.network.subscribe();
        let mut transitions = BTreeMap::new();
        let mut written: Option<(Value, Instant)> = None;
        let mut ready_before: Option<bool> = None;
        loop {
            let (ready, status) = self.status(&mut transitions).await;
            let due = match &written {
                Some((last, at)) => {
                    without_heartbeats(last) != without_heartbeats(&status)
                        || at.elapsed() >= REPORT
                }
                None => true,
            };
            if due {
                match self.write(&status).await {
                    Ok(()) => {
                        written = Some((status, Instant::now()));
                        if ready_before
                            .replace(ready)
                            .is_some_and(|before| before != ready)
                            || (ready && ready_before.is_none())
                        {
                            self.announce(ready);
                        }
                    }
                    Err(error) => tracing::debug!(%error, "cannot write the node's status"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.context.settings.status_frequency) => {}
                Ok(()) = network.changed() => {}
                () = self.contradicted.notified() => written = None,
                () = shutdown.cancelled() => return,
            }
        }
    }

    fn announce(&self, ready: bool) {
        let reason = if ready { "NodeReady" } else { "NodeNotReady" };
        let message = format!(
            "Node {} status is now: {reason}",
            self.context.settings.node_name
        );
        self.context.node_event(false, reason, message);
    }

    /// Creates the node, or takes over the one of our name; false at shutdown.
    async fn register(&self, shutdown: &CancellationToken) -> bool {
        let mut pause = Duration::from_millis(100);
        loop {
            match self.try_register().await {
                Ok(()) => return true,
                Err(error) if fluyt_client::availability::is_transport(&error) => {
                    fluyt_client::availability::away(&error);
                }
                Err(error) => tracing::warn!(%error, "cannot register the node"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return false,
            }
            pause = (pause * 2).min(Duration::from_secs(7));
        }
    }

    async fn try_register(&self) -> Result<(), kube::Error> {
        let settings = &self.context.settings;
        let path = rest::path("", "v1", "", "nodes", "");
        let (_, status) = self.status(&mut BTreeMap::new()).await;
        let mut spec = json!({});
        if !settings.taints.is_empty() {
            let taint = |taint: &crate::settings::Taint| json!({"key": taint.key, "value": taint.value, "effect": taint.effect});
            spec["taints"] = settings.taints.iter().map(taint).collect();
        }
        if let Some(cidr) = &settings.pod_cidr {
            spec["podCIDR"] = json!(cidr);
            spec["podCIDRs"] = json!([cidr]);
        }
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": settings.node_name,
                "labels": labels(&self.context.settings),
                "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            },
            "spec": spec,
            "status": status,
        });
        let registered: Value = match rest::create(&self.context.client, &path, &node).await {
            Ok(created) => created,
            Err(error) if rest::is_already_exists(&error) => {
                let path = format!("{path}/{}", settings.node_name);
                let patch = json!({"metadata": {"labels": labels(&self.context.settings)}});
                rest::patch(&self.context.client, &path, PatchType::Merge, &patch).await?
            }
            Err(error) => return Err(error),
        };
        let uid = registered["metadata"]["uid"].as_str().unwrap_or_default();
        uid.clone_into(&mut self.context.node_uid.write());
        tracing::info!(node = settings.node_name, "registered");
        Ok(())
    }

    async fn write(&self, status: &Value) -> Result<(), kube::Error> {
        let path = format!(
            "{}/status",
            rest::path("", "v1", "", "nodes", &self.context.settings.node_name)
        );
        rest::patch::<Value>(
            &self.context.client,
            &path,
            PatchType::Strategic,
            &json!({"status": status}),
        )
        .await
        .map(drop)
    }

    /// The status, and whether it says Ready.
    async fn status(
        &self,
        transitions: &mut BTreeMap<&'static str, (String, String)>,
    ) -> (bool, Value) {
        let context = &self.context;
        let settings = &context.settings;
        let mut addresses: Vec<Value> = context
            .host_ips
            .iter()
            .map(|ip| json!({"type": "InternalIP", "address": ip}))
            .collect();
        addresses.push(json!({"type": "Hostname", "address": settings.node_name}));
        let capacity = self.machine.capacity(settings.max_pods);
        let unready = self.why_not_ready().await;
        let conditions = conditions(unready.as_deref(), transitions);
        let status = json!({
            "addresses": addresses,
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": conditions,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "nodeInfo": {
                "machineID": self.machine.machine_id,
                "systemUUID": self.machine.system_uuid,
                "bootID": self.machine.boot_id,
                "kernelVersion": self.machine.kernel,
                "osImage": self.machine.os_image,
                "containerRuntimeVersion": format!("{}://{}", context.runtime_name, context.runtime_version),
                "kubeletVersion": crate::VERSION,
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": architecture(),
            },
            "images": self.images().await,
        });
        (unready.is_none(), status)
    }

    /// What keeps the node from being ready.
    async fn why_not_ready(&self) -> Option<String> {
        match self.context.cri.status(StatusRequest::default()).await {
            Ok(answer) => {
                let conditions = answer
                    .status
                    .map(|status| status.conditions)
                    .unwrap_or_default();
                let bad = conditions.into_iter().find(|condition| !condition.status)?;
                let what = if bad.r#type == "NetworkReady" {
                    "container runtime network not ready"
                } else {
                    "container runtime not ready"
                };
                Some(format!(
                    "{what}: {}=false reason:{} message:{}",
                    bad.r#type, bad.reason, bad.message
                ))
            }
            Err(error) => Some(format!("container runtime is down: {error}")),
        }
    }

    async fn images(&self) -> Vec<Value> {
        let answer = self
            .context
            .cri
            .list_images(ListImagesRequest::default())
            .await;
        let mut images = answer.map(|answer| answer.images).unwrap_or_default();
        images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
        images.truncate(MOST_IMAGES);
        images
            .into_iter()
            .map(|image| {
                let names: Vec<String> = image
                    .repo_digests
                    .into_iter()
                    .chain(image.repo_tags)
                    .collect();
                json!({"names": names, "sizeBytes": image.size})
            })
            .collect()
    }
}

/// The labels that the node registers with.
pub(crate) fn labels(settings: &Settings) -> BTreeMap<String, String> {
    let mut labels = settings.labels.clone();
    for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
        labels.insert(format!("{prefix}/os"), "linux".to_owned());
        labels.insert(format!("{prefix}/arch"), architecture().to_owned());
    }
    labels.insert(
        "kubernetes.io/hostname".to_owned(),
        settings.node_name.clone(),
    );
    labels
}

/// The conditions in upstream's words. A transition's time stays while the status does.
fn conditions(
    unready: Option<&str>,
    transitions: &mut BTreeMap<&'static str, (String, String)>,
) -> Vec<Value> {
    let ready = match unready {
        None => (
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status",
        ),
        Some(message) => ("Ready", "False", "KubeletNotReady", message),
    };
    let table = [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        ready,
    ];
    let now = rfc3339(jiff::Timestamp::now());
    table
        .into_iter()
        .map(|(kind, status, reason, message)| {
            let known = transitions
                .entry(kind)
                .or_insert_with(|| (status.to_owned(), now.clone()));
            if known.0 != status {
                *known = (status.to_owned(), now.clone());
            }
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": now, "lastTransitionTime": known.1,
            })
        })
        .collect()
}

/// A status without the times that change although nothing did.
fn without_heartbeats(status: &Value) -> Value {
    let mut status = status.clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastHeartbeatTime"] = Value::Null;
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_keep_their_transition() {
        let mut transitions = BTreeMap::from([("Ready", ("True".to_owned(), "then".to_owned()))]);
        let same = conditions(None, &mut transitions);
        assert_eq!(same[3]["lastTransitionTime"], "then");
        let other = conditions(Some("why"), &mut transitions);
        assert_eq!(
            (other[3]["status"].as_str(), other[3]["message"].as_str()),
            (Some("False"), Some("why"))
        );
        assert_ne!(other[3]["lastTransitionTime"], "then");
    }
}
