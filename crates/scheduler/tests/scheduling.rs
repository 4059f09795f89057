//! The scheduler against the real API server, in one process over HTTP: what a user of either would see.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use fluyt_apiserver::testing::{self, TestServer};
use fluyt_client::kube::Client;
use fluyt_client::{ClientOptions, rest};
use fluyt_scheduler::Options;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

struct Cluster {
    server: TestServer,
    client: Client,
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn options(more: &[&str]) -> Options {
    let words = ["kube-scheduler", "--leader-elect=false", "--secure-port=0"];
    let line = <Line as clap::Parser>::try_parse_from(words.iter().chain(more));
    line.unwrap().options
}

/// A scheduler that ends when it is dropped.
struct Scheduler {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cluster {
    async fn start() -> Self {
        let server = testing::start().await;
        let options = ClientOptions {
            server: Some(server.url()),
            ..ClientOptions::default()
        };
        let client = fluyt_client::connect(&options).await.unwrap();
        Self { server, client }
    }

    fn scheduler(&self) -> Scheduler {
        self.scheduler_with(&[])
    }

    fn scheduler_with(&self, more: &[&str]) -> Scheduler {
        let stop = CancellationToken::new();
        let run = fluyt_scheduler::run(options(more), self.client.clone(), stop.clone());
        Scheduler {
            task: tokio::spawn(run),
            stop,
        }
    }

    async fn node(&self, name: &str, cpu: &str) {
        let amounts = json!({"cpu": cpu, "memory": "8Gi", "pods": "110"});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                          "status": {"allocatable": amounts, "capacity": amounts}});
        let created: Value = rest::create(&self.client, "/api/v1/nodes", &node)
            .await
            .unwrap();
        assert_eq!(created["status"]["allocatable"]["cpu"], cpu);
        // A new node may be tainted as not ready, as by upstream's admission; here nobody would lift that.
        let untaint = json!({"spec": {"taints": null}});
        let path = format!("/api/v1/nodes/{name}");
        let _: Value = rest::patch(&self.client, &path, rest::PatchType::Merge, &untaint)
            .await
            .unwrap();
    }

