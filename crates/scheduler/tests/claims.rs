//! Resource claims and pod groups against the real API server: what users, drivers and controllers would see.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use fluyt_apiserver::testing::{self, TestServer};
use fluyt_client::kube::Client;
use fluyt_client::{ClientOptions, rest};
use fluyt_scheduler::{Options, replay};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEVICES: &str = "/apis/resource.k8s.io/v1";

const RECORD: &str = "record.jsonl";

struct Cluster {
    _server: TestServer,
    client: Client,
    stop: CancellationToken,
    scheduler: tokio::task::JoinHandle<anyhow::Result<()>>,
    directory: tempfile::TempDir,
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cluster {
    /// A server and a scheduler with these flags.
    async fn start(flags: &[&str]) -> Self {
        let server = testing::start().await;
        let options = ClientOptions {
            server: Some(server.url()),
            ..ClientOptions::default()
        };
        let client = fluyt_client::connect(&options).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let record = format!("--record={}", directory.path().join(RECORD).display());
        let words = [
            "kube-scheduler",
            "--leader-elect=false",
            "--secure-port=0",
            &record,
        ];
        let line = <Line as clap::Parser>::try_parse_from(words.iter().chain(flags)).unwrap();
        let stop = CancellationToken::new();
        let run = fluyt_scheduler::run(line.options, client.clone(), stop.clone());
        Self {
            scheduler: tokio::spawn(run),
            directory,
            _server: server,
            client,
            stop,
        }
    }

    /// Ends the scheduler and decides again what it recorded.
    async fn replay(mut self) -> replay::Summary {
        self.stop.cancel();
        (&mut self.scheduler).await.unwrap().unwrap();
        let options = replay::Options {
            file: self.directory.path().join(RECORD),
            quiet: true,
        };
        replay::run(&options, &mut Vec::new()).unwrap()
    }

    async fn create(&self, path: &str, object: Value) -> Value {
        rest::create(&self.client, path, &object).await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        rest::get(&self.client, path).await.unwrap()
    }

    async fn patch(&self, path: &str, patch: Value) -> Value {
        let kind = rest::PatchType::Merge;
        rest::patch(&self.client, path, kind, &patch).await.unwrap()
    }

    async fn node(&self, name: &str, cpu: &str) {
        let amounts = json!({"cpu": cpu, "memory": "8Gi", "pods": "110"});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
                          "status": {"allocatable": amounts, "capacity": amounts}});
        self.create("/api/v1/nodes", node).await;
        let untaint = json!({"spec": {"taints": null}});
        self.patch(&format!("/api/v1/nodes/{name}"), untaint).await;
    }

    /// Two GPUs of one model on a node, and the class for them.
    async fn gpus(&self, node: &str) {
        let class = json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "gpu"},
                           "spec": {"selectors": [{"cel": {"expression": "device.driver == 'gpu.example.com'"}}]}});
        self.create(&format!("{DEVICES}/deviceclasses"), class)
            .await;
        let gpu = |name: &str| json!({"name": name, "attributes": {"model": {"string": "a100"}}, "capacity": {"memory": {"value": "40Gi"}}});
        let slice = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": format!("{node}-gpus")},
                           "spec": {"driver": "gpu.example.com", "nodeName": node,
                                    "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
                                    "devices": [gpu("gpu-0"), gpu("gpu-1")]}});
        self.create(&format!("{DEVICES}/resourceslices"), slice)
            .await;
    }

    /// A pod with a claim from a template, which is made for it as the claim controller would.
    async fn gpu_pod(&self, name: &str) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "image": "nginx", "resources": {"claims": [{"name": "gpu"}]}}],
                     "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]}});
        let pod = self.create(PODS, pod).await;
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod["metadata"]["uid"], "controller": true});
        let memory = "device.capacity['gpu.example.com'].memory.compareTo(quantity('10Gi')) >= 0";
        let request = json!({"name": "gpu", "exactly": {"deviceClassName": "gpu", "selectors": [{"cel": {"expression": memory}}]}});
        let claim = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
            "metadata": {"name": format!("{name}-gpu-x"), "ownerReferences": [owner]},
            "spec": {"devices": {"requests": [request]}}});
        let path = format!("{DEVICES}/namespaces/default/resourceclaims");
        self.create(&path, claim).await;
        let made = json!([{"name": "gpu", "resourceClaimName": format!("{name}-gpu-x")}]);
        let status = json!({"status": {"resourceClaimStatuses": made}});
        self.patch(&format!("{PODS}/{name}/status"), status).await;
    }

    async fn claim(&self, pod: &str) -> Value {
        let path = format!("{DEVICES}/namespaces/default/resourceclaims/{pod}-gpu-x");
        self.get(&path).await
    }

    async fn until(&self, path: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let object = self.get(path).await;
            if check(&object) {
                return object;
            }
            assert!(Instant::now() < deadline, "not {what}: {object}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn bound(&self, pod: &str) -> String {
        let path = format!("{PODS}/{pod}");
        let is_bound = |pod: &Value| pod["spec"]["nodeName"].is_string();
        let pod = self.until(&path, "bound", is_bound).await;
        pod["spec"]["nodeName"].as_str().unwrap().to_owned()
    }

    async fn pending(&self, pod: &str, message: &str) {
        let path = format!("{PODS}/{pod}");
        let said = |pod: &Value| condition(pod, "PodScheduled").cloned();
        let is_said = |pod: &Value| said(pod).is_some_and(|said| said["message"] == message);
        let pod = self.until(&path, message, is_said).await;
        assert_eq!(said(&pod).unwrap()["reason"], "Unschedulable");
        assert!(pod["spec"]["nodeName"].is_null());
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut conditions = object["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == kind)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pods_get_a_device_each_and_the_third_waits_for_one() {
    let cluster = Cluster::start(&[]).await;
    cluster.node("plain", "4").await;
    cluster.node("gpus", "4").await;
    cluster.gpus("gpus").await;
    let mut devices = Vec::new();
    for name in ["a", "b"] {
        cluster.gpu_pod(name).await;
        assert_eq!(cluster.bound(name).await, "gpus");
        let claim = cluster.claim(name).await;
        let pod = cluster.get(&format!("{PODS}/{name}")).await;
        let status = &claim["status"];
        let expected = json!([{"resource": "pods", "name": name, "uid": pod["metadata"]["uid"]}]);
        assert_eq!(status["reservedFor"], expected);
        let expected = json!({"nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["gpus"]}]}]});
        assert_eq!(status["allocation"]["nodeSelector"], expected);
        let finalizers = json!(["resource.kubernetes.io/delete-protection"]);
        assert_eq!(claim["metadata"]["finalizers"], finalizers);
        let results = status["allocation"]["devices"]["results"].clone();
        assert_eq!(results[0]["request"], "gpu");
        assert_eq!(results[0]["driver"], "gpu.example.com");
        devices.push(results[0]["device"].as_str().unwrap().to_owned());
    }
    devices.sort();
    assert_eq!(devices, ["gpu-0", "gpu-1"]);
    cluster.gpu_pod("c").await;
    let message = "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, \
                   preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.";
    cluster.pending("c", message).await;
    // The first pod ends, and its claim is given back, as the claim controller does.
    let path = format!("{PODS}/a");
    let now = json!({"gracePeriodSeconds": 0});
    rest::delete(&cluster.client, &path, &now).await.unwrap();
    let path = format!("{DEVICES}/namespaces/default/resourceclaims/a-gpu-x/status");
    let free = json!({"status": {"reservedFor": null, "allocation": null}});
    cluster.patch(&path, free).await;
    assert_eq!(cluster.bound("c").await, "gpus");
    assert!(cluster.replay().await.placed >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_waits_outside_the_queue_until_its_claim_exists() {
    let cluster = Cluster::start(&[]).await;
    cluster.node("gpus", "4").await;
    cluster.gpus("gpus").await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "early"},
        "spec": {"containers": [{"name": "c", "image": "nginx", "resources": {"claims": [{"name": "gpu"}]}}],
                 "resourceClaims": [{"name": "gpu", "resourceClaimName": "shared"}]}});
    cluster.create(PODS, pod).await;
    // One that came later is bound; the early one was not even looked at.
    cluster.gpu_pod("later").await;
    cluster.bound("later").await;
    let early = cluster.get(&format!("{PODS}/early")).await;
    assert!(condition(&early, "PodScheduled").is_none_or(|one| one["reason"].is_null()));
    let claim = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "shared"},
        "spec": {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]}}});
    let path = format!("{DEVICES}/namespaces/default/resourceclaims");
    cluster.create(&path, claim).await;
    assert_eq!(cluster.bound("early").await, "gpus");
    assert!(cluster.replay().await.placed >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gang_is_bound_whole_or_not_at_all() {
    let cluster =
        Cluster::start(&["--feature-gates=GenericWorkload=true,GangScheduling=true"]).await;
    cluster.node("first", "2").await;
    let group = json!({"apiVersion": "scheduling.k8s.io/v1alpha2", "kind": "PodGroup", "metadata": {"name": "trio"},
                       "spec": {"schedulingPolicy": {"gang": {"minCount": 3}}}});
    let groups = "/apis/scheduling.k8s.io/v1alpha2/namespaces/default/podgroups";
    cluster.create(groups, group).await;
    let names = ["a", "b", "c"];
    for name in names {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"schedulingGroup": {"podGroupName": "trio"},
                     "containers": [{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "1"}}}]}});
        cluster.create(PODS, pod).await;
    }
    let waiting =
        "pod group is unschedulable, waiting for minCount pods from a gang to be scheduled";
    cluster.pending("a", waiting).await;
    let path = format!("{groups}/trio");
    let status = |group: &Value| condition(group, "PodGroupScheduled").cloned();
    let is = |group: &Value, wanted: &str| status(group).is_some_and(|one| one["status"] == wanted);
    let group = cluster
        .until(&path, "unschedulable", |group| is(group, "False"))
        .await;
    let said = status(&group).unwrap();
    assert_eq!(
        (said["reason"].as_str(), said["message"].as_str()),
        (Some("Unschedulable"), Some("pod group is unschedulable"))
    );
    for name in names {
        let pod = cluster.get(&format!("{PODS}/{name}")).await;
        assert!(pod["spec"]["nodeName"].is_null());
    }
    cluster.node("second", "1").await;
    for name in names {
        cluster.bound(name).await;
    }
    let group = cluster
        .until(&path, "scheduled", |group| is(group, "True"))
        .await;
    assert_eq!(status(&group).unwrap()["reason"], "Scheduled");
    assert!(cluster.replay().await.placed >= 3);
}
