//! `fluyt snapshot` and `fluyt restore`: a cluster's objects in a file, and from the embedded store to etcd and back.

use crate::support::{Client, Cluster, Kubectl, Lab, Proc, wait_for};

fn server(lab: &Lab, words: &[&str]) -> Proc {
    let mut all = vec![
        "kube-apiserver",
        "--insecure-bind-address=127.0.0.1",
        "--insecure-port=8080",
    ];
    all.extend(words);
    let server = lab.master.spawn(&all);
    wait_for("the API server's readiness", || {
        let ready = ["curl", "-sf", "http://localhost:8080/readyz"];
        match lab.master.output(&ready).status.success() {
            true => Ok(()),
            false => Err(server.log_text()),
        }
    });
    server
}

fn holds(kubectl: &Kubectl<'_>, names: &[&str]) {
    for name in names {
        let map = kubectl.json(&["get", "configmap", name]);
        assert_eq!(map["data"]["name"], *name);
    }
}

fn create(kubectl: &Kubectl<'_>, name: &str) {
    let literal = format!("--from-literal=name={name}");
    kubectl.run(&["create", "configmap", name, &literal]);
}

#[test]
fn from_the_embedded_store_to_etcd_and_back() {
    let lab = Lab::new(0);
    let kubectl = lab.kubectl(Client::Ours);
    let place = |name: &str| lab.master.directory.join(name).display().to_string();
    let (first, second) = (place("first"), place("second"));
    let (there, back) = (place("there.snapshot"), place("back.snapshot"));
    let etcd = ["--etcd-servers", "http://127.0.0.1:2379"];
    let data = |directory: &str| format!("--data-dir={directory}");

    let embedded = server(&lab, &[&data(&first)]);
    create(&kubectl, "before");
    let busy = lab
        .master
        .output(&["fluyt", "snapshot", &data(&first), &there]);
    let why = String::from_utf8_lossy(&busy.stderr).into_owned();
    assert!(!busy.status.success() && why.contains("in use"), "{why}");
    embedded.terminate();
    lab.master
        .call(&["fluyt", "snapshot", &data(&first), &there]);

    let etcd_data = place("etcd");
    let peer = lab
        .master
        .spawn(&["etcd", "--data-dir", &etcd_data, "--log-level=error"]);
    wait_for("etcd", || {
        let health = ["curl", "-sf", "http://127.0.0.1:2379/health"];
        match lab.master.output(&health).status.success() {
            true => Ok(()),
            false => Err(peer.log_text()),
        }
    });
    let words = ["fluyt", "restore", etcd[0], etcd[1], &there];
    lab.master.call(&words);
    let over_etcd = server(&lab, &etcd);
    holds(&kubectl, &["before"]);
    create(&kubectl, "between");
    over_etcd.terminate();
    lab.master
        .call(&["fluyt", "snapshot", etcd[0], etcd[1], &back]);

    // A new directory becomes a cluster's.
    lab.master
        .call(&["fluyt", "restore", &data(&second), &back]);
    let up = lab
        .master
        .spawn(&["fluyt", "up", "--nodes=0", &data(&second)]);
    up.wait_log("ready in ");
    let kubeconfig = format!("--kubeconfig={second}/admin.kubeconfig");
    for name in ["before", "between"] {
        lab.master
            .call(&["kubectl", &kubeconfig, "get", "configmap", name]);
    }
    up.terminate();
}

#[test]
fn a_detached_cluster_ends_by_a_signal_and_is_copied_as_its_directory_says() {
    let cluster = Cluster::new();
    cluster.fluyt_ok(&["up", "--nodes", "0", "--detach", "--secure-port", "0"]);
    cluster.kubectl(&["create", "configmap", "kept", "--from-literal=a=1"]);
    let lock = std::fs::read_to_string(cluster.data_dir.join("lock")).unwrap();
    let pid = nix::unistd::Pid::from_raw(lock.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let log = cluster.data_dir.join("log/up.log");
    wait_for("the orderly end", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        match text.contains("stopped") && nix::sys::signal::kill(pid, None).is_err() {
            true => Ok(()),
            false => Err(text),
        }
    });
    let file = cluster.data_dir.with_extension("snapshot");
    let said = cluster.fluyt_ok(&["snapshot", &file.display().to_string()]);
    let objects: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(objects > 50, "the default roles alone are more: {said}");
}

#[test]
fn what_is_no_store_and_no_snapshot_is_refused_without_a_trace() {
    let directory = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let done = std::process::Command::new(crate::support::fluyt())
            .args(words)
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(1), "{words:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    let nowhere = directory.path().join("nowhere").display().to_string();
    let file = directory.path().join("file").display().to_string();
    let error = run(&["snapshot", "--data-dir", &nowhere, &file]);
    assert!(error.contains("there is no store in --data-dir"), "{error}");
    std::fs::write(&file, "not a snapshot").unwrap();
    let error = run(&["restore", "--data-dir", &nowhere, &file]);
    assert!(error.contains(&file), "{error}");
    assert!(!std::path::Path::new(&nowhere).exists());
}
