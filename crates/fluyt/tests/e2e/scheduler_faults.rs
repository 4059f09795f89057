//! The leading scheduler and the API server are killed while thousands of pods are being bound: every pod is bound, none changes its
//! node, and no node has more than it can hold, though the nodes hold exactly what there is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{Client, Kubectl, Lab, Proc, wait_for};

const NODES: usize = 50;
/// Of 100m each, on nodes of four processors: all the room there is.
const PODS_ON_A_NODE: usize = 40;
const PODS: usize = NODES * PODS_ON_A_NODE;

fn apiserver(lab: &Lab) -> Proc {
    let store = lab.master.directory.join("store");
    let server = lab.master.spawn(&[
        "kube-apiserver",
        "--insecure-bind-address=0.0.0.0",
        "--insecure-port=8080",
        "--disable-admission-plugins=ServiceAccount",
        &format!("--data-dir={}", store.display()),
    ]);
    wait_for("the API server", || {
        let ready = ["curl", "-sf", "http://localhost:8080/readyz"];
        match lab.master.output(&ready).status.success() {
            true => Ok(()),
            false => Err(server.log_text()),
        }
    });
    server
}

fn scheduler(lab: &Lab) -> Proc {
    lab.master.spawn(&[
        "kube-scheduler",
        "--master=http://localhost:8080",
        "--secure-port=0",
        "--leader-elect=true",
        "--leader-elect-lease-duration=3s",
        "--leader-elect-renew-deadline=2s",
        "--leader-elect-retry-period=200ms",
    ])
}

/// Everything that happens to pods from now on, after what is there already.
fn watch(lab: &Lab) -> Proc {
    let url = "http://localhost:8080/api/v1/pods?watch=true";
    lab.master.spawn(&["curl", "-sN", url])
}

/// By uid of a pod: the nodes that it was seen on.
fn seen(watches: &[Proc]) -> BTreeMap<String, BTreeSet<String>> {
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for watch in watches {
        // The last line may be half written.
        for event in watch.log_text().lines().map(serde_json::from_str::<Value>) {
            let Ok(event) = event else { continue };
            let pod = &event["object"];
            if let (Some(uid), Some(node)) = (
                pod["metadata"]["uid"].as_str(),
                pod["spec"]["nodeName"].as_str(),
            ) {
                seen.entry(uid.to_owned())
                    .or_default()
                    .insert(node.to_owned());
            }
        }
    }
    seen
}

/// Counts the events of pods that have a node, which is quick, so that what is then killed is still at work.
fn wait_for_bound(watch: &Proc, count: usize) {
    wait_for(&format!("{count} bound pods"), || {
        match watch.log_text().matches("\"nodeName\":").count() {
            bound if bound >= count => Ok(()),
            bound => Err(format!("{bound} are bound")),
        }
    });
}

fn create(lab: &Lab, kubectl: &Kubectl<'_>, items: Vec<Value>) {
    let file = lab.directory.path().join("objects.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    std::fs::write(&file, list.to_string()).unwrap();
    kubectl.run(&["create", "-f", &file.display().to_string()]);
}

fn node(index: usize) -> Value {
    let amounts = json!({"cpu": "4", "memory": "32Gi", "pods": "110"});
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("sim{index}")},
           "status": {"allocatable": amounts, "capacity": amounts}})
}

fn pod(index: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("p{index}")},
           "spec": {"tolerations": [{"operator": "Exists"}], "containers": [
               {"name": "c", "image": "none", "resources": {"requests": {"cpu": "100m"}}}]}})
}

fn check(kubectl: &Kubectl<'_>, watches: &[Proc]) {
    let seen = seen(watches);
    let mut on_node: BTreeMap<String, usize> = BTreeMap::new();
    let pods = kubectl.json(&["get", "pods"]);
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), PODS);
    for pod in pods {
        let (name, uid) = (&pod["metadata"]["name"], &pod["metadata"]["uid"]);
        let node = pod["spec"]["nodeName"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} is lost"));
        let only = BTreeSet::from([node.to_owned()]);
        assert_eq!(
            seen.get(uid.as_str().unwrap()),
            Some(&only),
            "nodes of {name}"
        );
        *on_node.entry(node.to_owned()).or_default() += 1;
    }
    for (node, count) in &on_node {
        assert_eq!(*count, PODS_ON_A_NODE, "pods on {node}");
    }
    let events = kubectl.json(&["get", "events"]);
    for event in events["items"].as_array().unwrap() {
        if event["reason"] == "Scheduled" {
            let uid = event["involvedObject"]["uid"].as_str().unwrap();
            let message = event["message"].as_str().unwrap();
            let node = seen[uid].first().unwrap();
            assert!(
                message.ends_with(&format!(" to {node}")),
                "{message}, but it is on {node}"
            );
        }
    }
}

#[test]
fn killing_the_leader_and_the_server_loses_no_pod_and_binds_none_twice() {
    let lab = Lab::new(0);
    let kubectl = lab.kubectl(Client::Ours);
    let server = apiserver(&lab);
    create(&lab, &kubectl, (0..NODES).map(node).collect());
    create(&lab, &kubectl, (0..PODS / 2).map(pod).collect());
    let mut watches = vec![watch(&lab)];
    let leader = scheduler(&lab);
    wait_for_bound(&watches[0], 1);
    let _successor = scheduler(&lab);
    wait_for_bound(&watches[0], PODS / 10);
    leader.kill();
    // However far the leader came: there is work for its successor.
    create(&lab, &kubectl, (PODS / 2..PODS).map(pod).collect());
    wait_for_bound(&watches[0], PODS / 2 + PODS / 10);
    server.kill();
    let _server = apiserver(&lab);
    watches.push(watch(&lab));
    let _third = scheduler(&lab);
    wait_for("all pods being bound", || match seen(&watches[1..]).len() {
        PODS => Ok(()),
        bound => Err(format!("{bound} are bound")),
    });
    check(&kubectl, &watches);
}
