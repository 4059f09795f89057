//! The seven steps of "Kubernetes from the ground up" with each component started alone, as a reader of the series types them:
//! over the embedded store and over etcd, with our kubectl and with the stock one.

use crate::support::{Client, Kubectl, Lab, Machine, Proc, wait_for};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    Embedded,
    Etcd,
}

struct Cluster<'a> {
    lab: &'a Lab,
    store: Store,
    kubectl: Kubectl<'a>,
}

impl<'a> Cluster<'a> {
    fn etcd(&self) -> Proc {
        let data = self.lab.master.directory.join("etcd").display().to_string();
        self.lab
            .master
            .spawn(&["etcd", "--data-dir", &data, "--log-level=error"])
    }

    fn apiserver(&self) -> Proc {
        let data = self
            .lab
            .master
            .directory
            .join("store")
            .display()
            .to_string();
        let mut words = vec![
            "kube-apiserver",
            "--service-cluster-ip-range=10.0.0.0/16",
            "--insecure-bind-address=0.0.0.0",
            "--insecure-port=8080",
        ];
        let data = format!("--data-dir={data}");
        match self.store {
            Store::Etcd => words.push("--etcd-servers=http://127.0.0.1:2379"),
            Store::Embedded => words.push(&data),
        }
        self.lab.master.spawn(&words)
    }

    fn kubelet(&self, node: &Machine) -> Proc {
        let cgroup = format!("--cgroup-root={}", self.lab.cgroup(&node.name));
        node.spawn(&["kubelet", "--api-servers=http://master:8080", &cgroup])
    }

    fn scheduler(&self) -> Proc {
        self.lab
            .master
            .spawn(&["kube-scheduler", "--master=http://localhost:8080"])
    }

    fn wait_server(&self) {
        wait_for("the API server's readiness", || {
            let done = self
                .lab
                .master
                .output(&["curl", "-sf", "http://localhost:8080/readyz"]);
            match done.status.success() {
                true => Ok(()),
                false => Err(format!("{done:?}")),
            }
        });
    }

    fn wait_nodes(&self) {
        wait_for("two nodes Ready", || {
            let (_, table, errors) = self.kubectl.try_run(&["get", "nodes"]);
            let ready = |name: &str| {
                table.lines().any(|line| {
                    let cells: Vec<&str> = line.split_whitespace().collect();
                    cells.first() == Some(&name)
                        && cells.get(1) == Some(&"Ready")
                        && cells.len() == 5
                })
            };
            match ready("node1") && ready("node2") {
                true => Ok(()),
                false => Err(format!("{table}{errors}")),
            }
        });
    }

    /// What must not change when components restart: each container's id and start.
    fn containers(&self, pod: &str) -> serde_json::Value {
        let pod = self.kubectl.json(&["get", "pod", pod]);
        pod["status"]["containerStatuses"]
            .as_array()
            .expect("the pod has containers")
            .iter()
            .map(|status| {
                serde_json::json!([
                    status["containerID"],
                    status["state"],
                    status["restartCount"]
                ])
            })
            .collect()
    }

    fn pod_node(&self, pod: &str) -> String {
        let pod = self.kubectl.json(&["get", "pod", pod]);
        pod["spec"]["nodeName"].as_str().unwrap_or("").to_owned()
    }

    fn describe(&self, pod: &str) -> String {
        self.kubectl.run(&["describe", &format!("pods/{pod}")])
    }
}

fn walkthrough(store: Store, client: Client) {
    let lab = Lab::new(2);
    let cluster = Cluster {
        lab: &lab,
        store,
        kubectl: lab.kubectl(client),
    };
    // 1. The server, over etcd or over its own store.
    let mut etcd = (store == Store::Etcd).then(|| cluster.etcd());
    let mut server = cluster.apiserver();
    cluster.wait_server();
    server.wait_log("insecure");
    // 2. Two nodes register.
    let mut kubelets: Vec<Proc> = lab.nodes.iter().map(|node| cluster.kubelet(node)).collect();
    cluster.wait_nodes();
    lab.nodes.iter().for_each(|node| lab.import_samples(node));
    named_pod(&cluster);
    unscheduled_pod(&cluster);
    // 5. The scheduler comes.
    let mut scheduler = cluster.scheduler();
    scheduled_pod(&cluster);
    reachable_pods(&cluster);
    // 7. Everything is killed and started again, one after the other.
    let before = cluster.containers("nginx-with-nodename");
    if let Some(running) = etcd.take() {
        running.kill();
        etcd = Some(cluster.etcd());
    }
    server.kill();
    server = cluster.apiserver();
    scheduler.kill();
    scheduler = cluster.scheduler();
    for node in &lab.nodes {
        kubelets.remove(0).kill();
        kubelets.push(cluster.kubelet(node));
    }
    cluster.wait_server();
    cluster.wait_nodes();
    lab_pod(&cluster, "after-the-restart");
    cluster
        .kubectl
        .wait_pod("after-the-restart", "1/1", "Running");
    assert_eq!(
        cluster.containers("nginx-with-nodename"),
        before,
        "containers outlive their components"
    );
    drop((etcd, server, scheduler, kubelets));
}

