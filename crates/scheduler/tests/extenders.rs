//! Extenders, asked over real HTTP and HTTPS.

#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fluyt_client::rest;
use fluyt_pki::{CertificateAuthority, Request as CertificateRequest, Usage};
use fluyt_scheduler::{Registry, replay};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use support::{Cluster, Scheduler, config, options, start};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const RECORD: &str = "record.jsonl";

type Answer = Arc<dyn Fn(&str, &Value) -> Option<Value> + Send + Sync>;

/// A service that answers every verb by a function (`None`: 500) and remembers what it was asked.
struct Service {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    async fn start(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&str, &Value) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer): (_, Answer) = (asked.clone(), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, noted, answer) = (tls.clone(), noted.clone(), answer.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (noted, answer) = (noted.clone(), answer.clone());
                        async move { Ok::<_, Infallible>(respond(request, &noted, &answer).await) }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    match tls {
                        None => drop(
                            builder
                                .serve_connection(TokioIo::new(stream), service)
                                .await,
                        ),
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else {
                                return;
                            };
                            drop(
                                builder
                                    .serve_connection(TokioIo::new(stream), service)
                                    .await,
                            );
                        }
                    }
                });
            }
        });
        Self {
            address,
            asked,
            task,
        }
    }

    fn asked(&self, verb: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        let of_verb = asked.iter().filter(|(path, _)| path == verb);
        of_verb.map(|(_, body)| body.clone()).collect()
    }
}

async fn respond(
    request: Request<Incoming>,
    asked: &Mutex<Vec<(String, Value)>>,
    answer: &Answer,
) -> Response<Full<Bytes>> {
    let verb = request.uri().path().trim_start_matches("/api/").to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let said = answer(&verb, &body);
    asked.lock().unwrap().push((verb, body));
    let mut response = Response::new(Full::new(Bytes::from(
        said.as_ref().map(Value::to_string).unwrap_or_default(),
    )));
    if said.is_none() {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response
}

struct World {
    cluster: Cluster,
    directory: tempfile::TempDir,
    scheduler: Scheduler,
}

impl World {
    /// Ends all; what was recorded is decided again.
    async fn end(mut self) {
        self.scheduler.stop.cancel();
        (&mut self.scheduler.task).await.unwrap().unwrap();
        self.cluster.server.stop().await;
        let options = replay::Options {
            file: self.directory.path().join(RECORD),
            quiet: true,
        };
        let summary = replay::run(&options, &mut Vec::new()).unwrap();
        assert!(summary.decisions > 0, "nothing was recorded");
    }
}

/// Three nodes, and a scheduler with these extenders.
async fn world(extenders: &str) -> World {
    let cluster = Cluster::start().await;
    for name in ["n1", "n2", "n3"] {
        cluster.node(name, json!({}), "4").await;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), &format!("extenders:\n{extenders}"));
    let scheduler = start(
        options(
            &path,
            &["--record", directory.path().join(RECORD).to_str().unwrap()],
        ),
        Registry::default(),
        cluster.client.clone(),
    );
    World {
        cluster,
        directory,
        scheduler,
    }
}

