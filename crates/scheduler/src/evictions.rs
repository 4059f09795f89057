//! Evicting the victims of preemption: a condition that says why, then the deletion, then an event.

use fluyt_client::events::{Recorder, rfc3339};
use fluyt_client::kube::Client;
use fluyt_client::rest::{self, PatchType};
use fluyt_scheduler_core::core::PodRef;
use fluyt_scheduler_core::preemption::Preemption;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::reports::reference;

/// `scheduler`: the name of the preemptor's profile.
pub fn evict(
    client: &Client,
    recorder: &Recorder,
    scheduler: &str,
    preemptor: &PodRef,
    preemption: Preemption,
) {
    let scheduler = scheduler.to_owned();
    let (client, recorder, preemptor) = (client.clone(), recorder.clone(), preemptor.clone());
    tokio::spawn(async move {
        for pod in &preemption.displaced {
            if let Err(error) = displace(&client, pod).await {
                tracing::debug!("pod {}/{}: {error}", pod.namespace, pod.name);
            }
        }
        for victim in &preemption.victims {
            match evict_one(&client, &scheduler, victim).await {
                Ok(()) => recorder.normal(
                    &reference(victim),
                    "Preempted",
                    format!(
                        "Preempted by pod {} on node {}",
                        preemptor.uid, preemption.node
                    ),
                ),
                Err(error) => tracing::warn!(
                    "pod {}/{} was not evicted: {error}",
                    victim.namespace,
                    victim.name
                ),
            }
        }
    });
}

/// A pod whose reserved node went to a more important one may look elsewhere.
async fn displace(client: &Client, pod: &PodRef) -> Result<(), fluyt_client::kube::Error> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/status",
        pod.namespace, pod.name
    );
    let body =
        json!({"metadata": {"uid": pod.uid.as_str()}, "status": {"nominatedNodeName": null}});
    rest::patch::<IgnoredAny>(client, &path, PatchType::Strategic, &body).await?;
    Ok(())
}

async fn evict_one(
    client: &Client,
    scheduler: &str,
    victim: &PodRef,
) -> Result<(), fluyt_client::kube::Error> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}",
        victim.namespace, victim.name
    );
    let condition = json!({"status": {"conditions": [{
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": format!("{scheduler}: preempting to accommodate a higher priority pod"),
        "lastProbeTime": null,
        "lastTransitionTime": rfc3339(jiff::Timestamp::now()),
    }]}});
    let status = format!("{path}/status");
    match rest::patch::<IgnoredAny>(client, &status, PatchType::Strategic, &condition).await {
        Err(error) if rest::is_not_found(&error) => return Ok(()),
        other => drop(other?),
    }
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": victim.uid.as_str()}});
    match rest::delete(client, &path, &options).await {
        Err(error) if rest::is_not_found(&error) || rest::is_conflict(&error) => Ok(()),
        other => other,
    }
}
