//! "Successfully assigned" events, written in the background and behind the bindings.
//!
//! They cost the server as much as bindings do, so while bindings are in flight they trickle, and when there are none they flow.
//! The queue is bounded: beyond it the newest events are dropped, as upstream's recorder does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fluyt_client::events::{rfc3339, rfc3339_micro};
use fluyt_client::kube::Client;
use fluyt_client::rest;
use fluyt_scheduler_core::core::PodRef;
use fluyt_scheduler_core::objects::Text;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

const QUEUE: usize = 100_000;
const PARALLEL: usize = 16;
/// How long a batch waits for bindings to pause.
const PATIENCE: Duration = Duration::from_millis(250);

pub struct Scheduled {
    pub pod: PodRef,
    pub node: Text,
    pub at: jiff::Timestamp,
    /// The profile's name.
    pub scheduler: Text,
}

/// How many bindings are in flight, with a call when there are none.
#[derive(Default)]
pub struct Load {
    bindings: AtomicUsize,
    idle: Notify,
}

impl Load {
    pub fn set(&self, bindings: usize) {
        self.bindings.store(bindings, Ordering::Relaxed);
        if bindings == 0 {
            self.idle.notify_one();
        }
    }

    async fn wait_until_idle(&self) {
        while self.bindings.load(Ordering::Relaxed) > 0 {
            self.idle.notified().await;
        }
    }
}

pub fn start(client: Client, load: Arc<Load>, stop: CancellationToken) -> mpsc::Sender<Scheduled> {
    let (sender, mut receiver) = mpsc::channel::<Scheduled>(QUEUE);
    tokio::spawn(async move {
        let write = async {
            let mut batch = Vec::with_capacity(PARALLEL);
            let mut serial = 0_u64;
            while receiver.recv_many(&mut batch, PARALLEL).await > 0 {
                let _ = tokio::time::timeout(PATIENCE, load.wait_until_idle()).await;
                let writes = batch.drain(..).map(|one| {
                    serial += 1;
                    write(&client, one, serial)
                });
                futures::future::join_all(writes).await;
            }
        };
        stop.run_until_cancelled(write).await;
    });
    sender
}

async fn write(client: &Client, scheduled: Scheduled, serial: u64) {
    let Scheduled {
        pod,
        node,
        at,
        scheduler,
    } = scheduled;
    let path = format!("/api/v1/namespaces/{}/events", pod.namespace);
    let stamp = at.as_nanosecond() + i128::from(serial % 1000);
    let body = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": format!("{}.{stamp:x}", pod.name), "namespace": pod.namespace.as_str()},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": pod.name.as_str(), "namespace": pod.namespace.as_str(),
                           "uid": pod.uid.as_str()},
        "reason": "Scheduled",
        "message": format!("Successfully assigned {}/{} to {node}", pod.namespace, pod.name),
        "type": "Normal",
        "source": {"component": scheduler.as_str()},
        "reportingComponent": scheduler.as_str(),
        "reportingInstance": scheduler.as_str(),
        "action": "Binding",
        "eventTime": rfc3339_micro(at),
        "firstTimestamp": rfc3339(at),
        "lastTimestamp": rfc3339(at),
        "count": 1,
    });
    if let Err(error) = rest::create::<IgnoredAny>(client, &path, &body).await {
        tracing::debug!("event of pod {}/{}: {error}", pod.namespace, pod.name);
    }
}
