//! Pods of a real API server on a real containerd.
#![allow(clippy::unwrap_used)]

mod support;

use fluyt_client::rest;
use serde_json::{Value, json};
use std::time::Instant;
use support::{BUSYBOX, Node, eventually, in_namespace};

/// An API server and a client of it.
async fn server() -> (fluyt_apiserver::testing::TestServer, kube::Client) {
    let server = fluyt_apiserver::testing::start().await;
    let config = kube::Config::new(server.url().parse().unwrap());
    (server, kube::Client::try_from(config).unwrap())
}

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": "node1", "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false},
    });
    for (key, value) in spec.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    pod
}

fn sleeper(name: &str) -> Value {
    json!({"name": name, "image": BUSYBOX, "command": ["sleep", "1000"]})
}

async fn get(client: &kube::Client, name: &str) -> Value {
    rest::get_opt(client, &format!("{PODS}/{name}"))
        .await
        .unwrap()
        .unwrap_or_default()
}

async fn wait_phase(client: &kube::Client, name: &str, phase: &str) -> Value {
    let mut last = Value::Null;
    eventually(&format!("{name} is {phase}"), async || {
        last = get(client, name).await;
        last["status"]["phase"] == phase
    })
    .await;
    last
}

async fn reasons(client: &kube::Client, name: &str) -> Vec<String> {
    let list: Value = rest::get(client, "/api/v1/namespaces/default/events")
        .await
        .unwrap();
    let of = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["involvedObject"]["name"] == name);
    of.map(|event| event["reason"].as_str().unwrap().to_owned())
        .collect()
}

