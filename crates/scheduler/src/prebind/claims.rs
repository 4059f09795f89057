//! Entering a pod in its resource claims: the finalizer, then the allocation and the reservation, for each claim.
//!
//! A claim is read before it is written, so that nothing in it that the scheduler does not know is lost, and it is written with its
//! resourceVersion, so that a claim which somebody else allocates meanwhile is never overwritten.

use fluyt_client::events::rfc3339;
use fluyt_client::kube::{self, Client};
use fluyt_client::rest::{self, PatchType};
use fluyt_scheduler_core::claims::Deallocation;
use fluyt_scheduler_core::cluster::devices::ClaimToWrite;
use fluyt_scheduler_core::cluster::devices::objects::{Allocation, ResourceClaim};
use fluyt_scheduler_core::core::PodRef;
use serde_json::{Value, json};

pub const PLUGIN: &str = "DynamicResources";

const FINALIZER: &str = "resource.kubernetes.io/delete-protection";
/// Attempts when others write to the claim at the same time.
const ATTEMPTS: usize = 5;

fn path(namespace: &str, name: &str) -> String {
    rest::path("resource.k8s.io", "v1", namespace, "resourceclaims", name)
}

/// Enters the pod in all claims; those written so far are in `written`, also after an error.
pub async fn write(
    client: &Client,
    pod: &PodRef,
    claims: &[ClaimToWrite],
    written: &mut Vec<ResourceClaim>,
) -> Result<(), String> {
    for claim in claims {
        let answer = enter(client, pod, claim).await?;
        let known = serde_json::from_value(answer);
        written.push(known.map_err(|why| format!("claim {}: {why}", claim.key()))?);
    }
    Ok(())
}

async fn enter(client: &Client, pod: &PodRef, claim: &ClaimToWrite) -> Result<Value, String> {
    let mut attempt = 1;
    loop {
        match try_enter(client, pod, claim).await {
            Err(Refused::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            Err(Refused::Conflict(why) | Refused::Final(why)) => return Err(why),
            Ok(written) => return Ok(written),
        }
    }
}

enum Refused {
    /// Somebody else wrote first: worth another attempt.
    Conflict(String),
    Final(String),
}

fn refused(what: &str, error: &kube::Error) -> Refused {
    let why = format!("{what}: {error}");
    match rest::is_conflict(error) {
        true => Refused::Conflict(why),
        false => Refused::Final(why),
    }
}

async fn try_enter(client: &Client, pod: &PodRef, claim: &ClaimToWrite) -> Result<Value, Refused> {
    let key = claim.key();
    let path = path(&claim.namespace, &claim.name);
    let mut object: Value = rest::get(client, &path)
        .await
        .map_err(|error| refused(&format!("get claim {key}"), &error))?;
    let gone = !object["metadata"]["deletionTimestamp"].is_null()
        || object["metadata"]["uid"] != claim.uid.as_str();
    if gone {
        return Err(Refused::Final(format!(
            "claim {key} got deleted in the meantime"
        )));
    }
    match &claim.allocation {
        // Another pod of its group has written it, or an attempt whose answer was lost.
        Some(allocation) if is_allocated_so(&object, allocation) => {}
        Some(_) if !object["status"]["allocation"].is_null() => {
            return Err(Refused::Final(format!(
                "claim {key} got allocated elsewhere in the meantime"
            )));
        }
        Some(allocation) => {
            if add_finalizer(&mut object) {
                object = rest::replace(client, &path, &object)
                    .await
                    .map_err(|error| refused(&format!("add finalizer to claim {key}"), &error))?;
            }
            object["status"]["allocation"] = allocation_of(allocation);
        }
        None if object["status"]["allocation"].is_null() => {
            return Err(Refused::Final(format!(
                "claim {key} got deallocated elsewhere in the meantime"
            )));
        }
        None => {}
    }
    reserve(&mut object, pod);
    let what = match claim.allocation {
        Some(_) => "add allocation and reservation to claim",
        None => "add reservation to claim",
    };
    rest::replace(client, &format!("{path}/status"), &object)
        .await
        .map_err(|error| refused(&format!("{what} {key}"), &error))
}

/// The claim has just these devices.
fn is_allocated_so(object: &Value, allocation: &Allocation) -> bool {
    let parts = |one: &Value| ["request", "driver", "pool", "device"].map(|part| one[part].clone());
    let results = |allocation: &Value| -> Option<Vec<[Value; 4]>> {
        let results = allocation["devices"]["results"].as_array()?;
        Some(results.iter().map(parts).collect())
    };
    let known = results(&object["status"]["allocation"]);
    known.is_some() && known == results(&json!(allocation))
}

fn add_finalizer(object: &mut Value) -> bool {
    let finalizers = &mut object["metadata"]["finalizers"];
    match finalizers {
        Value::Array(list) if list.iter().any(|one| one == FINALIZER) => return false,
        Value::Array(list) => list.push(FINALIZER.into()),
        other => *other = json!([FINALIZER]),
    }
    true
}

fn allocation_of(allocation: &Allocation) -> Value {
    let mut value = json!(allocation);
    value["allocationTimestamp"] = json!(rfc3339(jiff::Timestamp::now()));
    value
}

fn reserve(object: &mut Value, pod: &PodRef) {
    let consumer = json!({"resource": "pods", "name": pod.name.as_str(), "uid": pod.uid.as_str()});
    match &mut object["status"]["reservedFor"] {
        Value::Array(list) if list.iter().any(|one| one["uid"] == consumer["uid"]) => {}
        Value::Array(list) => list.push(consumer),
        other => *other = json!([consumer]),
    }
}

/// Takes the pod out of claims again. What fails is tried again with the pod's next attempt, or by the claim controller.
pub async fn leave(client: &Client, pod: &PodRef, claims: &[ResourceClaim]) {
    for claim in claims {
        let meta = &claim.metadata;
        let path = format!("{}/status", path(&meta.namespace, &meta.name));
        let entry = json!({"$patch": "delete", "uid": pod.uid.as_str()});
        let patch =
            json!({"metadata": {"uid": meta.uid.as_str()}, "status": {"reservedFor": [entry]}});
        let answer = rest::patch::<Value>(client, &path, PatchType::Strategic, &patch).await;
        if let Err(error) = answer {
            tracing::debug!("unreserving resource claim {}: {error}", claim.key());
        }
    }
}

/// Takes the devices from a claim, unless a pod came to use it.
pub async fn deallocate(client: &Client, one: &Deallocation) -> Result<(), kube::Error> {
    let claim = &one.claim;
    let path = path(&claim.namespace, &claim.name);
    let mut object: Value = rest::get(client, &path).await?;
    if object["metadata"]["uid"] != claim.uid.as_str() {
        return Ok(());
    }
    let consumers = object["status"]["reservedFor"].as_array();
    let mut consumers = consumers.into_iter().flatten();
    if consumers.any(|consumer| consumer["uid"] != one.pod.as_str()) {
        return Ok(());
    }
    if let Some(status) = object["status"].as_object_mut() {
        for field in ["allocation", "reservedFor", "devices"] {
            status.remove(field);
        }
    }
    rest::replace::<Value>(client, &format!("{path}/status"), &object)
        .await
        .map(drop)
}
