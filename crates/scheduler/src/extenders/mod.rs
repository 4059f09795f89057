//! Extenders: services that filter, score, preempt and bind over HTTP, as upstream's (extender/v1).
//!
//! [`Extender`] is one of them and its calls; [`consult`] asks all of them about a pod, beside the driver; [`nodes`] keeps whole
//! node objects for those that have no cache of their own. Invariant: a call ends within its time-out.

mod consult;
mod nodes;
mod tls;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use fluyt_client::kube::Client;
use fluyt_scheduler_core::core::PodRef;
use fluyt_scheduler_core::extended::Interest;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub use consult::{Consultation, Query, start};

use crate::config;
use nodes::Nodes;

/// Pods that are asked about at the same time; decisions wait when there are more.
pub const ASKS: usize = 32;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// One extender.
pub struct Extender {
    config: config::Extender,
    managed: BTreeSet<String>,
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// All extenders of a configuration, in order.
pub struct Extenders {
    all: Vec<Arc<Extender>>,
    nodes: Option<Nodes>,
    client: Client,
}

impl Extenders {
    /// `None` when there are none. Errors: a certificate cannot be read.
    pub fn new(
        configs: &[config::Extender],
        client: &Client,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        if configs.is_empty() {
            return Ok(None);
        }
        let mut all = Vec::new();
        for (index, config) in configs.iter().enumerate() {
            let extender = Extender::new(config).with_context(|| format!("extenders[{index}]"))?;
            all.push(Arc::new(extender));
        }
        let needs_nodes = configs.iter().any(|config| !config.node_cache_capable);
        Ok(Some(Arc::new(Self {
            all,
            nodes: needs_nodes.then(|| Nodes::start(client.clone(), stop.clone())),
            client: client.clone(),
        })))
    }

    /// Which pods some extender wants to be asked about.
    pub fn interest(&self) -> Interest {
        interest_in(self.all.iter().map(|one| one.managed.clone()))
    }

    fn interested<'a>(&'a self, pod: &'a Value) -> impl Iterator<Item = &'a Arc<Extender>> {
        self.all.iter().filter(|one| one.is_interested(pod))
    }
}

/// Which pods extenders of these configurations want to be asked about.
pub fn interest(configs: &[config::Extender]) -> Interest {
    interest_in(configs.iter().map(managed))
}

fn interest_in(managed: impl Iterator<Item = BTreeSet<String>>) -> Interest {
    let managed: Vec<BTreeSet<String>> = managed.collect();
    Box::new(move |spec| {
        managed.iter().any(|managed| {
            let mut scalars = spec.requests.scalars.iter();
            managed.is_empty() || scalars.any(|(name, _)| managed.contains(name.as_str()))
        })
    })
}

/// The resources that an extender manages; none: it wants all pods.
fn managed(config: &config::Extender) -> BTreeSet<String> {
    let names = config.managed_resources.iter().map(|one| one.name.clone());
    names.collect()
}

impl Extender {
    fn new(config: &config::Extender) -> anyhow::Result<Self> {
        let connector = tls::connector(config)?;
        Ok(Self {
            managed: managed(config),
            http: HttpClient::builder(TokioExecutor::new()).build(connector),
            config: config.clone(),
        })
    }

    pub fn is_ignorable(&self) -> bool {
        self.config.ignorable
    }

    fn name(&self) -> &str {
        &self.config.url_prefix
    }

    /// Some container asks for a resource that it manages; or it manages none, and wants all pods.
    fn is_interested(&self, pod: &Value) -> bool {
        let asks = |container: &Value| {
            ["requests", "limits"].iter().any(|kind| {
                let amounts = container["resources"][*kind].as_object();
                amounts
                    .is_some_and(|amounts| amounts.keys().any(|name| self.managed.contains(name)))
            })
        };
        self.managed.is_empty()
            || ["containers", "initContainers"].iter().any(|list| {
                let containers = pod["spec"][*list].as_array();
                containers.is_some_and(|containers| containers.iter().any(asks))
            })
    }

    /// The binding, done by the extender.
    pub async fn bind(&self, pod: &PodRef, node: &str) -> anyhow::Result<()> {
        let body = json!({"PodName": pod.name.as_str(), "PodNamespace": pod.namespace.as_str(), "PodUID": pod.uid.as_str(),
                          "Node": node});
        let answer = self.send(&self.config.bind_verb, &body).await?;
        wire::error_of(&answer)
    }

    /// Posts to a verb and decodes what comes back.
    async fn send(&self, verb: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}/{verb}", self.config.url_prefix.trim_end_matches('/'));
        let limit = match self.config.http_timeout.0 {
            Duration::ZERO => DEFAULT_TIMEOUT,
            limit => limit,
        };
        let request = Request::post(&url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(body)?)))?;
        let exchange = async {
            let response = self.http.request(request).await?;
            let status = response.status();
            if status != StatusCode::OK {
                anyhow::bail!(
                    "failed {verb} with extender at URL {url}, code {}",
                    status.as_u16()
                );
            }
            let bytes = response.into_body().collect().await?.to_bytes();
            Ok(serde_json::from_slice(&bytes)?)
        };
        tokio::time::timeout(limit, exchange)
            .await
            .with_context(|| format!("Post {url:?}: no answer within {limit:?}"))?
            .with_context(|| format!("Post {url:?}"))
    }
}
