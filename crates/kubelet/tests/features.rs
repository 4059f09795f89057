//! What a pod's specification may ask for, one pod for each, all at the same time.
#![allow(clippy::unwrap_used)]

mod support;

use fluyt_client::rest;
use serde_json::{Value, json};
use support::{BUSYBOX, Node, eventually, in_namespace};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A pod of one container that runs a script, merged with more of its specification.
fn script(name: &str, script: &str, container: Value, spec: Value) -> Value {
    let mut main = json!({"name": name, "image": BUSYBOX, "command": ["sh", "-c", script]});
    merge(&mut main, container);
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": "node1", "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false, "containers": [main]},
    });
    merge(&mut pod["spec"], spec);
    pod
}

fn merge(into: &mut Value, from: Value) {
    for (key, value) in from.as_object().unwrap() {
        into[key] = value.clone();
    }
}

async fn get(client: &kube::Client, name: &str) -> Value {
    rest::get(client, &format!("{PODS}/{name}")).await.unwrap()
}

async fn state(client: &kube::Client, name: &str, which: &str) -> Value {
    get(client, name).await["status"]["containerStatuses"][0]["state"][which].clone()
}

async fn events(client: &kube::Client, name: &str) -> Vec<String> {
    let list: Value = rest::get(client, "/api/v1/namespaces/default/events")
        .await
        .unwrap();
    let of = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["involvedObject"]["name"] == name);
    of.map(|event| event["message"].as_str().unwrap().to_owned())
        .collect()
}

/// Each writes what it sees as its last words: (pod, words).
fn tellers(directory: &std::path::Path) -> Vec<(Value, &'static str)> {
    let mount =
        |name: &str, path: &str| json!({"volumeMounts": [{"name": name, "mountPath": path}]});
    let words = "/dev/termination-log";
    let tell = |command: &str| format!("{{ {command}; }} > {words} 2>&1; true");
    vec![
        (
            script(
                "user",
                &tell("id -u; id -g"),
                json!({"securityContext": {"runAsUser": 7, "runAsGroup": 8}}),
                json!({}),
            ),
            "7\n8\n",
        ),
        (
            script(
                "readonly",
                &tell("touch /x || echo refused"),
                json!({"securityContext": {"readOnlyRootFilesystem": true}}),
                json!({}),
            ),
            "touch: /x: Read-only file system\nrefused\n",
        ),
        (
            script(
                "memory",
                &tell("mount | grep -c 'on /m type tmpfs'"),
                mount("m", "/m"),
                json!({"volumes": [{"name": "m", "emptyDir": {"medium": "Memory"}}]}),
            ),
            "1\n",
        ),
        (
            script(
                "group",
                &tell("stat -c %g /m"),
                mount("m", "/m"),
                json!({"securityContext": {"fsGroup": 77}, "volumes": [{"name": "m", "emptyDir": {}}]}),
            ),
            "77\n",
        ),
        (
            script(
                "subpath",
                &tell("cat /s/file"),
                json!({"volumeMounts": [{"name": "h", "mountPath": "/s", "subPath": "inner"}]}),
                json!({"volumes": [{"name": "h", "hostPath": {"path": directory}}]}),
            ),
            "inside\n",
        ),
        (
            script(
                "hostnet",
                &tell("cat /sys/class/net/eth0/address | wc -l"),
                json!({}),
                json!({"hostNetwork": true}),
            ),
            "1\n",
        ),
        (
            script(
                "aliases",
                &tell("grep -c 1.2.3.4 /etc/hosts; hostname"),
                json!({}),
                json!({"hostname": "other", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["x"]}]}),
            ),
            "1\nother\n",
        ),
        (
            script(
                "dns",
                &tell("cat /etc/resolv.conf"),
                json!({}),
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "searches": ["a.b"]}}),
            ),
            "search a.b\nnameserver 9.9.9.9\n",
        ),
        (
            script(
                "limits",
                &tell(
                    "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null",
                ),
                json!({"resources": {"limits": {"memory": "32Mi", "cpu": "100m"}}}),
                json!({}),
            ),
            "33554432\n",
        ),
        (
            script(
                "order",
                &tell("cat /m/log"),
                mount("m", "/m"),
                json!({
            "initContainers": [
                {"name": "one", "image": BUSYBOX, "command": ["sh", "-c", "echo one > /m/log"], "volumeMounts": [{"name": "m", "mountPath": "/m"}]},
                {"name": "two", "image": BUSYBOX, "command": ["sh", "-c", "echo two >> /m/log"], "volumeMounts": [{"name": "m", "mountPath": "/m"}]},
                {"name": "side", "image": BUSYBOX, "restartPolicy": "Always", "command": ["sleep", "1000"]}],
            "volumes": [{"name": "m", "emptyDir": {}}]}),
            ),
            "one\ntwo\n",
        ),
    ]
}

