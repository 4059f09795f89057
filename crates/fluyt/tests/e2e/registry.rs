//! Pulling from a registry: Debian's docker-registry on a lab's own network, filled with a sample image.

use crate::support::{Client, Lab, sample_image, wait_for};

#[test]
fn an_image_is_pulled_and_a_missing_one_says_so() {
    let lab = Lab::new(1);
    let kubectl = lab.kubectl(Client::Ours);
    let node = lab.node("node1");
    let configuration = lab.directory.path().join("registry.yml");
    let storage = node.directory.join("registry").display().to_string();
    std::fs::write(
        &configuration,
        format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {storage}\nhttp:\n  addr: 127.0.0.1:5000\n"),
    )
    .unwrap();
    let _registry = node.spawn(&[
        "docker-registry",
        "serve",
        &configuration.display().to_string(),
    ]);
    let data = format!(
        "--data-dir={}",
        lab.master.directory.join("store").display()
    );
    let _server = lab.master.spawn(&[
        "kube-apiserver",
        "--insecure-bind-address=0.0.0.0",
        "--insecure-port=8080",
        &data,
    ]);
    let cgroup = format!("--cgroup-root={}", lab.cgroup("node1"));
    let _kubelet = node.spawn(&["kubelet", "--api-servers=http://master:8080", &cgroup]);
    wait_for("a Ready node", || {
        let (_, table, errors) = kubectl.try_run(&["get", "nodes"]);
        match table.contains(" Ready ") {
            true => Ok(()),
            false => Err(format!("{table}{errors}")),
        }
    });
    push(
        node,
        "busybox.tar",
        "docker.io/library/busybox:1.35",
        "127.0.0.1:5000/team/busybox:1",
    );
    for (name, image) in [
        ("pulled", "127.0.0.1:5000/team/busybox:1"),
        ("missing", "127.0.0.1:5000/team/absent:1"),
    ] {
        let manifest = lab.directory.path().join(format!("{name}.yaml"));
        std::fs::write(
            &manifest,
            format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  nodeName: node1\n  containers:\n  - name: c\n    image: {image}\n    imagePullPolicy: Always\n    command: [/bin/sleep, '1000000']\n"),
        )
        .unwrap();
        kubectl.run(&["create", "-f", &manifest.display().to_string()]);
    }
    kubectl.wait_pod("pulled", "1/1", "Running");
    let story = kubectl.run(&["describe", "pod", "pulled"]);
    assert!(
        story.contains("Pulling image \"127.0.0.1:5000/team/busybox:1\""),
        "{story}"
    );
    assert!(story.contains("Successfully pulled image"), "{story}");
    wait_for("the back-off of the missing image", || {
        let text = kubectl.run(&["describe", "pod", "missing"]);
        match text.contains("ImagePullBackOff")
            && text.contains("Failed to pull image \"127.0.0.1:5000/team/absent:1\"")
        {
            true => Ok(()),
            false => Err(text),
        }
    });
}

/// Through the node's own containerd, whose socket is wherever its configuration says.
fn push(node: &crate::support::Machine, archive: &str, name: &str, target: &str) {
    let file = sample_image(archive).display().to_string();
    node.call(&[
        "fluyt",
        "image",
        "import",
        "--root-dir",
        "/var/lib/kubelet",
        &file,
    ]);
    let configuration = node.call(&["cat", "/var/lib/kubelet/containerd/config.toml"]);
    let socket = configuration
        .lines()
        .find_map(|line| line.trim().strip_prefix("address = \"")?.strip_suffix('"'))
        .expect("containerd's configuration names its socket")
        .to_owned();
    let ctr = |words: &[&str]| {
        let mut all = vec!["ctr", "--address", &socket, "--namespace", "k8s.io"];
        all.extend(words);
        node.call(&all)
    };
    ctr(&["images", "tag", name, target]);
    wait_for("the registry", || {
        match node
            .output(&["curl", "-sf", "http://127.0.0.1:5000/v2/"])
            .status
            .success()
        {
            true => Ok(()),
            false => Err("no answer".to_owned()),
        }
    });
    ctr(&["images", "push", "--plain-http", target]);
    ctr(&["images", "rm", target]);
}