    async fn pod(&self, name: &str, spec: Value) {
        let mut spec = spec;
        if spec["containers"].is_null() {
            spec["containers"] = json!([{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "100m"}}}]);
        }
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec});
        let path = "/api/v1/namespaces/default/pods";
        let _: Value = rest::create(&self.client, path, &pod).await.unwrap();
    }

    async fn get(&self, name: &str) -> Value {
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        rest::get(&self.client, &path).await.unwrap()
    }

    async fn until(&self, name: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
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

    async fn bound(&self, name: &str) -> String {
        let pod = self
            .until(name, "bound", |pod| pod["spec"]["nodeName"].is_string())
            .await;
        pod["spec"]["nodeName"].as_str().unwrap().to_owned()
    }

    async fn event(&self, reason: &str, pod: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let path = "/api/v1/namespaces/default/events";
            let events: Value = rest::get(&self.client, path).await.unwrap();
            let found =
                events["items"].as_array().unwrap().iter().find(|event| {
                    event["reason"] == reason && event["involvedObject"]["name"] == pod
                });
            if let Some(event) = found {
                return event.clone();
            }
            assert!(
                Instant::now() < deadline,
                "no event {reason} of {pod}: {events}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = pod["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_goes_to_the_emptier_node() {
    let cluster = Cluster::start().await;
    cluster.node("node1", "4").await;
    cluster.node("node2", "4").await;
    cluster.pod("fixed", json!({"nodeName": "node1"})).await;
    cluster.pod("free", json!({})).await;
    assert!(cluster.get("free").await["spec"]["nodeName"].is_null());
    let _scheduler = cluster.scheduler();
    assert_eq!(cluster.bound("free").await, "node2");
    let event = cluster.event("Scheduled", "free").await;
    assert_eq!(
        event["message"],
        "Successfully assigned default/free to node2"
    );
    assert_eq!(event["source"]["component"], "default-scheduler");
    assert_eq!(event["reportingComponent"], "default-scheduler");
    let pod = cluster.get("free").await;
    assert_eq!(condition(&pod, "PodScheduled").unwrap()["status"], "True");
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unschedulable_pod_is_told_why_and_bound_when_a_node_appears() {
    let cluster = Cluster::start().await;
    let _scheduler = cluster.scheduler();
    cluster.pod("a", json!({})).await;
    let unscheduled = |pod: &Value| condition(pod, "PodScheduled").is_some();
    let pod = cluster.until("a", "unschedulable", unscheduled).await;
    let said = condition(&pod, "PodScheduled").unwrap();
    assert_eq!(said["reason"], "Unschedulable");
    assert_eq!(said["message"], "no nodes available to schedule pods");
    cluster.node("small", "50m").await;
    let insufficient = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, \
                        preemption: 0/1 nodes are available: \
                        1 Preemption is not helpful for scheduling.";
    cluster
        .until("a", "told about the CPU", |pod| {
            condition(pod, "PodScheduled").is_some_and(|said| said["message"] == insufficient)
        })
        .await;
    let event = cluster.event("FailedScheduling", "a").await;
    assert_eq!(event["type"], "Warning");
    cluster.node("large", "4").await;
    assert_eq!(cluster.bound("a").await, "large");
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gated_pod_waits_until_its_gates_are_gone() {
    let cluster = Cluster::start().await;
    cluster.node("node1", "4").await;
    let _scheduler = cluster.scheduler();
    cluster
        .pod(
            "gated",
            json!({"schedulingGates": [{"name": "example.com/gate"}]}),
        )
        .await;
    // A pod that came later is bound; the gated one was passed by.
    cluster.pod("later", json!({})).await;
    cluster.bound("later").await;
    assert!(cluster.get("gated").await["spec"]["nodeName"].is_null());
    let open = json!({"spec": {"schedulingGates": []}});
    let path = "/api/v1/namespaces/default/pods/gated";
    let _: Value = rest::patch(&cluster.client, path, rest::PatchType::Merge, &open)
        .await
        .unwrap();
    assert_eq!(cluster.bound("gated").await, "node1");
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_other_schedulers_are_left_alone() {
    let cluster = Cluster::start().await;
    cluster.node("node1", "4").await;
    let _scheduler = cluster.scheduler();
    cluster
        .pod("foreign", json!({"schedulerName": "somebody-else"}))
        .await;
    cluster.pod("ours", json!({})).await;
    cluster.bound("ours").await;
    assert!(cluster.get("foreign").await["spec"]["nodeName"].is_null());
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_higher_priority_evicts_one_of_lower() {
    let cluster = Cluster::start().await;
    cluster.node("node1", "1").await;
    let _scheduler = cluster.scheduler();
    let class = |name: &str, value: i32| json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value});
    for body in [class("low", 1), class("high", 1000)] {
        let path = "/apis/scheduling.k8s.io/v1/priorityclasses";
        let _: Value = rest::create(&cluster.client, path, &body).await.unwrap();
    }
    let pod = |class: &str| {
        json!({"priorityClassName": class, "terminationGracePeriodSeconds": 0,
               "containers": [{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "800m"}}}]})
    };
    cluster.pod("low", pod("low")).await;
    cluster.bound("low").await;
    cluster.pod("high", pod("high")).await;
    let event = cluster.event("Preempted", "low").await;
    let uid = cluster.get("high").await["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        event["message"],
        format!("Preempted by pod {uid} on node node1")
    );
    // No kubelet confirms the end of the victim: this test does.
    let path = "/api/v1/namespaces/default/pods/low";
    let now = json!({"gracePeriodSeconds": 0});
    match rest::delete(&cluster.client, path, &now).await {
        Err(error) if !rest::is_not_found(&error) => panic!("{error}"),
        _ => {}
    }
    assert_eq!(cluster.bound("high").await, "node1");
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_schedulers_one_leads_and_the_other_takes_over() {
    let cluster = Cluster::start().await;
    cluster.node("node1", "4").await;
    let flags = ["--leader-elect=true", "--leader-elect-retry-period=100ms"];
    let first = cluster.scheduler_with(&flags);
    cluster.pod("a", json!({})).await;
    cluster.bound("a").await;
    let second = cluster.scheduler_with(&flags);
    first.stop.cancel();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !first.task.is_finished() {
        assert!(
            Instant::now() < deadline,
            "a scheduler ends when it is told to"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.pod("b", json!({})).await;
    cluster.bound("b").await;
    drop(second);
    cluster.server.stop().await;
}