#[test]
fn containers_find_what_was_asked_for() {
    in_namespace(|| async {
        let server = fluyt_apiserver::testing::start().await;
        let client =
            kube::Client::try_from(kube::Config::new(server.url().parse().unwrap())).unwrap();
        let node = Node::start("node1", client.clone(), &[]).await;
        let shared = node.directory.path().join("shared");
        std::fs::create_dir_all(shared.join("inner")).unwrap();
        std::fs::write(shared.join("inner/file"), "inside\n").unwrap();
        let tellers = tellers(&shared);
        for (pod, _) in &tellers {
            rest::create::<Value>(&client, PODS, pod).await.unwrap();
        }
        for (pod, words) in &tellers {
            let name = pod["metadata"]["name"].as_str().unwrap();
            eventually(&format!("{name} ends"), async || {
                state(&client, name, "terminated").await.is_object()
            })
            .await;
            let ended = state(&client, name, "terminated").await;
            assert_eq!(ended["message"].as_str(), Some(*words), "{name}: {ended}");
            eventually(&format!("{name} succeeded"), async || {
                get(&client, name).await["status"]["phase"] == "Succeeded"
            })
            .await;
        }
        node.destroy().await;
        server.stop().await;
    });
}

#[test]
fn what_goes_wrong_is_named() {
    in_namespace(|| async {
        let server = fluyt_apiserver::testing::start().await;
        let client =
            kube::Client::try_from(kube::Config::new(server.url().parse().unwrap())).unwrap();
        let node = Node::start("node1", client.clone(), &[]).await;
        let live = json!({"livenessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}});
        let startup = json!({"startupProbe": {"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 1}});
        let bodies = [
            script(
                "greedy",
                "head -c 200000000 /dev/zero | tail",
                json!({"resources": {"limits": {"memory": "16Mi"}}}),
                json!({}),
            ),
            script(
                "sick",
                "exec sleep 1000",
                live,
                json!({"restartPolicy": "Always"}),
            ),
            script(
                "slow",
                "exec sleep 1000",
                startup,
                json!({"restartPolicy": "Always"}),
            ),
            script(
                "unmounted",
                "true",
                json!({}),
                json!({"volumes": [{"name": "m", "configMap": {"name": "nothing"}}]}),
            ),
            script(
                "unset",
                "true",
                json!({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "nothing", "key": "k"}}}]}),
                json!({}),
            ),
            script(
                "rooted",
                "true",
                json!({"securityContext": {"runAsNonRoot": true}}),
                json!({}),
            ),
            script(
                "pulled",
                "true",
                json!({"image": "127.0.0.1:1/nothing:1"}),
                json!({}),
            ),
            script(
                "started",
                "true",
                json!({"command": ["/nothing"]}),
                json!({}),
            ),
            script(
                "late",
                "exec sleep 1000",
                json!({}),
                json!({"activeDeadlineSeconds": 1}),
            ),
        ];
        for body in &bodies {
            rest::create::<Value>(&client, PODS, body).await.unwrap();
        }
        let reason = async |name: &str| -> String {
            state(&client, name, "waiting").await["reason"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        eventually("memory is limited", async || {
            state(&client, "greedy", "terminated").await["reason"] == "OOMKilled"
        })
        .await;
        for name in ["sick", "slow"] {
            eventually(&format!("{name} is restarted"), async || {
                get(&client, name).await["status"]["containerStatuses"][0]["restartCount"]
                    .as_i64()
                    .unwrap_or(0)
                    > 0
            })
            .await;
        }
        let said = events(&client, "sick").await;
        assert!(said.iter().any(|message| message == "Container sick failed liveness probe, will be restarted"), "{said:?}");
        eventually("the mount fails", async || {
            events(&client, "unmounted").await.iter().any(|message| {
                message
                    == "MountVolume.SetUp failed for volume \"m\" : configmap \"nothing\" not found"
            })
        })
        .await;
        for (name, expected) in [
            ("unset", "CreateContainerConfigError"),
            ("rooted", "CreateContainerConfigError"),
            ("pulled", "ImagePullBackOff"),
            ("started", "RunContainerError"),
        ] {
            let mut last = String::new();
            eventually(&format!("{name}: {expected}"), async || {
                last = reason(name).await;
                last == expected
                    || (name == "started"
                        && state(&client, name, "terminated").await["reason"] == "StartError")
            })
            .await;
        }
        eventually("the deadline ends it", async || {
            let status = get(&client, "late").await["status"].clone();
            status["phase"] == "Failed" && status["reason"] == "DeadlineExceeded"
        })
        .await;
        node.destroy().await;
        server.stop().await;
    });
}
