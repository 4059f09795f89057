//! Bindings in flight: many at once, each one small request, without a rate limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fluyt_client::backoff::Backoff;
use fluyt_client::kube::{self, Client};
use fluyt_client::{availability, rest};
use fluyt_scheduler_core::core::{Decision, PodRef};
use fluyt_scheduler_core::objects::Pod;
use http::Method;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::extenders::Extender;
use crate::prebind::{self, Stopped, Written};

/// At most so many bindings wait for their answer; decisions wait when there are more. Each may need a connection: with 256 opened
/// at once one of them now and then took a second (a dropped SYN), and more than this is not faster.
pub const IN_FLIGHT: usize = 64;

/// The answer to a binding.
pub struct Bound {
    pub decision: Decision,
    pub outcome: Result<(), Failure>,
    /// What was written before the binding.
    pub written: Written,
    pub took: Duration,
}

#[derive(Debug)]
pub enum Failure {
    /// The scheduler stops before it knows.
    Away,
    /// The pod is gone, or bound already: the watch will say.
    Overtaken(String),
    Refused(String),
    /// What had to be written before the binding was not.
    Unprepared(Stopped),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Binding<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    target: Target<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
}

#[derive(Serialize)]
struct Target<'a> {
    kind: &'static str,
    name: &'a str,
}

/// Sends the binding in a task of its own; its answer goes to `answers`, which has room for all that can be in flight.
/// `binder`: the extender that binds instead of the API server's subresource.
pub fn bind(
    client: &Client,
    decision: Decision,
    binder: Option<Arc<Extender>>,
    answers: &mpsc::Sender<Bound>,
    stop: &CancellationToken,
) {
    let (client, answers, stop) = (client.clone(), answers.clone(), stop.clone());
    tokio::spawn(async move {
        let started = Instant::now();
        let mut written = Written::default();
        let outcome = match prebind::run(&client, &decision, &mut written).await {
            Err(stopped) => Err(Failure::Unprepared(stopped)),
            Ok(()) => match binder {
                Some(binder) => delegate(&binder, &client, &decision, &stop).await,
                None => settle(&client, &decision.pod, &decision.node, &stop).await,
            },
        };
        if outcome.is_err() {
            prebind::undo(&client, &decision.pod, &written).await;
        }
        let bound = Bound {
            decision,
            outcome,
            written,
            took: started.elapsed(),
        };
        // Nobody listens any more when the scheduler stops.
        let _ = answers.send(bound).await;
    });
}

/// Binds, and returns only when it is known whether the pod is bound. A request that broke may have taken effect: until the server
/// has said so or not, the node's room must not be given to another pod, so the same binding is tried again.
async fn settle(
    client: &Client,
    pod: &PodRef,
    node: &str,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut backoff = Backoff::for_server();
    loop {
        let unknown = match post(client, pod, node).await {
            Ok(_) => return Ok(()),
            Err(error) if availability::is_transport(&error) => error,
            Err(error) => match node_of(client, pod).await {
                Ok(Some(bound)) if bound == node => return Ok(()),
                Err(unknown) if availability::is_transport(&unknown) => unknown,
                _ => return Err(classify(&error)),
            },
        };
        availability::away(&unknown);
        let pause = tokio::time::sleep(backoff.next_delay());
        if stop.run_until_cancelled(pause).await.is_none() {
            return Err(Failure::Away);
        }
    }
}

/// Where the server says that the pod is; `None`: nowhere, or it is another pod.
async fn node_of(client: &Client, pod: &PodRef) -> Result<Option<String>, kube::Error> {
    let path = format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name);
    let found: Pod = rest::get(client, &path).await?;
    let bound = found.metadata.uid == pod.uid && found.is_assigned();
    Ok(bound.then(|| found.spec.node_name.to_string()))
}

/// An ignorable extender that fails is passed over.
async fn delegate(
    binder: &Extender,
    client: &Client,
    decision: &Decision,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    match binder.bind(&decision.pod, &decision.node).await {
        Ok(()) => Ok(()),
        Err(error) if binder.is_ignorable() => {
            tracing::info!("extender is skipped in bind: {error:#}");
            settle(client, &decision.pod, &decision.node, stop).await
        }
        Err(error) => Err(Failure::Refused(format!("{error:#}"))),
    }
}

async fn post(client: &Client, pod: &PodRef, node: &str) -> Result<Bytes, kube::Error> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/binding",
        pod.namespace, pod.name
    );
    let body = serde_json::to_vec(&Binding {
        api_version: "v1",
        kind: "Binding",
        metadata: Metadata {
            name: &pod.name,
            namespace: &pod.namespace,
            uid: &pod.uid,
        },
        target: Target {
            kind: "Node",
            name: node,
        },
    })
    .map_err(kube::Error::SerdeError)?;
    let request = rest::request(Method::POST, &path, "application/json", body)?;
    rest::send(client, request).await
}

pub fn classify(error: &kube::Error) -> Failure {
    if availability::is_transport(error) {
        availability::away(error);
        Failure::Away
    } else if rest::is_not_found(error) || rest::is_conflict(error) {
        Failure::Overtaken(error.to_string())
    } else {
        Failure::Refused(error.to_string())
    }
}