fn cpu(amount: &str) -> Value {
    json!({"cpu": amount, "memory": "1Mi"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extender_filters_by_names_and_scores() {
    let service = Service::start(None, |verb, _| match verb {
        "filter" => Some(json!({"NodeNames": ["n2", "n3"], "FailedNodes": {"n1": "is green"}})),
        "prioritize" => Some(json!([{"Host": "n2", "Score": 1}, {"Host": "n3", "Score": 10}])),
        _ => None,
    })
    .await;
    let world = world(&format!(
        "- {{urlPrefix: 'http://{}/api', filterVerb: filter, prioritizeVerb: prioritize, weight: 5, nodeCacheCapable: true}}\n",
        service.address
    ))
    .await;
    world
        .cluster
        .pod("a", json!({}), cpu("100m"), json!({}))
        .await;
    assert_eq!(world.cluster.bound("a").await, "n3");
    let filter = &service.asked("filter")[0];
    assert_eq!(filter["Pod"]["metadata"]["name"], "a");
    assert_eq!(filter["NodeNames"], json!(["n1", "n2", "n3"]));
    assert_eq!(
        service.asked("prioritize")[0]["NodeNames"],
        json!(["n2", "n3"])
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extender_without_a_cache_gets_whole_nodes_and_its_reasons_are_told() {
    let service = Service::start(None, |_, body| {
        assert!(body["Nodes"]["items"].is_array());
        Some(
            json!({"Nodes": {"items": []}, "FailedNodes": {"n1": "is green", "n2": "is green"},
                    "FailedAndUnresolvableNodes": {"n3": "is gone"}}),
        )
    })
    .await;
    let prefix = format!("http://{}/api", service.address);
    let world = world(&format!(
        "- {{urlPrefix: '{prefix}', filterVerb: filter}}\n"
    ))
    .await;
    world
        .cluster
        .pod("a", json!({}), cpu("100m"), json!({}))
        .await;
    let message = world.cluster.pending("a", "Unschedulable").await;
    let expected = "0/3 nodes are available: 1 is gone, 2 is green.";
    assert!(message.starts_with(expected), "{message}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fails_stops_pods_unless_it_may_be_ignored() {
    let service = Service::start(None, |_, _| None).await;
    let one = format!(
        "urlPrefix: 'http://{}/api', filterVerb: filter, nodeCacheCapable: true",
        service.address
    );
    let strict = world(&format!("- {{{one}}}\n")).await;
    strict
        .cluster
        .pod("a", json!({}), cpu("100m"), json!({}))
        .await;
    let message = strict.cluster.pending("a", "SchedulerError").await;
    assert!(
        message.contains("failed filter with extender at URL"),
        "{message}"
    );
    let lenient = world(&format!("- {{{one}, ignorable: true}}\n")).await;
    lenient
        .cluster
        .pod("a", json!({}), cpu("100m"), json!({}))
        .await;
    lenient.cluster.bound("a").await;
    strict.cluster.server.stop().await;
    lenient.cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_manages_a_resource_is_asked_about_its_pods_only_and_binds_them() {
    let cluster = Arc::new(Mutex::new(
        None::<tokio::sync::mpsc::UnboundedSender<Value>>,
    ));
    let to_bind = cluster.clone();
    let service = Service::start(None, move |verb, body| {
        if verb == "bind" {
            let sender = to_bind.lock().unwrap();
            sender.as_ref().unwrap().send(body.clone()).unwrap();
            return Some(json!({"Error": ""}));
        }
        Some(json!({"NodeNames": ["n2"]}))
    })
    .await;
    let world = world(&format!(
        "- {{urlPrefix: 'http://{}/api', filterVerb: filter, bindVerb: bind, nodeCacheCapable: true, \
           managedResources: [{{name: example.com/foo, ignoredByScheduler: true}}]}}\n",
        service.address
    ))
    .await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    *cluster.lock().unwrap() = Some(sender);
    world
        .cluster
        .pod("plain", json!({}), cpu("100m"), json!({}))
        .await;
    world.cluster.bound("plain").await;
    assert!(service.asked("filter").is_empty());
    // No node has the resource: the extender alone looks after it.
    world
        .cluster
        .pod("own", json!({}), json!({"example.com/foo": "1"}), json!({}))
        .await;
    let asked = receiver.recv().await.unwrap();
    assert_eq!(
        (&asked["PodName"], &asked["Node"]),
        (&json!("own"), &json!("n2"))
    );
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "own", "namespace": "default"},
                         "target": {"kind": "Node", "name": "n2"}});
    let path = "/api/v1/namespaces/default/pods/own/binding";
    let _: Value = rest::create(&world.cluster.client, path, &binding)
        .await
        .unwrap();
    assert_eq!(world.cluster.bound("own").await, "n2");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extender_has_a_say_in_preemption() {
    let service = Service::start(None, |verb, body| match verb {
        "filter" => Some(json!({"NodeNames": body["NodeNames"]})),
        // Nothing may be evicted from n1.
        _ => {
            let mut left = body["NodeNameToMetaVictims"].clone();
            left.as_object_mut().unwrap().remove("n1");
            Some(json!({"NodeNameToMetaVictims": left}))
        }
    })
    .await;
    let world = world(&format!(
        "- {{urlPrefix: 'http://{}/api', filterVerb: filter, preemptVerb: preempt, nodeCacheCapable: true}}\n",
        service.address
    ))
    .await;
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000});
    let path = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let _: Value = rest::create(&world.cluster.client, path, &class)
        .await
        .unwrap();
    for name in ["a", "b", "c"] {
        world
            .cluster
            .pod(
                name,
                json!({}),
                cpu("3"),
                json!({"terminationGracePeriodSeconds": 0}),
            )
            .await;
        world.cluster.bound(name).await;
    }
    world
        .cluster
        .pod(
            "high",
            json!({}),
            cpu("3"),
            json!({"priorityClassName": "high"}),
        )
        .await;
    // The victims may be gone, and the pod be bound, before anybody looks.
    let place = |pod: &Value| {
        let places = [
            &pod["spec"]["nodeName"],
            &pod["status"]["nominatedNodeName"],
        ];
        places.into_iter().find(|place| place.is_string()).cloned()
    };
    let chosen = |pod: &Value| place(pod).is_some();
    let pod = world
        .cluster
        .until("high", "nominated or bound", chosen)
        .await;
    assert_ne!(place(&pod), Some(json!("n1")));
    let asked = &service.asked("preempt")[0]["NodeNameToMetaVictims"];
    assert_eq!(asked.as_object().unwrap().len(), 3);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_is_verified_with_the_authority_given() {
    let authority = CertificateAuthority::generate("extender-ca").unwrap();
    let issued = authority
        .issue(&CertificateRequest {
            common_name: "extender",
            organizations: &[],
            names: &["extender.example.com".to_owned()],
            usage: Usage::Server,
        })
        .unwrap();
    let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
    let chain: Vec<_> = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let service = Service::start(Some(acceptor), |_, _| Some(json!({"NodeNames": ["n2"]}))).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.crt");
    std::fs::write(&file, authority.certificate()).unwrap();
    let one = format!(
        "urlPrefix: 'https://{}/api', filterVerb: filter, nodeCacheCapable: true, enableHTTPS: true",
        service.address
    );
    let ca = file.display();
    // The certificate is for a name, the address is not it: serverName says which.
    let named = world(&format!(
        "- {{{one}, tlsConfig: {{caFile: '{ca}', serverName: extender.example.com}}}}\n"
    ))
    .await;
    named
        .cluster
        .pod("a", json!({}), cpu("100m"), json!({}))
        .await;
    assert_eq!(named.cluster.bound("a").await, "n2");
    let unnamed = world(&format!("- {{{one}, tlsConfig: {{caFile: '{ca}'}}}}\n")).await;
    unnamed
        .cluster
        .pod("a", json!({}), cpu("100m"), json!({}))
        .await;
    unnamed.cluster.pending("a", "SchedulerError").await;
    named.cluster.server.stop().await;
    unnamed.cluster.server.stop().await;
}