async fn node_ready(client: &kube::Client) -> Value {
    let mut node = Value::Null;
    eventually("the node is ready", async || {
        node = rest::get_opt(client, "/api/v1/nodes/node1")
            .await
            .unwrap()
            .unwrap_or_default();
        let conditions = node["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    })
    .await;
    node
}

#[test]
fn a_pod_of_the_api_runs_is_told_about_and_leaves() {
    in_namespace(|| async {
        let (server, client) = server().await;
        let node = Node::start("node1", client.clone(), &[]).await;
        let registered = node_ready(&client).await;
        assert_eq!(registered["status"]["nodeInfo"]["operatingSystem"], "linux");
        assert_eq!(
            registered["metadata"]["labels"]["kubernetes.io/hostname"],
            "node1"
        );

        let mut milliseconds = Vec::new();
        for round in 0..5 {
            let name = format!("timed-{round}");
            let began = Instant::now();
            let body = pod(&name, json!({"containers": [sleeper(&name)]}));
            rest::create::<Value>(&client, PODS, &body).await.unwrap();
            node.running(&name).await;
            milliseconds.push(began.elapsed().as_millis());
            wait_phase(&client, &name, "Running").await;
        }
        eprintln!("pod created to container started: {milliseconds:?} ms");

        let running = get(&client, "timed-0").await;
        let status = &running["status"];
        assert!(status["podIP"].as_str().unwrap().starts_with("10.77.0."));
        assert_eq!(status["hostIP"], "192.168.77.1");
        assert_eq!(status["qosClass"], "BestEffort");
        assert_eq!(status["containerStatuses"][0]["ready"], true);
        assert!(
            status["containerStatuses"][0]["containerID"]
                .as_str()
                .unwrap()
                .starts_with("containerd://")
        );
        eventually("events are written", async || {
            let reasons = reasons(&client, "timed-0").await;
            ["Pulled", "Created", "Started"]
                .iter()
                .all(|reason| reasons.iter().any(|have| have == reason))
        })
        .await;

        rest::delete(&client, &format!("{PODS}/timed-0"), &json!({}))
            .await
            .unwrap();
        eventually("the object is gone", async || {
            get(&client, "timed-0").await.is_null()
        })
        .await;
        assert!(
            node.containers("timed-0")
                .await
                .iter()
                .all(|(_, state)| *state != 1)
        );
        node.destroy().await;
        server.stop().await;
    });
}

#[test]
fn phases_probes_and_back_off_are_told() {
    in_namespace(|| async {
        let (server, client) = server().await;
        let node = Node::start("node1", client.clone(), &[]).await;
        node_ready(&client).await;
        let bodies = [
            pod(
                "once",
                json!({"restartPolicy": "Never", "containers": [
                {"name": "c", "image": BUSYBOX, "command": ["sh", "-c", "echo last words > /dev/termination-log"]}]}),
            ),
            pod(
                "fails",
                json!({"restartPolicy": "Never", "containers": [
                {"name": "c", "image": BUSYBOX, "command": ["sh", "-c", "exit 3"]}]}),
            ),
            pod(
                "loops",
                json!({"containers": [{"name": "c", "image": BUSYBOX, "command": ["false"]}]}),
            ),
            pod(
                "absent",
                json!({"containers": [
                {"name": "c", "image": "fluyt.local/absent:1", "imagePullPolicy": "Never"}]}),
            ),
            pod(
                "probed",
                json!({"containers": [{"name": "c", "image": BUSYBOX,
                "command": ["sh", "-c", "sleep 2; touch /tmp/ready; exec sleep 1000"],
                "readinessProbe": {"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1}}]}),
            ),
        ];
        for body in &bodies {
            rest::create::<Value>(&client, PODS, body).await.unwrap();
        }
        let once = wait_phase(&client, "once", "Succeeded").await;
        let ended = &once["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(
            (ended["reason"].as_str(), ended["message"].as_str()),
            (Some("Completed"), Some("last words\n"))
        );
        let fails = wait_phase(&client, "fails", "Failed").await;
        assert_eq!(
            fails["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
            3
        );
        let waiting = async |name: &str| -> String {
            let state = get(&client, name).await["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
            state.as_str().unwrap_or_default().to_owned()
        };
        eventually("the loop backs off", async || {
            waiting("loops").await == "CrashLoopBackOff"
        })
        .await;
        assert!(
            get(&client, "loops").await["status"]["containerStatuses"][0]["restartCount"]
                .as_i64()
                .unwrap()
                >= 1
        );
        eventually("the image is missed", async || {
            waiting("absent").await == "ErrImageNeverPull"
        })
        .await;
        eventually("the probe succeeds", async || {
            get(&client, "probed").await["status"]["containerStatuses"][0]["ready"] == true
        })
        .await;
        assert!(
            reasons(&client, "probed")
                .await
                .iter()
                .any(|reason| reason == "Unhealthy")
        );
        node.destroy().await;
        server.stop().await;
    });
}

#[test]
fn config_maps_and_secrets_reach_containers_and_follow_changes() {
    in_namespace(|| async {
        let (server, client) = server().await;
        let node = Node::start("node1", client.clone(), &[]).await;
        node_ready(&client).await;
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "one"}});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"p": "hidden"}});
        let maps = "/api/v1/namespaces/default/configmaps";
        rest::create::<Value>(&client, maps, &map).await.unwrap();
        rest::create::<Value>(&client, "/api/v1/namespaces/default/secrets", &secret)
            .await
            .unwrap();
        let mut container = sleeper("reader");
        container["env"] = json!([
            {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
            {"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}}]);
        container["volumeMounts"] = json!([
            {"name": "m", "mountPath": "/m"}, {"name": "s", "mountPath": "/s"}, {"name": "d", "mountPath": "/d"}]);
        let body = pod(
            "reader",
            json!({"containers": [container], "volumes": [
            {"name": "m", "configMap": {"name": "m"}},
            {"name": "s", "secret": {"secretName": "s", "defaultMode": 256}},
            {"name": "d", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}),
        );
        rest::create::<Value>(&client, PODS, &body).await.unwrap();
        let id = node.running("reader").await;
        assert_eq!(
            node.exec(&id, "echo $K $P; cat /m/k /s/p /d/name").await,
            "one hidden\nonehiddenreader"
        );
        assert!(
            node.exec(&id, "echo $KUBERNETES_SERVICE_PORT")
                .await
                .starts_with("443")
        );
        let change = json!({"data": {"k": "two"}});
        rest::patch::<Value>(
            &client,
            &format!("{maps}/m"),
            rest::PatchType::Merge,
            &change,
        )
        .await
        .unwrap();
        eventually("the change arrives", async || {
            node.exec(&id, "cat /m/k").await == "two"
        })
        .await;
        node.destroy().await;
        server.stop().await;
    });
}

#[test]
fn a_container_that_cannot_start_backs_off() {
    in_namespace(|| async {
        let (server, client) = server().await;
        let node = Node::start("node1", client.clone(), &[]).await;
        node_ready(&client).await;
        let body = pod(
            "broken",
            json!({"containers": [{"name": "c", "image": BUSYBOX, "command": ["nothere"]}]}),
        );
        rest::create::<Value>(&client, PODS, &body).await.unwrap();
        let mut status = Value::Null;
        eventually("the error is told", async || {
            status = get(&client, "broken").await["status"]["containerStatuses"][0].clone();
            status["state"]["waiting"]["reason"] == "RunContainerError"
        })
        .await;
        let message = status["state"]["waiting"]["message"].as_str().unwrap();
        assert!(message.contains("nothere"), "{message}");
        let uid = get(&client, "broken").await["metadata"]["uid"].clone();
        let name = format!("broken_default({})", uid.as_str().unwrap());
        for (restarts, delay) in [(1, "10s"), (2, "20s")] {
            let message = format!("back-off {delay} restarting failed container=c pod={name}");
            eventually(&message, async || {
                status = get(&client, "broken").await["status"]["containerStatuses"][0].clone();
                let waiting = &status["state"]["waiting"];
                waiting["reason"] == "CrashLoopBackOff" && waiting["message"] == message.as_str()
            })
            .await;
            assert_eq!(status["restartCount"], restarts);
            let ended = &status["lastState"]["terminated"];
            assert_eq!(ended["exitCode"], 128);
            assert_eq!(ended["reason"], "StartError");
        }
        eventually("the event is written", async || {
            let list: Value = rest::get(&client, "/api/v1/namespaces/default/events")
                .await
                .unwrap();
            let message = format!("Back-off restarting failed container c in pod {name}");
            let mut events = list["items"].as_array().unwrap().iter();
            events.any(|event| event["reason"] == "BackOff" && event["message"] == message.as_str())
        })
        .await;
        node.destroy().await;
        server.stop().await;
    });
}

#[test]
fn pods_that_do_not_fit_are_rejected() {
    in_namespace(|| async {
        let (server, client) = server().await;
        let mut node = Node::start("node1", client.clone(), &[]).await;
        node_ready(&client).await;
        let create = async |name: &str, spec: Value| {
            rest::create::<Value>(&client, PODS, &pod(name, spec))
                .await
                .unwrap();
        };
        let with_port = |name: &str| {
            let mut container = sleeper(name);
            container["ports"] = json!([{"containerPort": 8088, "hostPort": 8088}]);
            json!({"hostNetwork": true, "containers": [container]})
        };
        create("fits", with_port("fits")).await;
        let id = node.running("fits").await;
        wait_phase(&client, "fits", "Running").await;
        let mut greedy = sleeper("greedy");
        greedy["resources"] = json!({"requests": {"cpu": "1000"}});
        create("greedy", json!({"containers": [greedy]})).await;
        create("port", with_port("port")).await;
        let selecting =
            |name: &str| json!({"nodeSelector": {"disk": "ssd"}, "containers": [sleeper(name)]});
        create("selects", selecting("selects")).await;
        let rejected = [
            (
                "greedy",
                "OutOfcpu",
                "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000, used: 0, capacity: ",
            ),
            (
                "port",
                "NodePorts",
                "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
            ),
            (
                "selects",
                "NodeAffinity",
                "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
            ),
        ];
        let told = async || {
            for (name, reason, message) in rejected {
                let status = wait_phase(&client, name, "Failed").await["status"].clone();
                assert_eq!(status["reason"], reason);
                let text = status["message"].as_str().unwrap();
                assert!(text.starts_with(message), "{text}");
                assert_eq!(status["containerStatuses"], Value::Null, "{name}");
                eventually("the rejection is an event", async || {
                    reasons(&client, name)
                        .await
                        .iter()
                        .any(|have| have == reason)
                })
                .await;
            }
        };
        told().await;

        // A label counts from the moment that it is set.
        let change = async |patch: Value| {
            let path = "/api/v1/nodes/node1";
            rest::patch::<Value>(&client, path, rest::PatchType::Merge, &patch)
                .await
                .unwrap();
        };
        change(json!({"metadata": {"labels": {"disk": "ssd"}}})).await;
        create("labelled", selecting("labelled")).await;
        wait_phase(&client, "labelled", "Running").await;

        // What runs keeps running, whatever the next kubelet would say to it.
        node.stop().await;
        let taint = json!({"key": "k", "effect": "NoExecute"});
        change(json!({"metadata": {"labels": {"disk": null}}, "spec": {"taints": [taint]}})).await;
        node.resume();
        create("late", json!({"containers": [sleeper("late")]})).await;
        let late = wait_phase(&client, "late", "Failed").await;
        assert_eq!(late["status"]["reason"], "TaintToleration");
        told().await;
        for name in ["fits", "labelled"] {
            assert_eq!(get(&client, name).await["status"]["phase"], "Running");
        }
        assert_eq!(node.running("fits").await, id);

        rest::delete(&client, &format!("{PODS}/greedy"), &json!({}))
            .await
            .unwrap();
        eventually("the rejected pod goes", async || {
            get(&client, "greedy").await.is_null()
        })
        .await;
        node.destroy().await;
        server.stop().await;
    });
}
