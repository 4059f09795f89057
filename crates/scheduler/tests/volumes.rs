//! Pods with claims against the real API server: what the scheduler writes before it binds a pod, and that it waits for the volume.
//! The controller of volumes is played by the test.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use fluyt_apiserver::testing::{self, TestServer};
use fluyt_client::kube::Client;
use fluyt_client::{ClientOptions, rest};
use fluyt_scheduler::Options;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

struct Cluster {
    server: TestServer,
    client: Client,
    stop: CancellationToken,
}

impl Cluster {
    /// Two nodes and a scheduler.
    async fn start(provisioner: &str) -> Self {
        let server = testing::start().await;
        let options = ClientOptions {
            server: Some(server.url()),
            ..ClientOptions::default()
        };
        let client = fluyt_client::connect(&options).await.unwrap();
        let cluster = Self {
            server,
            client,
            stop: CancellationToken::new(),
        };
        for name in ["node1", "node2"] {
            cluster.node(name).await;
        }
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "wait"},
                           "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer"});
        cluster
            .create("/apis/storage.k8s.io/v1/storageclasses", &class)
            .await;
        let words = ["kube-scheduler", "--leader-elect=false", "--secure-port=0"];
        let line = <Line as clap::Parser>::try_parse_from(words).unwrap();
        let run = fluyt_scheduler::run(line.options, cluster.client.clone(), cluster.stop.clone());
        tokio::spawn(run);
        cluster
    }

    async fn end(self) {
        self.stop.cancel();
        self.server.stop().await;
    }

    async fn create(&self, path: &str, object: &Value) -> Value {
        rest::create(&self.client, path, object).await.unwrap()
    }

    async fn merge(&self, path: &str, change: &Value) -> Value {
        rest::patch(&self.client, path, rest::PatchType::Merge, change)
            .await
            .unwrap()
    }

    async fn node(&self, name: &str) {
        let amounts = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                          "status": {"allocatable": amounts, "capacity": amounts}});
        self.create("/api/v1/nodes", &node).await;
        // A new node may be tainted as not ready, as by upstream's admission; here nobody would lift that.
        let path = format!("/api/v1/nodes/{name}");
        self.merge(&path, &json!({"spec": {"taints": null}})).await;
    }

    async fn claim(&self, name: &str) -> Value {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "wait", "resources": {"requests": {"storage": "1Gi"}}}});
        self.create("/api/v1/namespaces/default/persistentvolumeclaims", &claim)
            .await
    }

    /// A local volume on a node, marked as available, as its controller would.
    async fn local_volume(&self, name: &str, node: &str, size: &str) {
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "wait",
                     "local": {"path": "/data"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                         {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}}});
        self.create("/api/v1/persistentvolumes", &volume).await;
        let path = format!("/api/v1/persistentvolumes/{name}/status");
        self.merge(&path, &json!({"status": {"phase": "Available"}}))
            .await;
    }

    async fn pod(&self, name: &str, claim: &str) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "containers": [{"name": "c", "image": "nginx"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}});
        self.create("/api/v1/namespaces/default/pods", &pod).await;
    }

    async fn until(&self, path: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let object: Value = rest::get(&self.client, path).await.unwrap();
            if check(&object) {
                return object;
            }
            assert!(Instant::now() < deadline, "{path} is not {what}: {object}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the controller of volumes does at the end.
    async fn bind_claim(&self, claim: &str, volume: &str) {
        let path = format!("/api/v1/namespaces/default/persistentvolumeclaims/{claim}");
        let change = json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
                            "spec": {"volumeName": volume}});
        self.merge(&path, &change).await;
    }
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

fn node_of(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_goes_where_the_smallest_volume_for_its_claim_is() {
    let cluster = Cluster::start("kubernetes.io/no-provisioner").await;
    let claim = cluster.claim("data").await;
    cluster.pod("a", "data").await;
    let none = "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. no new claims to deallocate, preemption: \
                0/2 nodes are available: 2 Preemption is not helpful for scheduling.";
    let pod = format!("{PODS}/a");
    cluster
        .until(&pod, "told that there is no volume", |pod| {
            pod["status"]["conditions"][0]["message"] == none
        })
        .await;
    cluster.local_volume("small", "node2", "512Mi").await;
    cluster.local_volume("right", "node2", "2Gi").await;
    cluster.local_volume("large", "node2", "4Gi").await;
    let volume = cluster
        .until("/api/v1/persistentvolumes/right", "given away", |volume| {
            volume["spec"]["claimRef"].is_object()
        })
        .await;
    let reference = &volume["spec"]["claimRef"];
    assert_eq!(reference["name"], "data");
    assert_eq!(reference["namespace"], "default");
    assert_eq!(reference["kind"], "PersistentVolumeClaim");
    assert_eq!(reference["uid"], claim["metadata"]["uid"]);
    let annotations = &volume["metadata"]["annotations"];
    assert_eq!(annotations["pv.kubernetes.io/bound-by-controller"], "yes");
    let unbound: Value = rest::get(&cluster.client, &pod).await.unwrap();
    assert_eq!(node_of(&unbound), None, "the claim is not bound yet");
    cluster.bind_claim("data", "right").await;
    let bound = cluster
        .until(&pod, "bound", |pod| node_of(pod).is_some())
        .await;
    assert_eq!(node_of(&bound), Some("node2"));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_handed_over_to_its_provisioner() {
    let cluster = Cluster::start("csi.example.com").await;
    cluster.pod("a", "data").await;
    let pod = format!("{PODS}/a");
    let missing = "0/2 nodes are available: persistentvolumeclaim \"data\" not found. no new claims to deallocate, preemption: \
                   0/2 nodes are available: 2 Preemption is not helpful for scheduling.";
    cluster
        .until(&pod, "told that there is no claim", |pod| {
            pod["status"]["conditions"][0]["message"] == missing
        })
        .await;
    cluster.claim("data").await;
    let path = format!("{CLAIMS}/data");
    let selected = |claim: &Value| {
        let annotations = &claim["metadata"]["annotations"];
        let node = annotations["volume.kubernetes.io/selected-node"].as_str();
        node.map(str::to_owned)
    };
    let claim = cluster
        .until(&path, "handed over", |claim| selected(claim).is_some())
        .await;
    assert!(["node1", "node2"].contains(&selected(&claim).unwrap().as_str()));
    // The provisioner cannot, and gives the claim back: the scheduler decides again, and hands it over again.
    let back = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": null}}});
    cluster.merge(&path, &back).await;
    let events = cluster
        .until("/api/v1/namespaces/default/events", "telling of the failure", |events| {
            let mut events = events["items"].as_array().unwrap().iter();
            events.any(|event| {
                event["message"].as_str().is_some_and(|message| {
                    message.contains("running PreBind plugin \"VolumeBinding\": binding volumes: provisioning failed for PVC \"data\"")
                })
            })
        })
        .await;
    assert!(events["items"].is_array());
    let claim = cluster
        .until(&path, "handed over again", |claim| {
            selected(claim).is_some()
        })
        .await;
    let node = selected(&claim).unwrap();
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "made"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "wait",
                 "csi": {"driver": "csi.example.com", "volumeHandle": "made"},
                 "claimRef": {"namespace": "default", "name": "data", "uid": claim["metadata"]["uid"]}}});
    cluster.create("/api/v1/persistentvolumes", &volume).await;
    cluster.bind_claim("data", "made").await;
    let bound = cluster
        .until(&pod, "bound", |pod| node_of(pod).is_some())
        .await;
    assert_eq!(node_of(&bound), Some(node.as_str()));
    cluster.end().await;
}
