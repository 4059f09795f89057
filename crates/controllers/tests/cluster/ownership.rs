//! Namespaces and owners: who takes what along.

use serde_json::{Value, json};

use crate::harness::{Cluster, deployment, eventually};

fn config_map(name: &str, owner: Option<(&Value, bool)>) -> Value {
    let owners = owner.map(|(owner, blocks)| {
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": blocks}])
    });
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}})
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn gone(cluster: &Cluster, path: &str) {
    eventually(&format!("{path} is gone"), || async {
        cluster.get(path).await.is_none().then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_takes_everything_along() {
    let cluster = Cluster::start().await;
    cluster.namespace("doomed").await;
    let _kubelet = cluster.kubelet("doomed");
    cluster
        .create(
            "/apis/apps/v1/namespaces/doomed/deployments",
            deployment("web", 2, "v1"),
        )
        .await;
    cluster
        .create(
            "/api/v1/namespaces/doomed/configmaps",
            config_map("a", None),
        )
        .await;
    let pods = "/api/v1/namespaces/doomed/pods";
    eventually("pods run", || async {
        (cluster.list(pods).await.len() == 2).then_some(())
    })
    .await;
    cluster.delete("/api/v1/namespaces/doomed", json!({})).await;
    gone(&cluster, "/api/v1/namespaces/doomed").await;
    for path in [
        pods,
        "/apis/apps/v1/namespaces/doomed/deployments",
        "/api/v1/namespaces/doomed/configmaps",
    ] {
        assert!(cluster.list(path).await.is_empty(), "{path}");
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_waits_for_finalizers_and_says_so() {
    let cluster = Cluster::start().await;
    cluster.namespace("held").await;
    let mut map = config_map("held", None);
    map["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster
        .create("/api/v1/namespaces/held/configmaps", map)
        .await;
    cluster.delete("/api/v1/namespaces/held", json!({})).await;
    let told = eventually("it says what it waits for", || async {
        let namespace = cluster.get("/api/v1/namespaces/held").await?;
        let conditions = namespace["status"]["conditions"].as_array()?.clone();
        conditions
            .into_iter()
            .find(|one| one["type"] == "NamespaceFinalizersRemaining" && one["status"] == "True")
    })
    .await;
    assert_eq!(
        told["message"],
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    );
    cluster
        .patch(
            "/api/v1/namespaces/held/configmaps/held",
            json!({"metadata": {"finalizers": null}}),
        )
        .await;
    gone(&cluster, "/api/v1/namespaces/held").await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn dependents_follow_their_owner() {
    let cluster = Cluster::start().await;
    let owner = cluster.create(MAPS, config_map("owner", None)).await;
    let middle = cluster
        .create(MAPS, config_map("middle", Some((&owner, false))))
        .await;
    cluster
        .create(MAPS, config_map("leaf", Some((&middle, false))))
        .await;
    cluster.delete(&format!("{MAPS}/owner"), json!({})).await;
    gone(&cluster, &format!("{MAPS}/middle")).await;
    gone(&cluster, &format!("{MAPS}/leaf")).await;
    // One that names an owner that is gone already.
    cluster
        .create(MAPS, config_map("late", Some((&owner, false))))
        .await;
    gone(&cluster, &format!("{MAPS}/late")).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_the_owner_goes_last() {
    let cluster = Cluster::start().await;
    let owner = cluster.create(MAPS, config_map("owner", None)).await;
    let mut held = config_map("held", Some((&owner, true)));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.create(MAPS, held).await;
    let held = format!("{MAPS}/held");
    cluster
        .delete(
            &format!("{MAPS}/owner"),
            json!({"propagationPolicy": "Foreground"}),
        )
        .await;
    eventually("the dependent is being deleted", || async {
        (!cluster.get(&held).await?["metadata"]["deletionTimestamp"].is_null()).then_some(())
    })
    .await;
    let owner = cluster
        .get(&format!("{MAPS}/owner"))
        .await
        .expect("the owner waits");
    assert_eq!(
        owner["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    cluster
        .patch(&held, json!({"metadata": {"finalizers": null}}))
        .await;
    gone(&cluster, &format!("{MAPS}/owner")).await;
    assert!(cluster.get(&held).await.is_none());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn orphans_stay_without_an_owner() {
    let cluster = Cluster::start().await;
    let owner = cluster.create(MAPS, config_map("owner", None)).await;
    let other = cluster.create(MAPS, config_map("other", None)).await;
    let mut child = config_map("child", Some((&owner, true)));
    let second = config_map("x", Some((&other, false)))["metadata"]["ownerReferences"][0].clone();
    child["metadata"]["ownerReferences"]
        .as_array_mut()
        .unwrap()
        .push(second);
    cluster.create(MAPS, child).await;
    cluster
        .delete(
            &format!("{MAPS}/owner"),
            json!({"propagationPolicy": "Orphan"}),
        )
        .await;
    gone(&cluster, &format!("{MAPS}/owner")).await;
    let child = cluster
        .get(&format!("{MAPS}/child"))
        .await
        .expect("the child stays");
    let owners = child["metadata"]["ownerReferences"].as_array().unwrap();
    assert_eq!(owners.len(), 1);
    assert_eq!(owners[0]["name"], "other");
    // With the other owner gone in the background it goes as well.
    cluster.delete(&format!("{MAPS}/other"), json!({})).await;
    gone(&cluster, &format!("{MAPS}/child")).await;
    cluster.stop().await;
}
