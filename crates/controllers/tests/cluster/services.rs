//! Services: what is published of the pods behind them.

use serde_json::{Value, json};

use crate::harness::{Cluster, deployment, eventually};

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";
const SERVICES: &str = "/api/v1/namespaces/default/services";

async fn slices(cluster: &Cluster, service: &str) -> Vec<Value> {
    let all = cluster.list(SLICES).await;
    all.into_iter()
        .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn endpoints_follow_ready_pods() {
    let cluster = Cluster::start().await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": {"team": "a"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}});
    cluster.create(SERVICES, service).await;
    eventually("an empty slice", || async {
        let slices = slices(&cluster, "web").await;
        (slices.len() == 1).then_some(())
    })
    .await;
    let kubelet = cluster.kubelet("default");
    cluster
        .create(
            "/apis/apps/v1/namespaces/default/deployments",
            deployment("web", 3, "v1"),
        )
        .await;
    let slice = eventually("three endpoints", || async {
        let mut slices = slices(&cluster, "web").await;
        let ready = slices.first()?["endpoints"]
            .as_array()?
            .iter()
            .filter(|one| one["conditions"]["ready"] == true)
            .count();
        (slices.len() == 1 && ready == 3).then(|| slices.remove(0))
    })
    .await;
    let labels = &slice["metadata"]["labels"];
    assert_eq!(
        labels["endpointslice.kubernetes.io/managed-by"],
        "endpointslice-controller.k8s.io"
    );
    assert_eq!(labels["team"], "a");
    assert_eq!(slice["ports"][0]["port"], 8080);
    let endpoints = eventually("three addresses", || async {
        let endpoints = cluster.get(&format!("{ENDPOINTS}/web")).await?;
        (endpoints["subsets"][0]["addresses"].as_array()?.len() == 3).then_some(endpoints)
    })
    .await;
    assert_eq!(
        endpoints["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"],
        "endpoint-controller"
    );
    // One falls ill.
    drop(kubelet);
    let name = slice["endpoints"][0]["targetRef"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let ill = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    cluster
        .patch(
            &format!("/api/v1/namespaces/default/pods/{name}/status"),
            ill,
        )
        .await;
    eventually("it is not ready in either", || async {
        let endpoints = cluster.get(&format!("{ENDPOINTS}/web")).await?;
        let ill =
            endpoints["subsets"][0]["notReadyAddresses"][0]["targetRef"]["name"] == name.as_str();
        let slices = slices(&cluster, "web").await;
        let listed = slices[0]["endpoints"].as_array()?.clone();
        let unready = listed.iter().any(|one| {
            one["targetRef"]["name"] == name.as_str() && one["conditions"]["ready"] == false
        });
        (ill && unready).then_some(())
    })
    .await;
    cluster.delete(&format!("{SERVICES}/web"), json!({})).await;
    eventually("nothing is published any more", || async {
        let gone = cluster.get(&format!("{ENDPOINTS}/web")).await.is_none();
        (gone && slices(&cluster, "web").await.is_empty()).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_of_others_are_left_alone() {
    let cluster = Cluster::start().await;
    let mine = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "mine"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]});
    cluster.create(ENDPOINTS, mine).await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "mine"}, "spec": {"ports": [{"port": 80}]}});
    cluster.create(SERVICES, service).await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let endpoints = cluster.get(&format!("{ENDPOINTS}/mine")).await.unwrap();
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "192.0.2.1");
    assert!(slices(&cluster, "mine").await.is_empty());
    cluster.stop().await;
}
