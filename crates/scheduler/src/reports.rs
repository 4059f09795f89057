//! Telling a pod why it is pending: the condition PodScheduled=False and the event FailedScheduling.
//!
//! Both are written when the reason changes; an unchanged reason is repeated as an event every five minutes at most, so that it is
//! still there when events expire. Invariant: what is remembered of a pod was handed to the writer.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use fluyt_client::events::{Recorder, rfc3339};
use fluyt_client::k8s_openapi::api::core::v1::ObjectReference;
use fluyt_client::kube::Client;
use fluyt_client::rest::{self, PatchType};
use fluyt_scheduler_core::core::PodRef;
use fluyt_scheduler_core::objects::Text;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const QUEUE: usize = 16_384;
const PARALLEL: usize = 16;
const REPEAT: Duration = Duration::from_secs(300);
/// events.k8s.io allows notes of this many bytes.
const NOTE_LIMIT: usize = 1024;

/// Why a pod is not scheduled, as the condition's reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    Unschedulable,
    SchedulerError,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::SchedulerError => "SchedulerError",
        }
    }
}

pub struct Reports {
    sender: mpsc::Sender<Patch>,
    /// By uid: what was said last, and when.
    said: HashMap<Text, (u64, Duration)>,
}

struct Patch {
    pod: PodRef,
    status: Value,
}

impl Reports {
    pub fn new(client: Client, stop: CancellationToken) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            stop.run_until_cancelled(write_all(client, receiver)).await;
        });
        Self {
            sender,
            said: HashMap::new(),
        }
    }

    pub fn forget(&mut self, uid: &str) {
        self.said.remove(uid);
    }

    /// `recorder`: of the profile that decided; `nominated`: the node on which preemption makes room.
    pub fn pending(
        &mut self,
        recorder: &Recorder,
        pod: &PodRef,
        reason: Reason,
        message: &str,
        nominated: Option<&str>,
        now: Duration,
    ) {
        let mut hasher = DefaultHasher::new();
        (reason, message, nominated).hash(&mut hasher);
        let hash = hasher.finish();
        let before = self.said.get(&pod.uid).copied();
        let changed = before.is_none_or(|(said, _)| said != hash);
        let due = before.is_none_or(|(_, at)| now >= at + REPEAT);
        if !changed && !due {
            return;
        }
        if changed && !self.patch(pod, reason, message, nominated) {
            return;
        }
        self.said.insert(pod.uid.clone(), (hash, now));
        recorder.warning(&reference(pod), "FailedScheduling", truncate(message));
    }

    fn patch(&self, pod: &PodRef, reason: Reason, message: &str, nominated: Option<&str>) -> bool {
        let mut status = json!({"conditions": [{
            "type": "PodScheduled",
            "status": "False",
            "reason": reason.as_str(),
            "message": message,
            "lastProbeTime": null,
            "lastTransitionTime": rfc3339(jiff::Timestamp::now()),
        }]});
        if let Some(node) = nominated {
            status["nominatedNodeName"] = json!(node);
        }
        let patch = Patch {
            pod: pod.clone(),
            status,
        };
        self.sender.try_send(patch).is_ok()
    }
}

async fn write_all(client: Client, mut receiver: mpsc::Receiver<Patch>) {
    let mut batch = Vec::with_capacity(PARALLEL);
    while receiver.recv_many(&mut batch, PARALLEL).await > 0 {
        // Patches of one pod stay in order: a later one is in a later batch, unless both came at once.
        let writes = batch.drain(..).map(|patch| write(&client, patch));
        futures::future::join_all(writes).await;
    }
}

async fn write(client: &Client, patch: Patch) {
    let Patch { pod, status } = patch;
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/status",
        pod.namespace, pod.name
    );
    let body = json!({"metadata": {"uid": pod.uid.as_str()}, "status": status});
    let answer = rest::patch::<IgnoredAny>(client, &path, PatchType::Strategic, &body).await;
    if let Err(error) = answer {
        tracing::debug!("condition of pod {}/{}: {error}", pod.namespace, pod.name);
    }
}

pub fn reference(pod: &PodRef) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(pod.name.to_string()),
        namespace: Some(pod.namespace.to_string()),
        uid: Some(pod.uid.to_string()),
        ..ObjectReference::default()
    }
}

fn truncate(message: &str) -> String {
    const SUFFIX: &str = " ...";
    if message.len() <= NOTE_LIMIT {
        return message.to_owned();
    }
    let mut end = NOTE_LIMIT - SUFFIX.len();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{SUFFIX}", &message[..end])
}
