//! Deployments and replica sets.

use serde_json::{Value, json};

use crate::harness::{Cluster, deployment, eventually, template};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn complete(cluster: &Cluster, name: &str, replicas: i64) -> Value {
    let path = format!("{DEPLOYMENTS}/{name}");
    eventually("the deployment is complete", || async {
        let found = cluster.get(&path).await?;
        let (status, generation) = (&found["status"], &found["metadata"]["generation"]);
        let counts = ["replicas", "updatedReplicas", "availableReplicas"];
        let all = counts
            .iter()
            .all(|count| status[count].as_i64().unwrap_or(0) == replicas);
        (all && status["observedGeneration"] == *generation).then_some(found)
    })
    .await
}

fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    conditions
        .iter()
        .find(|condition| condition["type"] == type_)
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_created_scaled_rolled_and_deleted() {
    let cluster = Cluster::start().await;
    let _kubelet = cluster.kubelet("default");
    cluster
        .create(DEPLOYMENTS, deployment("web", 3, "v1"))
        .await;
    let created = complete(&cluster, "web", 3).await;
    assert_eq!(
        created["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    assert_eq!(
        condition(&created, "Available")["reason"],
        "MinimumReplicasAvailable"
    );
    let sets = cluster.list(SETS).await;
    assert_eq!(sets.len(), 1);
    let set = sets[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let events = cluster.events("default", "web").await;
    let message = format!("Scaled up replica set {set} from 0 to 3");
    assert!(
        events.contains(&("ScalingReplicaSet".into(), message)),
        "{events:?}"
    );
    let events = cluster.events("default", &set).await;
    assert_eq!(
        events
            .iter()
            .filter(|(reason, _)| reason == "SuccessfulCreate")
            .count(),
        3,
        "{events:?}"
    );

    cluster
        .patch(
            &format!("{DEPLOYMENTS}/web/scale"),
            json!({"spec": {"replicas": 5}}),
        )
        .await;
    complete(&cluster, "web", 5).await;
    cluster
        .patch(
            &format!("{DEPLOYMENTS}/web"),
            json!({"spec": {"replicas": 2}}),
        )
        .await;
    complete(&cluster, "web", 2).await;
    eventually("two pods are left", || async {
        (cluster.list(PODS).await.len() == 2).then_some(())
    })
    .await;

    cluster
        .patch(
            &format!("{DEPLOYMENTS}/web"),
            json!({"spec": {"template": template("web", "v2")}}),
        )
        .await;
    let rolled = complete(&cluster, "web", 2).await;
    assert_eq!(
        rolled["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
    let done = eventually("progress is told", || async {
        let found = cluster.get(&format!("{DEPLOYMENTS}/web")).await?;
        (condition(&found, "Progressing")["reason"] == "NewReplicaSetAvailable").then_some(found)
    })
    .await;
    let message = condition(&done, "Progressing")["message"].as_str().unwrap();
    assert!(
        message.starts_with("ReplicaSet \"web-")
            && message.ends_with("has successfully progressed."),
        "{message}"
    );
    let pods = eventually("only new pods are left", || async {
        let pods = cluster.list(PODS).await;
        let new = pods
            .iter()
            .all(|pod| pod["spec"]["containers"][0]["image"] == "v2");
        (new && pods.len() == 2).then_some(pods)
    })
    .await;
    assert!(
        pods.iter()
            .all(|pod| pod["metadata"]["labels"]["pod-template-hash"].is_string())
    );
    assert_eq!(
        cluster.list(SETS).await.len(),
        2,
        "the old set is kept for going back"
    );

    cluster
        .delete(&format!("{DEPLOYMENTS}/web"), json!({}))
        .await;
    eventually("everything is gone", || async {
        (cluster.list(SETS).await.is_empty() && cluster.list(PODS).await.is_empty()).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_set_adopts_replaces_and_counts() {
    let cluster = Cluster::start().await;
    let mut pod = template("db", "v1");
    pod["metadata"]["name"] = json!("orphan");
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    cluster.create(PODS, pod).await;
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "db"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "db"}}, "template": template("db", "v1")}});
    cluster.create(SETS, set).await;
    let status = |wanted: i64| {
        let cluster = &cluster;
        async move {
            eventually("the set counts its pods", || async {
                let set = cluster.get(&format!("{SETS}/db")).await?;
                (set["status"]["replicas"].as_i64() == Some(wanted)).then_some(set)
            })
            .await
        }
    };
    status(2).await;
    let adopted = cluster.get(&format!("{PODS}/orphan")).await.unwrap();
    assert_eq!(adopted["metadata"]["ownerReferences"][0]["name"], "db");
    // A pod that no longer matches is let go and replaced.
    cluster
        .patch(
            &format!("{PODS}/orphan"),
            json!({"metadata": {"labels": {"app": "other"}}}),
        )
        .await;
    eventually("it is released and replaced", || async {
        let orphan = cluster.get(&format!("{PODS}/orphan")).await?;
        let free = orphan["metadata"]["ownerReferences"]
            .as_array()
            .is_none_or(Vec::is_empty);
        (free && cluster.list(PODS).await.len() == 3).then_some(())
    })
    .await;
    // A deleted pod is replaced.
    let pods = cluster.list(PODS).await;
    let victim = pods
        .iter()
        .find(|pod| pod["metadata"]["name"] != "orphan")
        .unwrap();
    let victim = victim["metadata"]["name"].as_str().unwrap();
    cluster.delete(&format!("{PODS}/{victim}"), json!({})).await;
    eventually("it is replaced", || async {
        let pods = cluster.list(PODS).await;
        (pods.len() == 3 && pods.iter().all(|pod| pod["metadata"]["name"] != victim)).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn recreate_leaves_no_two_templates_together() {
    let cluster = Cluster::start().await;
    let _kubelet = cluster.kubelet("default");
    let mut wanted = deployment("one", 2, "v1");
    wanted["spec"]["strategy"] = json!({"type": "Recreate"});
    cluster.create(DEPLOYMENTS, wanted).await;
    complete(&cluster, "one", 2).await;
    cluster
        .patch(
            &format!("{DEPLOYMENTS}/one"),
            json!({"spec": {"template": template("one", "v2")}}),
        )
        .await;
    eventually("the new pods are there", || async {
        let pods = cluster.list(PODS).await;
        let new = pods
            .iter()
            .filter(|pod| pod["spec"]["containers"][0]["image"] == "v2")
            .count();
        assert!(
            new == 0 || new == pods.len(),
            "old and new pods at the same time"
        );
        (new == 2).then_some(())
    })
    .await;
    complete(&cluster, "one", 2).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_rollout_times_out() {
    let cluster = Cluster::start().await;
    let mut wanted = deployment("stuck", 1, "v1");
    wanted["spec"]["progressDeadlineSeconds"] = json!(60);
    cluster.create(DEPLOYMENTS, wanted).await;
    let stuck = eventually("the deadline passes", || async {
        let found = cluster.get(&format!("{DEPLOYMENTS}/stuck")).await?;
        let conditions = found["status"]["conditions"].as_array()?.clone();
        conditions
            .into_iter()
            .find(|condition| condition["reason"] == "ProgressDeadlineExceeded")
    })
    .await;
    assert_eq!(stuck["status"], "False");
    cluster.stop().await;
}
