//! Writes a pod's status: the newest that is known, one request at a time, only when it
//! differs from what was written. A slow API server never holds up the pod's worker.

use crate::context::Context;
use fluyt_client::rest::{self, PatchType};
use fluyt_kubelet_core::{model, names};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const RETRY: Duration = Duration::from_millis(500);
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// A status to be written, with a number that grows: equal statuses are written again
/// only when somebody else changed them.
#[derive(Clone, Debug, Default)]
struct Wanted {
    status: Option<Arc<PodStatus>>,
    version: u64,
}

/// Writes statuses of one pod in the background.
pub(crate) struct Writer {
    context: Arc<Context>,
    wanted: watch::Sender<Wanted>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    pub fn new(context: Arc<Context>, pod: &Pod, shutdown: CancellationToken) -> Self {
        let (wanted, receiver) = watch::channel(Wanted::default());
        let target = Target::new(pod);
        let task = tokio::spawn(run(context.clone(), target, receiver, shutdown));
        Self {
            context,
            wanted,
            task,
        }
    }

    /// Has this status written, if it is not the one already wanted. `differs` says that
    /// the API server was seen with another.
    pub fn submit(&self, status: &PodStatus, differs: bool) {
        self.wanted.send_if_modified(|wanted| {
            let same = wanted.status.as_deref() == Some(status);
            if same && !differs {
                return false;
            }
            wanted.status = Some(Arc::new(status.clone()));
            wanted.version += 1;
            true
        });
    }

    /// Writes the last status and then deletes the object, which its user has deleted
    /// already; returns when it is gone or at shutdown.
    pub async fn finish(self, pod: &Pod, status: &PodStatus, shutdown: &CancellationToken) {
        self.task.abort();
        let target = Target::new(pod);
        let written = retry(shutdown, || write(&self.context, &target, status)).await;
        if written {
            retry(shutdown, || delete(&self.context, &target)).await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Which object.
struct Target {
    path: String,
    /// A status must not reach a later pod of the same name; a mirror pod's uid is not ours.
    uid: Option<String>,
}

impl Target {
    fn new(pod: &Pod) -> Self {
        Self {
            path: rest::path("", "v1", model::namespace(pod), "pods", model::name(pod)),
            uid: pod.metadata.uid.clone().filter(|_| !names::is_static(pod)),
        }
    }
}

async fn run(
    context: Arc<Context>,
    target: Target,
    mut wanted: watch::Receiver<Wanted>,
    shutdown: CancellationToken,
) {
    while wanted.changed().await.is_ok() {
        let mut pause = RETRY;
        loop {
            let status = wanted.borrow_and_update().status.clone();
            let Some(status) = status else { break };
            match write(&context, &target, &status).await {
                Ok(()) => break,
                Err(error) if rest::is_not_found(&error) || rest::is_conflict(&error) => {
                    tracing::debug!(path = target.path, %error, "the pod is gone from the API");
                    break;
                }
                Err(error) => {
                    tracing::debug!(path = target.path, %error, "cannot write the status")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
            pause = (pause * 2).min(RETRY_LONGEST);
        }
    }
}

/// Repeats until it works or the object is gone (true), or shutdown (false).
async fn retry<F, R>(shutdown: &CancellationToken, mut action: F) -> bool
where
    F: FnMut() -> R,
    R: Future<Output = Result<(), kube::Error>>,
{
    let mut pause = RETRY;
    loop {
        match action().await {
            Ok(()) => return true,
            Err(error) if rest::is_not_found(&error) || rest::is_conflict(&error) => return true,
            Err(error) => tracing::debug!(%error, "trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return false,
        }
        pause = (pause * 2).min(RETRY_LONGEST);
    }
}

async fn write(context: &Context, target: &Target, status: &PodStatus) -> Result<(), kube::Error> {
    let path = format!("{}/status", target.path);
    let patch = patch(target, status);
    rest::patch::<Value>(&context.client, &path, PatchType::Strategic, &patch)
        .await
        .map(drop)
}

fn patch(target: &Target, status: &PodStatus) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    // A patch keeps what it does not name: these must go when they no longer hold.
    for field in ["reason", "message"] {
        if value.get(field).is_none() {
            value[field] = Value::Null;
        }
    }
    match &target.uid {
        Some(uid) => json!({"metadata": {"uid": uid}, "status": value}),
        None => json!({"status": value}),
    }
}

async fn delete(context: &Context, target: &Target) -> Result<(), kube::Error> {
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
    if let Some(uid) = &target.uid {
        options["preconditions"] = json!({"uid": uid});
    }
    rest::delete(&context.client, &target.path, &options).await
}
