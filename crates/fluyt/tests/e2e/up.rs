//! `fluyt up`, `status`, `down`: a cluster in one command, resumed by the next, and no trace of it afterwards.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Cluster, parents, sample_image, wait_for};
use serde_json::Value;

#[test]
fn a_control_plane_without_nodes() {
    let cluster = Cluster::new();
    let up = cluster.up(&["--nodes", "0"]);
    assert!(
        up.said
            .lines()
            .any(|line| line.starts_with("ready in ") && line.ends_with(" ms")),
        "{}",
        up.said
    );
    let kubeconfig = cluster.data_dir.join("admin.kubeconfig");
    let mode = kubeconfig.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for namespaces in [
        cluster.kubectl(&["get", "namespaces"]),
        cluster.stock_kubectl(&["get", "namespaces"]),
    ] {
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            assert!(namespaces.contains(name), "{namespaces}");
        }
    }
    // Real controllers and a real scheduler: a deployment gets its pods, and they say why they wait.
    cluster.kubectl(&[
        "create",
        "deployment",
        "web",
        "--image=nginx:1.22",
        "--replicas=2",
    ]);
    wait_for("two pods that wait for nodes", || {
        let pods: Value =
            serde_json::from_str(&cluster.kubectl(&["get", "pods", "-o", "json"])).unwrap();
        let waiting = pods["items"].as_array().unwrap().iter().filter(|pod| {
            pod["status"]["conditions"].as_array().is_some_and(|all| {
                all.iter()
                    .any(|one| one["message"] == "no nodes available to schedule pods")
            })
        });
        match waiting.count() {
            2 => Ok(()),
            _ => Err(pods.to_string()),
        }
    });
    let status = cluster.fluyt_ok(&["status"]);
    assert!(status.contains("https://127.0.0.1:"), "{status}");
    up.terminate();
    assert!(!cluster.fluyt(&["status"]).status.success());
}

#[test]
fn a_second_up_resumes_and_a_crash_loses_nothing() {
    let cluster = Cluster::new();
    let up = cluster.up(&["--nodes", "0"]);
    cluster.kubectl(&["create", "configmap", "first", "--from-literal=a=1"]);
    let other = cluster.fluyt(&["up", "--nodes", "0", "--secure-port", "0"]);
    let error = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(1));
    assert!(
        error.starts_with("error: the data directory ") && error.contains("in use by process"),
        "{error}"
    );
    assert_eq!(error.trim().lines().count(), 1, "{error}");
    up.terminate();
    let up = cluster.up(&["--nodes", "0"]);
    cluster.kubectl(&["get", "configmap", "first"]);
    cluster.kubectl(&["create", "configmap", "second", "--from-literal=a=1"]);
    up.kill();
    let up = cluster.up(&["--nodes", "0"]);
    cluster.kubectl(&["get", "configmap", "first", "second"]);
    up.terminate();
}

/// Everything outside its data directory that carries a cluster's tag.
fn traces(data_dir: &Path, tag: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |directory: &str, prefix: &str| {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(prefix) {
                found.push(format!("{directory}/{name}"));
            }
        }
    };
    look("/run/netns", &format!("fluyt-{tag}"));
    look("/sys/class/net", &format!("fluyt-{tag}"));
    look("/sys/class/net", &format!("fl{tag}"));
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        look(
            &hierarchy.path().display().to_string(),
            &format!("fluyt-{tag}"),
        );
    }
    let data = data_dir.display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&data))
            .map(str::to_owned),
    );
    for pid in parents().keys() {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(&data) {
            found.push(command);
        }
    }
    let tables = crate::support::call("nft", &["list", "tables"]);
    found.extend(
        tables
            .lines()
            .filter(|line| line.contains(tag))
            .map(str::to_owned),
    );
    if data_dir.exists() {
        found.push(data);
    }
    found
}

fn running_pods(cluster: &Cluster) -> Vec<(String, String)> {
    let (_, text) = cluster.try_kubectl(&["get", "pods", "-o", "json"]);
    let pods: Value = serde_json::from_str(&text).unwrap_or_default();
    pods["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|pod| {
            let statuses = pod["status"]["containerStatuses"].as_array();
            pod["metadata"]["deletionTimestamp"].is_null()
                && statuses.is_some_and(|all| {
                    !all.is_empty() && all.iter().all(|one| one["ready"] == true)
                })
        })
        .map(|pod| {
            let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
            (
                text(&pod["metadata"]["name"]),
                text(&pod["spec"]["nodeName"]),
            )
        })
        .collect()
}

