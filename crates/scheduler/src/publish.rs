//! Where `kubectl why` finds this scheduler: an annotation of its lease in kube-system, with address, authority and scheduler names.
//!
//! Why there: the stock roles of kube-scheduler allow it to write leases in kube-system and nothing else that others could read, the
//! lease's holder is by definition the scheduler to ask, and it needs nothing of the API server that a stock one lacks. With leader
//! election the annotation is written by every renewal (so a new leader replaces it); without, once.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use fluyt_client::kube::Client;
use fluyt_client::rest;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub const ANNOTATION: &str = "scheduler.fluyt.dev/why";

/// The annotation as a map, as leases want it.
pub fn annotations(
    url: &str,
    authority: Option<&str>,
    names: &[String],
) -> BTreeMap<String, String> {
    let value = json!({"url": url, "certificateAuthority": authority, "schedulerNames": names});
    BTreeMap::from([(ANNOTATION.to_owned(), value.to_string())])
}

/// The address of this machine that others see; nothing is sent to find out.
pub fn outward_address() -> IpAddr {
    let route = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        // An address for documentation: the route to it is the default one.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    route().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Without leader election: writes the annotation until it is written.
pub async fn publish(
    client: Client,
    namespace: String,
    name: String,
    annotations: BTreeMap<String, String>,
    stop: CancellationToken,
) {
    let work = async {
        let mut pause = Duration::from_millis(250);
        while let Err(error) = write(&client, &namespace, &name, &annotations).await {
            tracing::debug!("lease {namespace}/{name}: {error}");
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(Duration::from_secs(30));
        }
    };
    stop.run_until_cancelled(work).await;
}

async fn write(
    client: &Client,
    namespace: &str,
    name: &str,
    annotations: &BTreeMap<String, String>,
) -> Result<(), fluyt_client::kube::Error> {
    let group = "coordination.k8s.io";
    let path = rest::path(group, "v1", namespace, "leases", name);
    let found: Option<Value> = rest::get_opt(client, &path).await?;
    let Some(mut lease) = found else {
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                           "metadata": {"name": name, "namespace": namespace, "annotations": annotations}, "spec": {}});
        let collection = rest::path(group, "v1", namespace, "leases", "");
        return rest::create::<Value>(client, &collection, &lease)
            .await
            .map(drop);
    };
    for (key, value) in annotations {
        lease["metadata"]["annotations"][key] = json!(value);
    }
    rest::replace::<Value>(client, &path, &lease)
        .await
        .map(drop)
}
