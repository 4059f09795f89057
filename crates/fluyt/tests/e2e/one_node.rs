//! `fluyt up` with the one node that runs in its process: the whole is one process, and its containers survive its crash.

use serde_json::{Value, json};

use crate::support::{Lab, wait_for};

#[test]
fn the_node_in_the_process_of_up_comes_back_with_its_containers() {
    let lab = Lab::new(0);
    let data = lab.directory.path().join("data").display().to_string();
    let words = ["fluyt", "up", "--nodes=1", "--data-dir", &data];
    let kubeconfig = format!("--kubeconfig={data}/admin.kubeconfig");
    let kubectl = |words: &[&str]| {
        let mut all = vec!["fluyt", "kubectl", &kubeconfig];
        all.extend(words);
        lab.master.call(&all)
    };
    let manifest = lab.directory.path().join("pod.json");
    std::fs::write(&manifest, pod().to_string()).unwrap();

    let up = lab.master.spawn(&words);
    up.wait_log("Fluyt runs");
    assert_eq!(fluyt_processes(&lab), 1, "the node has no process");
    kubectl(&["create", "-f", &manifest.display().to_string()]);
    let container = || {
        wait_for("the pod's start", || {
            let text = kubectl(&["get", "pod", "kept", "-o", "json"]);
            let pod: Value = serde_json::from_str(&text).unwrap();
            let status = &pod["status"]["containerStatuses"][0];
            match status["ready"] == true {
                true => Ok(status["containerID"].clone()),
                false => Err(text),
            }
        })
    };
    let before = container();
    // kill -9: the container goes on, and the next `up` adopts it and serves what is asked of its node.
    up.kill();
    let up = lab.master.spawn(&words);
    up.wait_log("Fluyt runs");
    assert_eq!(container(), before);
    kubectl(&["logs", "kept"]);
    // SIGTERM: containers and their runtime end too.
    up.terminate();
    wait_for("nothing left", || match lab.master.processes().as_slice() {
        [] => Ok(()),
        left => Err(format!("{left:?}")),
    });
    lab.master.call(&["fluyt", "down", "--data-dir", &data]);
}

/// With the image that every node of ours has.
fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "kept" },
        "spec": { "containers": [{
            "name": "main",
            "image": "fluyt.local/pause:1",
            "imagePullPolicy": "IfNotPresent",
        }] },
    })
}

/// How many processes of the binary run on the master.
fn fluyt_processes(lab: &Lab) -> usize {
    let is_fluyt = |pid: &i32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "fluyt"
    };
    lab.master
        .processes()
        .iter()
        .filter(|pid| is_fluyt(pid))
        .count()
}