#[test]
fn two_nodes_in_the_background_and_no_trace_afterwards() {
    let cluster = Cluster::new();
    let said = cluster.fluyt_ok(&["up", "--nodes", "2", "--detach", "--secure-port", "0"]);
    assert!(
        said.contains("ready in ") && said.contains("admin.kubeconfig"),
        "{said}"
    );
    let again = cluster.fluyt_ok(&["up", "--nodes", "2", "--detach", "--secure-port", "0"]);
    assert!(again.contains("runs already"), "{again}");
    let state: Value = serde_json::from_str(
        &std::fs::read_to_string(cluster.data_dir.join("cluster.json")).unwrap(),
    )
    .unwrap();
    let tag = state["tag"].as_str().unwrap().to_owned();
    for image in ["busybox.tar", "nginx.tar"] {
        cluster.fluyt_ok(&[
            "image",
            "import",
            &sample_image(image).display().to_string(),
        ]);
    }
    let samples = crate::support::root().join("samples").display().to_string();
    cluster.kubectl(&["apply", "-f", &samples]);
    wait_for("the sample pods", || {
        let pods = running_pods(&cluster);
        match pods.len() {
            4 => Ok(()),
            _ => Err(cluster.try_kubectl(&["get", "pods", "-o", "wide"]).1),
        }
    });
    let hello: Vec<String> = running_pods(&cluster)
        .into_iter()
        .filter(|(name, _)| name.starts_with("hello-"))
        .map(|(_, node)| node)
        .collect();
    assert!(
        hello.contains(&"node1".into()) && hello.contains(&"node2".into()),
        "replicas are spread: {hello:?}"
    );
    inside_a_pod(&cluster);
    from_outside(&cluster);
    cluster.kubectl(&["scale", "deployment", "hello", "--replicas=1"]);
    wait_for("the deployment to shrink", || {
        let pods = running_pods(&cluster);
        match pods.len() {
            3 => Ok(()),
            _ => Err(format!("{pods:?}")),
        }
    });
    cluster.fluyt_ok(&["status"]);
    let gone = cluster.fluyt_ok(&["down"]);
    assert!(gone.contains("is gone"), "{gone}");
    assert_eq!(traces(&cluster.data_dir, &tag), Vec::<String>::new());
}

/// Logs and exec, with both clients.
fn inside_a_pod(cluster: &Cluster) {
    wait_for("a line in the log", || {
        let text = cluster.kubectl(&["logs", "-l", "app=hello", "--tail=1"]);
        match text.contains("hello from node") {
            true => Ok(()),
            false => Err(text),
        }
    });
    let exec = [
        "exec",
        "nginx-without-nodename",
        "-c",
        "log-truncator",
        "--",
        "/bin/sh",
        "-c",
        "echo $((6*7)); exit 0",
    ];
    assert_eq!(cluster.kubectl(&exec).trim(), "42");
    assert_eq!(cluster.stock_kubectl(&exec).trim(), "42");
    let log = cluster.stock_kubectl(&["logs", "deployment/hello", "--tail=1"]);
    assert!(log.contains("hello from node"), "{log}");
    let environment = cluster.kubectl(&[
        "exec",
        "deployment/hello",
        "--",
        "/bin/sh",
        "-c",
        "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace",
    ]);
    assert_eq!(
        environment, "default",
        "service account volumes are mounted"
    );
}

/// The API server's proxy reaches pods, and so does this machine.
fn from_outside(cluster: &Cluster) {
    let path = "/api/v1/namespaces/default/pods/nginx-without-nodename:80/proxy/";
    let page = cluster.kubectl(&["get", "--raw", path]);
    assert!(page.contains("Welcome to nginx!"), "{page}");
    let address = [
        "get",
        "pod",
        "nginx-without-nodename",
        "-o",
        "jsonpath={.status.podIP}",
    ];
    let url = format!("http://{}/", cluster.kubectl(&address));
    let page = crate::support::call("curl", &["-s", "--noproxy", "*", "--max-time", "5", &url]);
    assert!(page.contains("Welcome to nginx!"), "{page}");
}

#[test]
fn a_killed_cluster_comes_back_with_its_containers() {
    let cluster = Cluster::new();
    let up = cluster.up(&["--nodes", "1", "--private-network"]);
    cluster.fluyt_ok(&[
        "image",
        "import",
        &sample_image("busybox.tar").display().to_string(),
    ]);
    cluster.kubectl(&[
        "run",
        "sleeper",
        "--image=busybox:1.35",
        "--",
        "/bin/sleep",
        "1000000",
    ]);
    let started = |what: &str| {
        wait_for(what, || {
            let (_, text) = cluster.try_kubectl(&["get", "pod", "sleeper", "-o", "json"]);
            let pod: Value = serde_json::from_str(&text).unwrap_or_default();
            let status = &pod["status"]["containerStatuses"][0];
            match status["ready"] == true {
                true => Ok((
                    status["containerID"].clone(),
                    status["restartCount"].clone(),
                )),
                false => Err(text),
            }
        })
    };
    let before = started("the pod's start");
    // kill -9: the containers go on, and the next `up` adopts them.
    up.kill();
    let up = cluster.up(&["--nodes", "1", "--private-network"]);
    wait_for("a Ready node", || {
        let (_, table) = cluster.try_kubectl(&["get", "nodes"]);
        match table.contains(" Ready ") {
            true => Ok(()),
            false => Err(table),
        }
    });
    cluster.kubectl(&["create", "configmap", "after", "--from-literal=a=1"]);
    assert_eq!(started("the pod after the crash"), before);
    // SIGTERM: everything ends within five seconds, containers too; the next `up` starts them again.
    up.terminate();
    let data = cluster.data_dir.display().to_string();
    let left: Vec<String> = parents()
        .keys()
        .filter_map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok())
        .map(|command| String::from_utf8_lossy(&command).replace('\0', " "))
        .filter(|command| command.contains(&data))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    let up = cluster.up(&["--nodes", "1", "--private-network"]);
    wait_for("the pod's new container", || {
        let now = started("the pod after the stop");
        match now.0 == before.0 {
            false => Ok(()),
            true => Err(format!("{now:?}")),
        }
    });
    up.terminate();
}
