//! Ends and new beginnings: hooks and grace, a kubelet that comes back, mirrors of static
//! pods, pods that nobody wants any more.
#![allow(clippy::unwrap_used)]

mod support;

use fluyt_client::rest;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{BUSYBOX, Node, eventually, in_namespace};

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn server() -> (fluyt_apiserver::testing::TestServer, kube::Client) {
    let server = fluyt_apiserver::testing::start().await;
    let config = kube::Config::new(server.url().parse().unwrap());
    (server, kube::Client::try_from(config).unwrap())
}

fn pod(name: &str, grace: u32, container: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": "node1", "terminationGracePeriodSeconds": grace,
            "automountServiceAccountToken": false, "containers": [container]},
    })
}

async fn get(client: &kube::Client, name: &str) -> Value {
    rest::get_opt(client, &format!("{PODS}/{name}"))
        .await
        .unwrap()
        .unwrap_or_default()
}

async fn create(client: &kube::Client, body: &Value) {
    eventually("the API takes the pod", async || {
        rest::create::<Value>(client, PODS, body).await.is_ok()
    })
    .await;
}

async fn phase(client: &kube::Client, name: &str) -> String {
    get(client, name).await["status"]["phase"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn hooks_run_and_grace_is_given() {
    in_namespace(|| async {
        let (server, client) = server().await;
        let node = Node::start("node1", client.clone(), &[]).await;
        let shared = node.directory.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        let mut body = pod(
            "hooked",
            20,
            json!({
                "name": "c", "image": BUSYBOX,
                // It ends at once when it is asked to.
                "command": ["sh", "-c", "trap 'echo term >> /shared/log; exit 0' TERM; while :; do sleep 0.1; done"],
                "lifecycle": {
                    "postStart": {"exec": {"command": ["sh", "-c", "echo post >> /shared/log"]}},
                    "preStop": {"exec": {"command": ["sh", "-c", "echo pre >> /shared/log"]}}},
                "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
            }),
        );
        body["spec"]["volumes"] =
            json!([{"name": "shared", "hostPath": {"path": shared, "type": "Directory"}}]);
        create(&client, &body).await;
        eventually("it runs", async || {
            phase(&client, "hooked").await == "Running"
        })
        .await;
        let began = Instant::now();
        rest::delete(&client, &format!("{PODS}/hooked"), &json!({}))
            .await
            .unwrap();
        eventually("it is gone", async || {
            get(&client, "hooked").await.is_null()
        })
        .await;
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "the grace period is not waited for in full"
        );
        assert_eq!(
            std::fs::read_to_string(shared.join("log")).unwrap(),
            "post\npre\nterm\n"
        );

        let stubborn = json!({"name": "c", "image": BUSYBOX, "command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]});
        create(&client, &pod("stubborn", 2, stubborn)).await;
        eventually("it runs", async || {
            phase(&client, "stubborn").await == "Running"
        })
        .await;
        let began = Instant::now();
        rest::delete(&client, &format!("{PODS}/stubborn"), &json!({}))
            .await
            .unwrap();
        eventually("it is gone", async || {
            get(&client, "stubborn").await.is_null()
        })
        .await;
        assert!(
            began.elapsed() >= Duration::from_secs(2),
            "the grace period is given"
        );
        node.destroy().await;
        server.stop().await;
    });
}

#[test]
fn a_kubelet_that_comes_back_adopts_and_sweeps() {
    in_namespace(|| async {
        let (server, client) = server().await;
        let mut node = Node::start("node1", client.clone(), &[]).await;
        for name in ["stays", "leaves"] {
            create(
                &client,
                &pod(
                    name,
                    1,
                    json!({"name": name, "image": BUSYBOX, "command": ["sleep", "1000"]}),
                ),
            )
            .await;
            eventually("it runs", async || phase(&client, name).await == "Running").await;
        }
        let before = node.running("stays").await;
        let status = get(&client, "stays").await["status"].clone();
        node.stop().await;
        assert_eq!(
            node.running("stays").await,
            before,
            "containers outlive the kubelet"
        );
        rest::delete(
            &client,
            &format!("{PODS}/leaves"),
            &json!({"gracePeriodSeconds": 0}),
        )
        .await
        .unwrap();
        node.resume();
        eventually("what nobody wants is ended", async || {
            node.containers("leaves").await.is_empty()
        })
        .await;
        create(
            &client,
            &pod(
                "later",
                1,
                json!({"name": "later", "image": BUSYBOX, "command": ["sleep", "1000"]}),
            ),
        )
        .await;
        eventually("new pods run", async || {
            phase(&client, "later").await == "Running"
        })
        .await;
        assert_eq!(node.running("stays").await, before);
        assert_eq!(
            get(&client, "stays").await["status"],
            status,
            "an adopted pod's status does not change"
        );
        node.destroy().await;
        server.stop().await;
    });
}

#[test]
fn a_static_pod_has_a_mirror() {
    in_namespace(|| async {
        let (server, client) = server().await;
        let node = Node::start("node1", client.clone(), &[]).await;
        let manifest = |image_args: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: s}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {{name: c, image: {BUSYBOX}, command: [sleep, \"{image_args}\"]}}\n"
            )
        };
        node.manifest("s.yaml", &manifest("1000"));
        eventually("the mirror runs", async || {
            phase(&client, "s-node1").await == "Running"
        })
        .await;
        let mirror = get(&client, "s-node1").await;
        let first = mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"].clone();
        assert!(first.is_string());
        node.manifest("s.yaml", &manifest("2000"));
        eventually("the mirror follows the file", async || {
            let mirror = get(&client, "s-node1").await;
            let hash = &mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"];
            hash.is_string() && *hash != first && mirror["status"]["phase"] == "Running"
        })
        .await;
        node.remove_manifest("s.yaml");
        eventually("the mirror goes with the file", async || {
            get(&client, "s-node1").await.is_null()
        })
        .await;
        eventually("and so does the pod", async || {
            node.containers("c").await.is_empty()
        })
        .await;
        node.destroy().await;
        server.stop().await;
    });
}

#[test]
fn containers_outlive_their_runtime() {
    in_namespace(|| async {
        let (server, client) = server().await;
        let node = Node::start("node1", client.clone(), &[]).await;
        let body = |name: &str| {
            pod(
                name,
                1,
                json!({"name": name, "image": BUSYBOX, "command": ["sleep", "1000"]}),
            )
        };
        create(&client, &body("before")).await;
        eventually("it runs", async || {
            phase(&client, "before").await == "Running"
        })
        .await;
        let id = node.running("before").await;
        node.kill_containerd();
        create(&client, &body("after")).await;
        eventually("new pods run", async || {
            phase(&client, "after").await == "Running"
        })
        .await;
        assert_eq!(node.running("before").await, id);
        node.destroy().await;
        server.stop().await;
    });
}
