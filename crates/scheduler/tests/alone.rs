//! The scheduler as deploy/scheduler runs it: against an API server with RBAC, with nothing but its service account's kubeconfig.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use fluyt_apiserver::Options;
use fluyt_apiserver::testing;
use fluyt_client::kube::Client;
use fluyt_client::{ClientOptions, rest};
use fluyt_pki::{
    CertificateAuthority, Credentials, Request, Usage, kubeconfig, service_account_key,
    write_private, write_public,
};
use fluyt_scheduler::Registry;
use serde_json::{Value, json};
use support::{Cluster, options, start};

/// A server as clusters have them, with RBAC on its secure port.
async fn secure(directory: &Path) -> (Cluster, CertificateAuthority, String) {
    let authority = CertificateAuthority::generate("test").unwrap();
    let issued = authority
        .issue(&Request {
            common_name: "apiserver",
            organizations: &[],
            names: &["127.0.0.1".to_owned()],
            usage: Usage::Server,
        })
        .unwrap();
    write_public(&directory.join("tls.crt"), &issued.certificate).unwrap();
    write_private(&directory.join("tls.key"), &issued.key).unwrap();
    service_account_key(directory).unwrap();
    let server = testing::serve(Options {
        any_secure_port: true,
        bind_address: "127.0.0.1".parse().unwrap(),
        tls_cert_file: Some(directory.join("tls.crt")),
        tls_private_key_file: Some(directory.join("tls.key")),
        service_account_key_file: vec![directory.join("sa.pub")],
        service_account_signing_key_file: Some(directory.join("sa.key")),
        authorization_mode: vec!["RBAC".into()],
        ..testing::options()
    })
    .await;
    let url = format!("https://{}", server.running.secure_addr().unwrap());
    (Cluster::of(server).await, authority, url)
}

fn manifests(name: &str) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/scheduler");
    let text = std::fs::read_to_string(root.join(name)).unwrap();
    let documents = text.split("\n---\n");
    documents
        .map(|one| serde_saphyr::from_str(one).unwrap())
        .collect()
}

async fn apply(client: &Client, object: &Value) {
    let (group, version) = match object["apiVersion"].as_str().unwrap().split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", "v1"),
    };
    let plural = match object["kind"].as_str().unwrap() {
        "ServiceAccount" => "serviceaccounts",
        "ConfigMap" => "configmaps",
        "Deployment" => "deployments",
        "ClusterRoleBinding" => "clusterrolebindings",
        "RoleBinding" => "rolebindings",
        "Role" => "roles",
        "ClusterRole" => "clusterroles",
        other => panic!("{other}"),
    };
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let path = rest::path(group, version, namespace, plural, "");
    let _: Value = rest::create(client, &path, object).await.unwrap();
}

/// It sees the group, and may say what became of it.
async fn decides_about_a_group(cluster: &Cluster) {
    let group = json!({"apiVersion": "scheduling.k8s.io/v1alpha2", "kind": "PodGroup", "metadata": {"name": "solo"},
                       "spec": {"schedulingPolicy": {"gang": {"minCount": 1}}}});
    let groups = "/apis/scheduling.k8s.io/v1alpha2/namespaces/default/podgroups";
    let _: Value = rest::create(&cluster.client, groups, &group).await.unwrap();
    let more =
        json!({"schedulerName": "fluyt-scheduler", "schedulingGroup": {"podGroupName": "solo"}});
    cluster
        .pod("solo", json!({}), json!({"cpu": "1"}), more)
        .await;
    assert_eq!(cluster.bound("solo").await, "n1");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        let path = format!("{groups}/solo");
        let group: Value = rest::get(&cluster.client, &path).await.unwrap();
        if group["status"]["conditions"][0]["type"] == "PodGroupScheduled" {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{group}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manifests_suffice() {
    let directory = tempfile::tempdir().unwrap();
    let (cluster, authority, url) = secure(directory.path()).await;
    let mut objects = manifests("rbac.yaml");
    objects.extend(manifests("deployment.yaml"));
    for object in &objects {
        apply(&cluster.client, object).await;
    }
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let path = "/api/v1/namespaces/kube-system/serviceaccounts/fluyt-scheduler/token";
    let token: Value = rest::create(&cluster.client, path, &request).await.unwrap();
    let token = token["status"]["token"].as_str().unwrap().to_owned();
    let credentials = Credentials::Token(&token);
    let text = kubeconfig(
        "test",
        &url,
        Some(authority.certificate()),
        "scheduler",
        &credentials,
    );
    let file = directory.path().join("scheduler.conf");
    std::fs::write(&file, text).unwrap();

    let map = objects
        .iter()
        .find(|one| one["kind"] == "ConfigMap")
        .unwrap();
    let configuration = directory.path().join("config.yaml");
    std::fs::write(&configuration, map["data"]["config.yaml"].as_str().unwrap()).unwrap();
    let flag = format!("--kubeconfig={}", file.display());
    let gates = "--feature-gates=GenericWorkload=true,GangScheduling=true";
    let options = options(&configuration, &[&flag, gates]);
    let account = ClientOptions {
        kubeconfig: Some(file),
        ..ClientOptions::default()
    };
    let client = fluyt_client::connect(&account).await.unwrap();
    // It really is bounded by its roles.
    let secrets = rest::get::<Value>(&client, "/api/v1/secrets").await;
    assert!(secrets.unwrap_err().to_string().contains("forbidden"));
    let scheduler = start(options, Registry::default(), client);

    // No controller runs that would make it.
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}});
    let path = "/api/v1/namespaces/default/serviceaccounts";
    let _ = rest::create::<Value>(&cluster.client, path, &account).await;
    cluster.node("n1", json!({}), "4").await;
    let ours = json!({"schedulerName": "fluyt-scheduler"});
    let requests = json!({"cpu": "1"});
    cluster.pod("a", json!({}), requests, ours.clone()).await;
    assert_eq!(cluster.bound("a").await, "n1");
    cluster
        .pod("big", json!({}), json!({"cpu": "9"}), ours)
        .await;
    let message = cluster.pending("big", "Unschedulable").await;
    assert!(
        message.starts_with("0/1 nodes are available: 1 Insufficient cpu."),
        "{message}"
    );
    decides_about_a_group(&cluster).await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/fluyt-scheduler";
    let lease: Value = rest::get(&cluster.client, path).await.unwrap();
    assert!(lease["spec"]["holderIdentity"].is_string());
    assert!(!scheduler.task.is_finished());
    cluster.server.stop().await;
}