/// 3. A pod that names its node runs without a scheduler.
fn named_pod(cluster: &Cluster<'_>) {
    let said = cluster.kubectl.create_sample("nginx-with-nodename.yaml");
    assert_eq!(said.trim(), "pod/nginx-with-nodename created");
    cluster
        .kubectl
        .wait_pod("nginx-with-nodename", "2/2", "Running");
    let text = cluster.describe("nginx-with-nodename");
    let node = text
        .lines()
        .find(|line| line.starts_with("Node:"))
        .unwrap_or("");
    assert_eq!(
        node.split_whitespace().nth(1),
        Some("node2/10.99.0.12"),
        "{text}"
    );
}

/// 4. Without a scheduler a pod stays Pending: still so after another pod, created later, has come to run.
fn unscheduled_pod(cluster: &Cluster<'_>) {
    cluster.kubectl.create_sample("nginx-without-nodename.yaml");
    cluster
        .kubectl
        .run(&["delete", "pod", "nginx-with-nodename", "--grace-period=1"]);
    cluster.kubectl.create_sample("nginx-with-nodename.yaml");
    cluster
        .kubectl
        .wait_pod("nginx-with-nodename", "2/2", "Running");
    cluster
        .kubectl
        .wait_pod("nginx-without-nodename", "0/2", "Pending");
    assert_eq!(cluster.pod_node("nginx-without-nodename"), "");
}

/// 5. It is bound at once, on the emptier node, and its events tell the story.
fn scheduled_pod(cluster: &Cluster<'_>) {
    cluster
        .kubectl
        .wait_pod("nginx-without-nodename", "2/2", "Running");
    assert_eq!(cluster.pod_node("nginx-without-nodename"), "node1");
    let story = [
        (
            "Scheduled",
            "default-scheduler",
            "Successfully assigned default/nginx-without-nodename to node1",
        ),
        ("Pulled", "kubelet", "already present on machine"),
        ("Created", "kubelet", "Container created"),
        ("Started", "kubelet", "Container started"),
    ];
    wait_for("the pod's events", || {
        let text = cluster.describe("nginx-without-nodename");
        let events = text.split("Events:").nth(1).unwrap_or("").to_owned();
        let told = |(reason, source, message): &(&str, &str, &str)| {
            events.lines().any(|line| {
                line.contains(reason) && line.contains(source) && line.contains(message)
            })
        };
        match story.iter().all(told) {
            true => Ok(()),
            false => Err(text),
        }
    });
}

fn lab_pod(cluster: &Cluster<'_>, name: &str) {
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.22\n"
    );
    let file = cluster.lab.directory.path().join(format!("{name}.yaml"));
    std::fs::write(&file, manifest).unwrap();
    cluster
        .kubectl
        .run(&["create", "-f", &file.display().to_string()]);
}

/// 6. A further pod is placed right away; pods answer from the node they run on and from the other one.
fn reachable_pods(cluster: &Cluster<'_>) {
    lab_pod(cluster, "nginx-the-third");
    cluster
        .kubectl
        .wait_pod("nginx-the-third", "1/1", "Running");
    for pod in [
        "nginx-with-nodename",
        "nginx-without-nodename",
        "nginx-the-third",
    ] {
        let status = cluster.kubectl.json(&["get", "pod", pod]);
        let address = status["status"]["podIP"].as_str().unwrap_or("").to_owned();
        for node in &cluster.lab.nodes {
            let url = format!("http://{address}/");
            wait_for(&format!("{pod} answering {}", node.name), || {
                let done = node.output(&["curl", "-s", "--max-time", "5", &url]);
                let page = String::from_utf8_lossy(&done.stdout).into_owned();
                match page.contains("Welcome to nginx!") {
                    true => Ok(()),
                    false => Err(format!("{url}: {page} {}", done.status)),
                }
            });
        }
    }
}

#[test]
fn embedded_store_our_kubectl() {
    walkthrough(Store::Embedded, Client::Ours);
}

#[test]
fn embedded_store_stock_kubectl() {
    walkthrough(Store::Embedded, Client::Stock);
}

#[test]
fn etcd_our_kubectl() {
    walkthrough(Store::Etcd, Client::Ours);
}

#[test]
fn etcd_stock_kubectl() {
    walkthrough(Store::Etcd, Client::Stock);
}
