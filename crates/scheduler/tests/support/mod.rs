//! A cluster without nodes' agents, and schedulers that end when they are dropped.

#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use fluyt_apiserver::testing::{self, TestServer};
use fluyt_client::kube::Client;
use fluyt_client::{ClientOptions, rest};
use fluyt_scheduler::{Options, Registry};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub struct Cluster {
    pub server: TestServer,
    pub client: Client,
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// Flags of kube-scheduler, with a configuration file.
pub fn options(config: &Path, more: &[&str]) -> Options {
    let config = format!("--config={}", config.display());
    let words = ["kube-scheduler", &config, "--secure-port=0"];
    let line = <Line as clap::Parser>::try_parse_from(words.iter().chain(more));
    line.unwrap().options
}

pub struct Scheduler {
    pub stop: CancellationToken,
    pub task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn start(options: Options, registry: Registry, client: Client) -> Scheduler {
    let stop = CancellationToken::new();
    let run = fluyt_scheduler::run_with(options, registry, client, stop.clone());
    Scheduler {
        task: tokio::spawn(run),
        stop,
    }
}

/// A configuration file with this below the head.
pub fn config(directory: &Path, text: &str) -> std::path::PathBuf {
    let path = directory.join("scheduler.yaml");
    let head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nleaderElection: {leaderElect: false}\n";
    std::fs::write(&path, format!("{head}{text}")).unwrap();
    path
}

impl Cluster {
    pub async fn start() -> Self {
        Self::of(testing::start().await).await
    }

    pub async fn of(server: TestServer) -> Self {
        let options = ClientOptions {
            server: Some(server.url()),
            ..ClientOptions::default()
        };
        let client = fluyt_client::connect(&options).await.unwrap();
        Self { server, client }
    }

    pub async fn node(&self, name: &str, labels: Value, cpu: &str) {
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

    /// `requests` of the pod's only container.
    pub async fn pod(&self, name: &str, labels: Value, requests: Value, more: Value) {
        let resources = json!({"requests": requests, "limits": requests});
        let mut spec =
            json!({"containers": [{"name": "c", "image": "nginx", "resources": resources}]});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().cloned().unwrap_or_default());
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
                         "spec": spec});
        let path = "/api/v1/namespaces/default/pods";
        let _: Value = rest::create(&self.client, path, &pod).await.unwrap();
    }

    pub async fn get(&self, name: &str) -> Value {
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        rest::get(&self.client, &path).await.unwrap()
    }

    pub async fn until(&self, name: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let pod = self.get(name).await;
            if check(&pod) {
                return pod;
            }
            assert!(Instant::now() < deadline, "pod {name} is not {what}: {pod}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn bound(&self, name: &str) -> String {
        let pod = self.until(name, "bound", |pod| pod["spec"]["nodeName"].is_string());
        pod.await["spec"]["nodeName"].as_str().unwrap().to_owned()
    }

    /// The message of the condition PodScheduled=False with this reason.
    pub async fn pending(&self, name: &str, reason: &str) -> String {
        let condition = |pod: &Value| {
            let all = pod["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let mut found = all.into_iter();
            found.find(|one| one["type"] == "PodScheduled" && one["reason"] == reason)
        };
        let pod = self
            .until(name, reason, |pod| condition(pod).is_some())
            .await;
        condition(&pod).unwrap()["message"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}
