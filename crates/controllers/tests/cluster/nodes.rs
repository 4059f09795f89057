//! Nodes that fall silent, come back and go.

use std::time::Duration;

use fluyt_controllers::Options;
use serde_json::{Value, json};

use crate::harness::{Cluster, eventually};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A running pod on a node; it tolerates a silent node for so many seconds.
async fn pod(cluster: &Cluster, name: &str, node: &str, seconds: i64) {
    let tolerate = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "nodeName": node, "containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 30,
        "tolerations": [tolerate("node.kubernetes.io/not-ready"), tolerate("node.kubernetes.io/unreachable")]}});
    cluster.create(PODS, pod).await;
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    cluster.patch(&format!("{PODS}/{name}/status"), ready).await;
}

fn taints(node: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let taints = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    taints
        .iter()
        .map(|taint| (text(&taint["key"]), text(&taint["effect"])))
        .collect()
}

fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == type_)
}

/// Keeps a node alive.
fn alive(cluster: &Cluster, name: &'static str) -> tokio::task::JoinHandle<()> {
    let admin = cluster.admin.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let now = jiff::Timestamp::now().to_string();
            let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": now}]}});
            let path = format!("/api/v1/nodes/{name}/status");
            let kind = fluyt_client::rest::PatchType::Strategic;
            let _ = fluyt_client::rest::patch::<Value>(&admin, &path, kind, &status).await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_tainted_its_pods_leave_and_it_comes_back() {
    let cluster = Cluster::start().await;
    cluster.node("good").await;
    cluster.node("bad").await;
    let keeper = alive(&cluster, "good");
    pod(&cluster, "stays", "good", 20).await;
    pod(&cluster, "leaves", "bad", 20).await;
    let node = eventually("the silence is noticed", || async {
        let node = cluster.get("/api/v1/nodes/bad").await?;
        (condition(&node, "Ready")?["status"] == "Unknown").then_some(node)
    })
    .await;
    let ready = condition(&node, "Ready").unwrap();
    assert_eq!(ready["reason"], "NodeStatusUnknown");
    assert_eq!(ready["message"], "Kubelet stopped posting node status.");
    eventually("both taints are there", || async {
        let taints = taints(&cluster.get("/api/v1/nodes/bad").await?);
        let unreachable = |effect: &str| {
            taints.contains(&("node.kubernetes.io/unreachable".into(), effect.into()))
        };
        (unreachable("NoSchedule") && unreachable("NoExecute")).then_some(())
    })
    .await;
    eventually("the pod is not ready", || async {
        let pod = cluster.get(&format!("{PODS}/leaves")).await?;
        (condition(&pod, "Ready")?["status"] == "False").then_some(())
    })
    .await;
    let evicted = eventually("the pod is evicted", || async {
        let pod = cluster.get(&format!("{PODS}/leaves")).await?;
        (!pod["metadata"]["deletionTimestamp"].is_null()).then_some(pod)
    })
    .await;
    assert_eq!(
        condition(&evicted, "DisruptionTarget").unwrap()["reason"],
        "DeletionByTaintManager"
    );
    let events = cluster.events("default", "leaves").await;
    let expected = (
        "TaintManagerEviction".to_owned(),
        "Marking for deletion Pod default/leaves".to_owned(),
    );
    assert!(events.contains(&expected), "{events:?}");
    let events = cluster.events("default", "bad").await;
    let expected = (
        "NodeNotReady".to_owned(),
        "Node bad status is now: NodeNotReady".to_owned(),
    );
    assert!(events.contains(&expected), "{events:?}");
    let expected = (
        "RegisteredNode".to_owned(),
        "Node bad event: Registered Node bad in Controller".to_owned(),
    );
    assert!(events.contains(&expected), "{events:?}");
    assert!(
        cluster.get(&format!("{PODS}/stays")).await.unwrap()["metadata"]["deletionTimestamp"]
            .is_null()
    );

    cluster.heartbeat("bad", "True").await;
    eventually("the taints are gone", || async {
        taints(&cluster.get("/api/v1/nodes/bad").await?)
            .is_empty()
            .then_some(())
    })
    .await;
    keeper.abort();
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_keeps_a_node_alive() {
    let options = Options {
        node_monitor_grace_period: Duration::from_secs(20),
        ..Options::default()
    };
    let cluster = Cluster::with(options).await;
    cluster.node("quiet").await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "quiet"},
        "spec": {"holderIdentity": "quiet", "renewTime": "2026-01-01T00:00:00.000000Z"}});
    cluster.create(leases, lease).await;
    for second in 1..10 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let renewed =
            json!({"spec": {"renewTime": format!("2026-01-01T00:00:{second:02}.000000Z")}});
        cluster.patch(&format!("{leases}/quiet"), renewed).await;
    }
    let node = cluster.get("/api/v1/nodes/quiet").await.unwrap();
    assert_eq!(condition(&node, "Ready").unwrap()["status"], "True");
    eventually("without renewals it is noticed", || async {
        let node = cluster.get("/api/v1/nodes/quiet").await?;
        (condition(&node, "Ready")?["status"] == "Unknown").then_some(())
    })
    .await;
    // It was the only node: evictions stop when all are silent.
    let node = cluster.get("/api/v1/nodes/quiet").await.unwrap();
    assert!(
        taints(&node)
            .iter()
            .all(|(_, effect)| effect != "NoExecute")
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_removed_node_are_collected() {
    let cluster = Cluster::start().await;
    cluster.node("gone").await;
    pod(&cluster, "lost", "gone", 300).await;
    cluster.delete("/api/v1/nodes/gone", json!({})).await;
    eventually("the pod is collected", || async {
        cluster
            .get(&format!("{PODS}/lost"))
            .await
            .is_none()
            .then_some(())
    })
    .await;
    let events = cluster.events("default", "gone").await;
    assert!(
        events.iter().any(|(reason, _)| reason == "RemovingNode"),
        "{events:?}"
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn finished_pods_beyond_the_threshold_are_collected() {
    let cluster = Cluster::with(Options {
        terminated_pod_gc_threshold: 2,
        ..Options::default()
    })
    .await;
    cluster.node("n").await;
    let keeper = alive(&cluster, "n");
    for name in ["a", "b", "c", "d"] {
        pod(&cluster, name, "n", 300).await;
        cluster
            .patch(
                &format!("{PODS}/{name}/status"),
                json!({"status": {"phase": "Succeeded"}}),
            )
            .await;
    }
    eventually("two are left", || async {
        (cluster.list(PODS).await.len() == 2).then_some(())
    })
    .await;
    keeper.abort();
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nodes_get_ranges_of_their_own() {
    let options = Options {
        allocate_node_cidrs: true,
        cluster_cidr: vec!["10.244.0.0/16".into()],
        ..Options::default()
    };
    let cluster = Cluster::with(options).await;
    cluster.node("a").await;
    cluster.node("b").await;
    let mut ranges = Vec::new();
    for name in ["a", "b"] {
        let node = eventually("the node has a range", || async {
            let node = cluster.get(&format!("/api/v1/nodes/{name}")).await?;
            node["spec"]["podCIDR"].is_string().then_some(node)
        })
        .await;
        assert_eq!(node["spec"]["podCIDRs"], json!([node["spec"]["podCIDR"]]));
        ranges.push(node["spec"]["podCIDR"].as_str().unwrap().to_owned());
    }
    ranges.sort();
    assert_eq!(ranges, ["10.244.0.0/24", "10.244.1.0/24"]);
    cluster.stop().await;
}
