//! Static pods on a real containerd, without any API server.
#![allow(clippy::unwrap_used)]

mod support;

use support::{BUSYBOX, Node, eventually, in_namespace, nowhere};

#[test]
fn a_static_pod_runs_restarts_and_ends_with_its_file() {
    in_namespace(|| async {
        let mut node = Node::start("node1", nowhere(), &[]).await;
        node.manifest(
            "a.yaml",
            &format!(
                r#"
apiVersion: v1
kind: Pod
metadata: {{name: a, labels: {{app: x}}}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - name: first
    image: {BUSYBOX}
    command: [sh, -c, "echo written > /data/file"]
    volumeMounts: [{{name: data, mountPath: /data}}]
  containers:
  - name: main
    image: {BUSYBOX}
    command: [sh, -c, "cat /data/file; echo $WHO; exec sleep 1000"]
    env:
    - {{name: POD, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
    - {{name: WHO, value: "I am $(POD)"}}
    volumeMounts: [{{name: data, mountPath: /data}}]
    resources: {{limits: {{memory: 64Mi, cpu: 500m}}}}
  volumes:
  - name: data
    emptyDir: {{}}
"#
            ),
        );
        let first = node.running("main").await;
        assert_eq!(node.exec(&first, "cat /data/file").await, "written\n");
        assert_eq!(node.exec(&first, "echo $WHO").await, "I am a-node1\n");
        assert!(
            node.exec(&first, "cat /etc/hosts")
                .await
                .contains("a-node1")
        );
        // A kubelet that comes back finds its containers.
        node.stop().await;
        node.resume();
        // What dies is started again.
        let again = async |before: &str| {
            let running = node
                .containers("main")
                .await
                .into_iter()
                .find(|(_, state)| *state == 1);
            running.is_some_and(|(id, _)| id != before)
        };
        node.exec(&first, "kill -9 1; true").await;
        node.cri.stop_container(&first, 0).await.unwrap();
        eventually("the container is restarted", async || again(&first).await).await;
        node.remove_manifest("a.yaml");
        eventually("the pod is gone", async || {
            node.cri
                .list_pod_sandbox(Default::default())
                .await
                .unwrap()
                .items
                .is_empty()
        })
        .await;
        eventually("its directory is gone", async || {
            std::fs::read_dir(node.root().join("pods"))
                .is_ok_and(|mut entries| entries.next().is_none())
        })
        .await;
        node.destroy().await;
    });
}
