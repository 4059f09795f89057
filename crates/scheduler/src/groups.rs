//! The condition PodGroupScheduled of pod groups, after each decision about one.
//!
//! Written one after the other by one task, so that a later word is never overtaken; a group that was scheduled once stays so.

use fluyt_client::events::rfc3339;
use fluyt_client::kube::{self, Client};
use fluyt_client::rest::{self, PatchType};
use fluyt_scheduler_core::gangs::GroupReport;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Conditions that wait to be written; beyond, they are dropped: the next decision says the same again.
const QUEUE: usize = 1024;

const SCHEDULED: &str = "PodGroupScheduled";

pub fn start(client: Client, stop: CancellationToken) -> mpsc::Sender<GroupReport> {
    let (sender, mut receiver) = mpsc::channel::<GroupReport>(QUEUE);
    let write_all = async move {
        while let Some(report) = receiver.recv().await {
            if let Err(error) = write(&client, &report).await {
                tracing::debug!("pod group {}/{}: {error}", report.namespace, report.name);
            }
        }
    };
    tokio::spawn(async move {
        stop.run_until_cancelled(write_all).await;
    });
    sender
}

async fn write(client: &Client, report: &GroupReport) -> Result<(), kube::Error> {
    let path = rest::path(
        "scheduling.k8s.io",
        "v1alpha2",
        &report.namespace,
        "podgroups",
        &report.name,
    );
    let Some(group) = rest::get_opt::<Value>(client, &path).await? else {
        return Ok(());
    };
    let status = match report.scheduled {
        true => "True",
        false => "False",
    };
    let conditions = group["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let before = conditions.find(|condition| condition["type"] == SCHEDULED);
    let same = |before: &Value| {
        before["status"] == status
            && before["reason"] == report.reason
            && before["message"] == report.message.as_str()
    };
    if before.is_some_and(|before| same(before) || before["status"] == "True") {
        return Ok(());
    }
    let since = before
        .filter(|before| before["status"] == status)
        .map(|before| before["lastTransitionTime"].clone());
    let condition = json!({
        "type": SCHEDULED,
        "status": status,
        "reason": report.reason,
        "message": report.message,
        "observedGeneration": group["metadata"]["generation"],
        "lastTransitionTime": since.unwrap_or_else(|| json!(rfc3339(jiff::Timestamp::now()))),
    });
    let patch = json!({"metadata": {"uid": group["metadata"]["uid"]}, "status": {"conditions": [condition]}});
    let path = format!("{path}/status");
    rest::patch::<Value>(client, &path, PatchType::Strategic, &patch)
        .await
        .map(drop)
}
