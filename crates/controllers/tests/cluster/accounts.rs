//! Service accounts, their tokens and the certificate authority.

use fluyt_controllers::Options;
use serde_json::json;

use crate::harness::{Cluster, eventually};

#[tokio::test(start_paused = true)]
async fn namespaces_get_an_account_and_the_certificate_authority() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.crt");
    std::fs::write(&file, "the authority").unwrap();
    let cluster = Cluster::with(Options {
        root_ca_file: Some(file),
        ..Options::default()
    })
    .await;
    cluster.namespace("new").await;
    let path = "/api/v1/namespaces/new/configmaps/kube-root-ca.crt";
    let current = || async {
        let map = cluster.get(path).await?;
        (map["data"]["ca.crt"] == "the authority").then_some(())
    };
    eventually("the authority is published", current).await;
    cluster
        .patch(path, json!({"data": {"ca.crt": "another"}}))
        .await;
    eventually("it is put right", current).await;
    cluster.delete(path, json!({})).await;
    eventually("it is put back", current).await;
    cluster
        .delete("/api/v1/namespaces/new/serviceaccounts/default", json!({}))
        .await;
    eventually("the account is put back", || async {
        cluster
            .get("/api/v1/namespaces/new/serviceaccounts/default")
            .await
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn token_secrets_are_filled_and_go_with_their_account() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sa.key");
    fluyt_pki::service_account_key(directory.path()).unwrap();
    let options = Options {
        service_account_private_key_file: Some(file),
        ..Options::default()
    };
    let cluster = Cluster::with(options).await;
    cluster.namespace("n").await;
    let secrets = "/api/v1/namespaces/n/secrets";
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "s", "annotations": {"kubernetes.io/service-account.name": "default"}}});
    cluster.create(secrets, secret).await;
    let path = format!("{secrets}/s");
    let filled = eventually("the token is there", || async {
        let secret = cluster.get(&path).await?;
        secret["data"]["token"].is_string().then_some(secret)
    })
    .await;
    assert!(filled["metadata"]["annotations"]["kubernetes.io/service-account.uid"].is_string());
    assert_eq!(filled["data"]["namespace"], "bg==");
    cluster
        .delete("/api/v1/namespaces/n/serviceaccounts/default", json!({}))
        .await;
    eventually("the secret goes", || async {
        cluster.get(&path).await.is_none().then_some(())
    })
    .await;
    cluster.stop().await;
}
