//! Bad input and faults, as a user meets them: one clear line and an exit code, waiting with back-off, nothing lost.

use std::net::TcpListener;
use std::process::Command;

use crate::support::{Client, Lab, call, fluyt, wait_for};

/// (exit code, standard error)
fn run(words: &[&str]) -> (i32, String) {
    let done = Command::new(fluyt()).args(words).output().unwrap();
    (
        done.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&done.stderr).into_owned(),
    )
}

#[track_caller]
fn one_line(words: &[&str], code: i32, parts: &[&str]) {
    let (actual, error) = run(words);
    assert_eq!(actual, code, "{words:?}: {error}");
    let line = error.trim();
    assert_eq!(line.lines().count(), 1, "{words:?} says one line: {error}");
    for part in parts {
        assert!(line.contains(part), "{words:?} mentions {part}: {error}");
    }
}

#[test]
fn a_flag_that_does_not_exist() {
    one_line(&["up", "--nonsense"], 2, &["--nonsense"]);
    one_line(&["scheduler", "--nonsense=1"], 2, &["--nonsense"]);
    one_line(&["up", "--nodes", "many"], 2, &["many", "--nodes"]);
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    let (code, error) = run(&[
        "up",
        "--nodes",
        "0",
        "--data-dir",
        &data,
        "--secure-port",
        &port,
    ]);
    let last = error.lines().last().unwrap_or("");
    assert_eq!(code, 1, "{error}");
    assert!(
        last.starts_with("error: ") && last.contains(&port) && last.contains("in use"),
        "{error}"
    );
    call(fluyt(), &["down", "--data-dir", &data]);
}

#[test]
fn files_that_are_not_there() {
    one_line(
        &[
            "image",
            "build",
            "/nonexistent/rootfs",
            "--tag",
            "a",
            "--output",
            "/dev/null",
        ],
        1,
        &["/nonexistent/rootfs"],
    );
    one_line(
        &["scheduler", "--kubeconfig", "/nonexistent/config"],
        1,
        &["/nonexistent/config"],
    );
    for component in ["sim", "kubelet", "controller-manager", "bench"] {
        let (_, error) = run(&[component, "--kubeconfig", "/nonexistent/config"]);
        assert_eq!(
            error.matches("No such file").count(),
            1,
            "{component}: {error}"
        );
    }
    let (code, error) = run(&["kubectl", "create", "-f", "/nonexistent/pod.yaml"]);
    assert_eq!(code, 1);
    assert!(
        error.contains("the path \"/nonexistent/pod.yaml\" does not exist"),
        "{error}"
    );
}

/// The components of the long way, with controllers.
struct Plane<'a> {
    lab: &'a Lab,
}

impl Plane<'_> {
    fn apiserver(&self, data: &str) -> crate::support::Proc {
        let data = format!("--data-dir={data}");
        self.lab.master.spawn(&[
            "kube-apiserver",
            "--insecure-bind-address=0.0.0.0",
            "--insecure-port=8080",
            &data,
        ])
    }

    fn kubelet(&self, node: &str) -> crate::support::Proc {
        let cgroup = format!("--cgroup-root={}", self.lab.cgroup(node));
        self.lab.node(node).spawn(&[
            "kubelet",
            "--api-servers=http://master:8080",
            "--node-status-update-frequency=1s",
            &cgroup,
        ])
    }

    fn store(&self) -> String {
        self.lab
            .master
            .directory
            .join("store")
            .display()
            .to_string()
    }
}

#[test]
fn a_server_that_is_away_is_waited_for_and_said_once() {
    let lab = Lab::new(1);
    let plane = Plane { lab: &lab };
    let controller = |name: &str| {
        let words = [
            name,
            "--master=http://localhost:8080",
            "--leader-elect=false",
        ];
        lab.master.spawn(&words)
    };
    let components = [
        controller("kube-scheduler"),
        controller("kube-controller-manager"),
        plane.kubelet("node1"),
    ];
    for component in &components {
        component.wait_log("cannot be reached");
    }
    let server = plane.apiserver(&plane.store());
    for component in &components {
        component.wait_log("answers again");
    }
    server.kill();
    for component in &components {
        wait_for("the second loss in the log", || {
            let log = component.log_text();
            match log.matches("cannot be reached").count() {
                2 => Ok(()),
                _ => Err(log),
            }
        });
        assert_eq!(component.log_text().matches("answers again").count(), 1);
    }
    for component in components {
        component.terminate();
    }
}

