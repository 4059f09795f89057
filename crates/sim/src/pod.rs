//! What a simulated node sees of a pod, and what it reports. Pure.

use std::net::Ipv4Addr;
use std::time::Duration;

use fluyt_client::ObjectMeta;
use fluyt_client::informer::Slim;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::node::{address, time};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: Spec,
    pub(crate) status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) node_name: String,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    image: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    phase: String,
}

impl Slim for Pod {
    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
}

/// What is to be done about a pod on one of our nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    Start,
    /// Its containers have until then at most.
    Stop {
        grace: Duration,
    },
}

impl Pod {
    pub(crate) fn next(&self) -> Next {
        if self.metadata.deletion_timestamp.is_some() {
            let grace = self.metadata.deletion_grace_period_seconds.unwrap_or(0);
            return Next::Stop {
                grace: Duration::from_secs(u64::try_from(grace).unwrap_or(0)),
            };
        }
        match self.status.phase.as_str() {
            "" | "Pending" => Next::Start,
            _ => Next::Nothing,
        }
    }

    pub(crate) fn path(&self) -> String {
        format!(
            "/api/v1/namespaces/{}/pods/{}",
            self.metadata.namespace, self.metadata.name
        )
    }

    /// All that a kubelet would say until the pod runs, in one strategic merge patch. The uid
    /// keeps it off a later pod of the same name.
    pub(crate) fn running(&self, node: usize, ip: Ipv4Addr, now: Timestamp) -> Value {
        let (host, ip, at) = (address(node).to_string(), ip.to_string(), time(now));
        let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": at });
        let kinds = [
            "PodReadyToStartContainers",
            "Initialized",
            "ContainersReady",
            "Ready",
        ];
        let statuses =
            |containers: &[Container], state: &dyn Fn(&str) -> Value, running: bool| -> Value {
                containers
                    .iter()
                    .map(|one| self.container(one, state, running))
                    .collect()
            };
        let run = |_: &str| json!({ "running": { "startedAt": at } });
        let end = |id: &str| {
            json!({ "terminated": {
                "exitCode": 0, "reason": "Completed", "startedAt": at, "finishedAt": at, "containerID": id,
            } })
        };
        let mut status = json!({
            "phase": "Running",
            "hostIP": host,
            "hostIPs": [{ "ip": host }],
            "podIP": ip,
            "podIPs": [{ "ip": ip }],
            "startTime": at,
            "conditions": kinds.map(condition),
            "containerStatuses": statuses(&self.spec.containers, &run, true),
        });
        if !self.spec.init_containers.is_empty() {
            status["initContainerStatuses"] = statuses(&self.spec.init_containers, &end, false);
        }
        json!({ "metadata": { "uid": self.metadata.uid }, "status": status })
    }

    fn container(
        &self,
        container: &Container,
        state: &dyn Fn(&str) -> Value,
        running: bool,
    ) -> Value {
        let id = format!("simulated://{}/{}", self.metadata.uid, container.name);
        json!({
            "name": container.name,
            "image": container.image,
            "imageID": format!("simulated://{}", container.image),
            "containerID": id,
            "ready": true,
            "started": running,
            "restartCount": 0,
            "state": state(&id),
        })
    }

    /// The body of the DELETE that ends it.
    pub(crate) fn gone(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": { "uid": self.metadata.uid },
        })
    }
}

/// The address of pod `number`, counted from 1, from 10.64.0.0/10.
pub(crate) fn pod_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a40_0000 | number & 0x003f_ffff)
}
