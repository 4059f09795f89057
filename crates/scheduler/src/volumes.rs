//! Before a pod is bound, its volumes are: what was assumed is written, then the controller of volumes is waited for.
//!
//! A write names the resourceVersion that the decision was made from, so it fails when somebody else was faster. Waiting costs
//! nothing but a look at what the informers bring; it does not count among the bindings in flight.

use std::time::Duration;

use fluyt_client::kube::{self, Client};
use fluyt_client::rest::{self, PatchType};
use fluyt_scheduler_core::cluster::volumes::{Progress, Provision, StaticBinding};
use fluyt_scheduler_core::core::{Core, Decision};
use fluyt_scheduler_core::objects::Text;
use fluyt_scheduler_core::queue::Place;
use fluyt_scheduler_core::storage::{BOUND_BY_CONTROLLER, SELECTED_NODE};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::bindings::{self, Failure};

/// What the writes for one pod came to.
pub struct Written {
    pub decision: Decision,
    pub outcome: Result<(), Failure>,
}

/// Writes in a task of its own; the answer goes to `answers`, which has room for all that can be in flight.
pub fn write(client: &Client, mut decision: Decision, answers: &mpsc::Sender<Written>) {
    let (client, answers) = (client.clone(), answers.clone());
    tokio::spawn(async move {
        let outcome = write_all(&client, &mut decision).await;
        let written = Written {
            decision,
            outcome: outcome.map_err(|error| bindings::classify(&error)),
        };
        // Nobody listens any more when the scheduler stops.
        let _ = answers.send(written).await;
    });
}

async fn write_all(client: &Client, decision: &mut Decision) -> Result<(), kube::Error> {
    let Some(bindings) = decision.volumes.as_mut() else {
        return Ok(());
    };
    for binding in &mut bindings.volumes {
        if !binding.written {
            let path = rest::path("", "v1", "", "persistentvolumes", &binding.volume);
            let version = patch(client, &path, &give(binding)).await?;
            binding.resource_version = version;
            binding.written = true;
        }
    }
    for provision in &mut bindings.claims {
        let plural = "persistentvolumeclaims";
        let path = rest::path("", "v1", &bindings.namespace, plural, &provision.claim);
        let version = patch(client, &path, &select(provision, &decision.node)).await?;
        provision.resource_version = version;
    }
    Ok(())
}

/// Gives a volume to a claim.
fn give(binding: &StaticBinding) -> Value {
    let mut metadata = json!({"resourceVersion": binding.resource_version});
    if binding.by_controller {
        metadata["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
    }
    let claim = &binding.claim;
    json!({"metadata": metadata, "spec": {"claimRef": {
        "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": claim.namespace, "name": claim.name,
        "uid": claim.uid, "resourceVersion": binding.claim_resource_version}}})
}

/// Hands a claim over to its provisioner.
fn select(provision: &Provision, node: &str) -> Value {
    json!({"metadata": {"resourceVersion": provision.resource_version, "annotations": {SELECTED_NODE: node}}})
}

async fn patch(client: &Client, path: &str, body: &Value) -> Result<Text, kube::Error> {
    #[derive(Deserialize)]
    struct Answer {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        resource_version: Text,
    }
    let answer: Answer = rest::patch(client, path, PatchType::Merge, body).await?;
    Ok(answer.metadata.resource_version)
}

/// Pods whose volumes are being bound.
#[derive(Default)]
pub struct Waiting {
    pods: Vec<(Decision, Duration)>,
    /// Something came that may have changed how far they are.
    stale: bool,
}

/// What became of a pod that waited.
pub enum Next {
    Bind(Decision),
    Failed(Decision, String),
}

impl Waiting {
    /// `until`: when it is given up.
    pub fn push(&mut self, decision: Decision, until: Duration) {
        self.pods.push((decision, until));
        self.stale = true;
    }

    pub fn look_again(&mut self) {
        self.stale = true;
    }

    /// When the next of them is given up.
    pub fn due(&self) -> Option<Duration> {
        self.pods.iter().map(|(_, until)| *until).min()
    }

    /// Those that wait no more; at most `room` of them can be bound now.
    pub fn take(&mut self, core: &Core, room: usize, now: Duration) -> Vec<Next> {
        if self.pods.is_empty() || !(self.stale || self.due().is_some_and(|due| due <= now)) {
            return Vec::new();
        }
        let (mut next, mut kept, mut room) = (Vec::new(), Vec::new(), room);
        self.stale = false;
        for (decision, until) in std::mem::take(&mut self.pods) {
            match progress(core, &decision) {
                Progress::Bound if room == 0 => {
                    self.stale = true;
                    kept.push((decision, until));
                }
                Progress::Bound => {
                    room -= 1;
                    next.push(Next::Bind(decision));
                }
                Progress::Failed(why) => next.push(Next::Failed(decision, why)),
                Progress::Waiting if until <= now => {
                    next.push(Next::Failed(
                        decision,
                        "context deadline exceeded".to_owned(),
                    ));
                }
                Progress::Waiting => kept.push((decision, until)),
            }
        }
        self.pods = kept;
        next
    }
}

fn progress(core: &Core, decision: &Decision) -> Progress {
    let key = decision.pod.key();
    let cluster = core.cluster();
    let id = cluster.pod_id(&key);
    let known = id.is_some_and(|id| cluster.pod(id).uid == decision.pod.uid);
    if !known || core.place_of(&key) != Some(&Place::InFlight) {
        let why = format!(
            "pod does not exist any more: pod \"{}\" not found",
            decision.pod.name
        );
        return Progress::Failed(why);
    }
    match &decision.volumes {
        Some(bindings) => core.volume_progress(bindings, &decision.node),
        None => Progress::Bound,
    }
}