#[test]
fn a_node_whose_kubelet_is_killed_loses_its_pods_and_comes_back() {
    // With its only node gone a cluster would evict nothing, as upstream: two nodes, one of which stays.
    let lab = Lab::new(2);
    let plane = Plane { lab: &lab };
    let kubectl = lab.kubectl(Client::Ours);
    let _server = plane.apiserver(&plane.store());
    let _controllers = lab.master.spawn(&[
        "kube-controller-manager",
        "--master=http://localhost:8080",
        "--leader-elect=false",
        "--node-monitor-grace-period=4s",
        "--allocate-node-cidrs=true",
        "--cluster-cidr=10.244.0.0/16",
    ]);
    let _scheduler = lab.master.spawn(&[
        "kube-scheduler",
        "--master=http://localhost:8080",
        "--leader-elect=false",
    ]);
    let _other = plane.kubelet("node2");
    let running = plane.kubelet("node1");
    let ready = |status: &str| {
        wait_for(&format!("node1 {status}"), || {
            let (_, table, errors) = kubectl.try_run(&["get", "nodes"]);
            match table.lines().any(|line| {
                line.starts_with("node1") && line.split_whitespace().nth(1) == Some(status)
            }) {
                true => Ok(()),
                false => Err(format!("{table}{errors}")),
            }
        });
    };
    ready("Ready");
    lab.import_samples(lab.node("node1"));
    let manifest = lab.directory.path().join("pod.yaml");
    std::fs::write(
        &manifest,
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: brief\nspec:\n  nodeName: node1\n  tolerations:\n  - key: node.kubernetes.io/unreachable\n    operator: Exists\n    effect: NoExecute\n    tolerationSeconds: 1\n  containers:\n  - name: sleep\n    image: busybox:1.35\n    command: [/bin/sleep, '1000000']\n",
    )
    .unwrap();
    kubectl.run(&["create", "-f", &manifest.display().to_string()]);
    kubectl.wait_pod("brief", "1/1", "Running");
    running.kill();
    ready("NotReady");
    wait_for("the eviction of the pod", || {
        let (code, text, errors) = kubectl.try_run(&["get", "pod", "brief", "-o", "json"]);
        let pod: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        match code != 0 || !pod["metadata"]["deletionTimestamp"].is_null() {
            true => Ok(()),
            false => Err(format!("{text}{errors}")),
        }
    });
    let _running = plane.kubelet("node1");
    ready("Ready");
    wait_for("the end of the evicted pod", || {
        let (code, text, _) = kubectl.try_run(&["get", "pod", "brief"]);
        match code {
            0 => Err(text),
            _ => Ok(()),
        }
    });
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    let lab = Lab::new(0);
    let plane = Plane { lab: &lab };
    let kubectl = lab.kubectl(Client::Ours);
    let mount = lab.master.directory.join("small");
    std::fs::create_dir(&mount).unwrap();
    let place = mount.display().to_string();
    lab.master
        .call(&["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", &place]);
    let data = format!("{place}/store");
    let server = plane.apiserver(&data);
    wait_for("the server", || {
        match lab
            .master
            .output(&["curl", "-sf", "http://localhost:8080/readyz"])
            .status
            .success()
        {
            true => Ok(()),
            false => Err(server.log_text()),
        }
    });
    let ballast = lab.directory.path().join("ballast");
    std::fs::write(&ballast, "x".repeat(200_000)).unwrap();
    let ballast = format!("--from-file=a={}", ballast.display());
    let mut acknowledged = Vec::new();
    let error = (0..200)
        .find_map(|index| {
            let name = format!("c{index}");
            let (code, _, error) = kubectl.try_run(&["create", "configmap", &name, &ballast]);
            if code == 0 {
                acknowledged.push(name);
                return None;
            }
            Some(error)
        })
        .expect("8 MB hold less than 40 MB");
    assert!(
        error.contains("no space left") || error.contains("disk"),
        "{error}"
    );
    assert!(!acknowledged.is_empty());
    let all = kubectl.run(&["get", "configmaps", "-o", "name"]);
    acknowledged.iter().for_each(|name| {
        assert!(
            all.lines().any(|line| line.ends_with(&format!("/{name}"))),
            "{name} is read while the disk is full"
        )
    });
    lab.master
        .call(&["mount", "-o", "remount,size=64m", &place]);
    kubectl.run(&[
        "create",
        "configmap",
        "with-room-again",
        "--from-literal=a=1",
    ]);
    server.kill();
    let _server = plane.apiserver(&data);
    wait_for("everything that was acknowledged", || {
        let (code, all, errors) = kubectl.try_run(&["get", "configmaps", "-o", "name"]);
        let missing: Vec<&String> = acknowledged
            .iter()
            .filter(|name| !all.lines().any(|line| line.ends_with(&format!("/{name}"))))
            .collect();
        match code == 0 && missing.is_empty() && all.contains("with-room-again") {
            true => Ok(()),
            false => Err(format!("missing {missing:?}: {errors}")),
        }
    });
}
