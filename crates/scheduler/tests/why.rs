//! Asking the scheduler why, over its own port, while it schedules against the real API server.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use fluyt_apiserver::testing::{self, TestServer};
use fluyt_client::kube::{self, Client};
use fluyt_client::{ClientOptions, rest};
use fluyt_scheduler::Options;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// An API server, a scheduler, and a client of each.
struct Cluster {
    server: TestServer,
    client: Client,
    scheduler: Client,
    _stop: tokio_util::sync::DropGuard,
}

impl Cluster {
    async fn start(more: &[&str]) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = testing::start().await;
        let options = ClientOptions {
            server: Some(server.url()),
            ..ClientOptions::default()
        };
        let client = fluyt_client::connect(&options).await.unwrap();
        let words = [
            "kube-scheduler",
            "--secure-port=0",
            "--bind-address=127.0.0.1",
        ];
        let line = <Line as clap::Parser>::try_parse_from(words.iter().chain(more));
        let mut options = line.unwrap().options;
        options.any_secure_port = true;
        let stop = CancellationToken::new();
        tokio::spawn(fluyt_scheduler::run(options, client.clone(), stop.clone()));
        let scheduler = connect(&client).await;
        Self {
            server,
            client,
            scheduler,
            _stop: stop.drop_guard(),
        }
    }

    async fn node(&self, name: &str, cpu: &str, labels: Value) {
        let amounts = json!({"cpu": cpu, "memory": "8Gi", "pods": "110"});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
                          "status": {"allocatable": amounts, "capacity": amounts}});
        let _: Value = rest::create(&self.client, "/api/v1/nodes", &node)
            .await
            .unwrap();
        let untaint = json!({"spec": {"taints": null}});
        let path = format!("/api/v1/nodes/{name}");
        let _: Value = rest::patch(&self.client, &path, rest::PatchType::Merge, &untaint)
            .await
            .unwrap();
    }

    async fn pod(&self, name: &str, cpu: &str) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": [{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": cpu}}}]}});
        let path = "/api/v1/namespaces/default/pods";
        let _: Value = rest::create(&self.client, path, &pod).await.unwrap();
    }

    async fn ask(&self, path: &str) -> Result<String, kube::Error> {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.scheduler.request_text(request).await
    }

    async fn what_if(&self, path: &str, manifest: &str) -> Result<String, kube::Error> {
        let request = http::Request::post(path)
            .body(manifest.as_bytes().to_vec())
            .unwrap();
        self.scheduler.request_text(request).await
    }

    /// Until the scheduler knows so many nodes: what it decides before is not what is tested.
    async fn sees(&self, nodes: usize) {
        let deadline = Instant::now() + Duration::from_secs(120);
        let manifest = "kind: Pod\nspec: {containers: [{name: c}]}\n";
        loop {
            let text = self.what_if("/why/what-if", manifest).await;
            let answer = text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
            if answer["first"]["nodes"] == nodes {
                return;
            }
            assert!(Instant::now() < deadline, "not {nodes} nodes: {answer}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks about a pod until the answer is of this kind.
    async fn until(&self, pod: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let text = self.ask(&format!("/why?pod=default/{pod}")).await;
            let answer = text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
            if check(&answer) {
                return answer;
            }
            assert!(
                Instant::now() < deadline,
                "pod {pod} is not {what}: {answer}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// As `kubectl why` finds it: by the annotation of the lease.
async fn connect(client: &Client) -> Client {
    let deadline = Instant::now() + Duration::from_secs(120);
    let path = rest::path(
        "coordination.k8s.io",
        "v1",
        "kube-system",
        "leases",
        "kube-scheduler",
    );
    let place: Value = loop {
        let lease: Option<Value> = rest::get_opt(client, &path).await.unwrap();
        let annotation = lease.and_then(|lease| {
            let text = lease["metadata"]["annotations"]["scheduler.fluyt.dev/why"].as_str()?;
            Some(serde_json::from_str(text).unwrap())
        });
        match annotation {
            Some(place) => break place,
            None => assert!(
                Instant::now() < deadline,
                "the scheduler never says where it is"
            ),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(place["schedulerNames"], json!(["default-scheduler"]));
    let authority = place["certificateAuthority"].as_str().unwrap();
    let certificate = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
    let mut config = kube::Config::new(place["url"].as_str().unwrap().parse().unwrap());
    config.root_cert = Some(vec![certificate.to_vec()]);
    Client::try_from(config).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_pod_is_told_everything_that_is_in_the_way() {
    let cluster = Cluster::start(&["--leader-elect=false"]).await;
    cluster.node("small-1", "1", json!({})).await;
    cluster.node("small-2", "2", json!({})).await;
    cluster.sees(2).await;
    cluster.pod("large", "2200m").await;
    let waits = |answer: &Value| answer["queue"]["queue"] == "unschedulable";
    let answer = cluster.until("large", "unschedulable", waits).await;
    assert_eq!(answer["state"], "Pending");
    assert_eq!(answer["summary"], "fits on none of 2 nodes");
    let reasons = json!([{"plugin": "NodeResourcesFit", "reason": "Insufficient cpu", "nodes": 2}]);
    assert_eq!(answer["reasons"], reasons);
    assert_eq!(
        answer["suggestions"][0]["text"],
        "small-2 fits if it asked for 200m less CPU"
    );
    assert_eq!(answer["queue"]["wakes"][0]["plugin"], "NodeResourcesFit");
    assert_eq!(answer["preemption"]["candidates"], json!([]));
    let table = cluster
        .ask("/why?pod=default/large&format=table")
        .await
        .unwrap();
    assert!(
        table.contains("2      NodeResourcesFit  Insufficient cpu"),
        "{table}"
    );
    assert!(table.contains("small-[1,2]: Insufficient cpu"), "{table}");
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_placed_pod_has_its_scores_and_the_past_is_kept_in_a_log() {
    let directory = tempfile::tempdir().unwrap();
    let log = format!(
        "--decision-log={}",
        directory.path().join("decisions").display()
    );
    // With an election: the annotation comes with the lease.
    let cluster = Cluster::start(&["--leader-elect=true", &log]).await;
    cluster.node("a", "2", json!({})).await;
    cluster.node("b", "4", json!({})).await;
    cluster.sees(2).await;
    cluster.pod("free", "1").await;
    let placed = |answer: &Value| answer["recorded"].is_object();
    let answer = cluster.until("free", "placed", placed).await;
    assert_eq!(answer["node"], "b");
    let scores = &answer["recorded"]["scores"];
    assert_eq!(
        (&scores["chosen"]["node"], &scores["runnerUp"]["node"]),
        (&json!("b"), &json!("a"))
    );
    let total = |one: &Value| -> i64 {
        let plugins = one["plugins"].as_array().unwrap();
        plugins
            .iter()
            .map(|plugin| plugin["weighted"].as_i64().unwrap())
            .sum()
    };
    assert_eq!(scores["chosen"]["total"], total(&scores["chosen"]));
    let margin = total(&scores["chosen"]) - total(&scores["runnerUp"]);
    assert_eq!(scores["margin"], margin);
    assert_eq!(answer["now"]["differs"], false);
    // Gone, and yet known.
    let path = "/api/v1/namespaces/default/pods/free";
    let now = json!({"gracePeriodSeconds": 0});
    rest::delete(&cluster.client, path, &now).await.unwrap();
    let gone = cluster
        .until("free", "gone", |answer| answer["state"] == "Gone")
        .await;
    assert_eq!(&gone["recorded"]["scores"], scores);
    let missing = cluster.ask("/why?pod=default/never").await.unwrap_err();
    assert!(
        missing.to_string().contains("default/never is not known"),
        "{missing}"
    );
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_if_counts_replicas_and_leaves_everything_as_it_was() {
    let cluster = Cluster::start(&["--leader-elect=false"]).await;
    cluster.node("a", "2", json!({})).await;
    cluster.node("b", "3", json!({})).await;
    cluster.sees(2).await;
    cluster.pod("first", "1").await;
    cluster
        .until("first", "placed", |answer| answer["state"] == "Placed")
        .await;
    let manifest = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 9\n  template:\n    spec:\n      \
                    containers: [{name: c, image: nginx, resources: {limits: {cpu: 500m}}}]\n";
    let text = cluster
        .what_if("/why/what-if?namespace=prod", manifest)
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&answer["fit"], &answer["replicas"]),
        (&json!(8), &json!(9))
    );
    assert_eq!(
        answer["summary"],
        "8 of 9 replicas fit; what runs out first: Insufficient cpu"
    );
    assert_eq!(answer["namespace"], "prod");
    assert_eq!(answer["runsOut"][0]["nodes"], json!(["a", "b"]));
    // Asked again it is the same, and the room is still there.
    let again = cluster
        .what_if("/why/what-if?namespace=prod", manifest)
        .await
        .unwrap();
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["fit"], 8);
    let table = cluster
        .what_if("/why/what-if?format=table", manifest)
        .await
        .unwrap();
    assert!(
        table.starts_with("Deployment default/web: 8 of 9 replicas fit"),
        "{table}"
    );
    for pod in ["second", "third"] {
        cluster.pod(pod, "1500m").await;
        cluster
            .until(pod, "placed", |answer| answer["state"] == "Placed")
            .await;
    }
    let bad = cluster
        .what_if("/why/what-if", "kind: Service")
        .await
        .unwrap_err();
    assert!(bad.to_string().contains("makes no pods"), "{bad}");
    cluster.server.stop().await;
}
