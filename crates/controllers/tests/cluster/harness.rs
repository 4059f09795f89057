//! A cluster in this process: an API server in memory with role-based access control on, the controllers under their own service
//! accounts, and a stand-in for kubelets. Time is paused and moves when nothing else is left to do, so a grace period of minutes
//! passes in milliseconds.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fluyt_apiserver::testing::TestServer;
use fluyt_client::kube::Client;
use fluyt_client::rest::{self, PatchType};
use fluyt_controllers::{CONTROLLERS, ClientFactory, Clock, Options};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct Cluster {
    server: TestServer,
    pub admin: Client,
    controllers: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

/// Every controller's client, by the controller's name.
struct Accounts(HashMap<&'static str, Client>);

impl ClientFactory for Accounts {
    fn client(&self, controller: &str) -> Client {
        self.0[controller].clone()
    }
}

impl Cluster {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(mut options: Options) -> Self {
        options.leader.leader_elect = false;
        let server = fluyt_apiserver::testing::serve(fluyt_apiserver::Options {
            authorization_mode: vec!["RBAC".to_owned()],
            any_insecure_port: false,
            in_process_only: true,
            ..fluyt_apiserver::testing::options()
        })
        .await;
        let admin = Client::new(
            server.running.transport("admin", &["system:masters"]),
            "default",
        );
        let client = |user: &str, groups: &[&str]| {
            Client::new(server.running.transport(user, groups), "default")
        };
        let root = client("system:kube-controller-manager", &[]);
        let groups = [
            "system:serviceaccounts",
            "system:serviceaccounts:kube-system",
        ];
        let accounts = CONTROLLERS.iter().map(|one| match one.service_account {
            "" => (one.name, root.clone()),
            account => (
                one.name,
                client(
                    &format!("system:serviceaccount:kube-system:{account}"),
                    &groups,
                ),
            ),
        });
        let factory = Accounts(accounts.collect());
        let stop = CancellationToken::new();
        let clock = Clock::tokio(jiff::Timestamp::now());
        let run =
            fluyt_controllers::run_with(options, root, Arc::new(factory), clock, stop.clone());
        let controllers = tokio::spawn(run);
        Self {
            server,
            admin,
            controllers,
            stop,
        }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.controllers.await.unwrap().unwrap();
        self.server.stop().await;
    }

    /// Creates an object at a collection's path.
    pub async fn create(&self, path: &str, object: Value) -> Value {
        rest::create(&self.admin, path, &object)
            .await
            .unwrap_or_else(|error| panic!("create at {path}: {error}"))
    }

    pub async fn get(&self, path: &str) -> Option<Value> {
        rest::get_opt(&self.admin, path)
            .await
            .unwrap_or_else(|error| panic!("get {path}: {error}"))
    }

    pub async fn list(&self, path: &str) -> Vec<Value> {
        let list = self.get(path).await.unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    pub async fn patch(&self, path: &str, body: Value) -> Value {
        rest::patch(&self.admin, path, PatchType::Merge, &body)
            .await
            .unwrap_or_else(|error| panic!("patch {path}: {error}"))
    }

    pub async fn delete(&self, path: &str, options: Value) {
        rest::delete(&self.admin, path, &options)
            .await
            .unwrap_or_else(|error| panic!("delete {path}: {error}"));
    }

    /// The reasons of the events about an object, with their messages.
    pub async fn events(&self, namespace: &str, name: &str) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events = self
            .list(&format!("/api/v1/namespaces/{namespace}/events"))
            .await;
        let about = events
            .iter()
            .filter(|event| event["involvedObject"]["name"] == name);
        about
            .map(|event| (text(&event["reason"]), text(&event["message"])))
            .collect()
    }

    pub async fn namespace(&self, name: &str) {
        self.create(
            "/api/v1/namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        )
        .await;
        let path = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        eventually("the default service account", || async {
            self.get(&path).await
        })
        .await;
    }

    /// A node that reports Ready once.
    pub async fn node(&self, name: &str) {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        self.create("/api/v1/nodes", node).await;
        self.heartbeat(name, "True").await;
        eventually("the node is free of taints", || async {
            let node = self.get(&format!("/api/v1/nodes/{name}")).await?;
            node["spec"]["taints"]
                .as_array()
                .is_none_or(Vec::is_empty)
                .then_some(())
        })
        .await;
    }

    /// What a kubelet writes: its Ready condition, at this moment.
    pub async fn heartbeat(&self, name: &str, ready: &str) {
        let now = jiff::Timestamp::now().to_string();
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": ready, "reason": "KubeletReady",
            "lastHeartbeatTime": now, "lastTransitionTime": now}]}});
        let path = format!("/api/v1/nodes/{name}/status");
        rest::patch::<Value>(&self.admin, &path, PatchType::Strategic, &status)
            .await
            .unwrap();
    }

    /// Reports every pod of a namespace Running and Ready that is not yet, and lets those go that are being deleted.
    pub fn kubelet(&self, namespace: &str) -> Kubelet {
        let (admin, namespace) = (self.admin.clone(), namespace.to_owned());
        let task = tokio::spawn(async move {
            loop {
                let path = format!("/api/v1/namespaces/{namespace}/pods");
                let list: Value = rest::get(&admin, &path).await.unwrap_or_default();
                for (index, pod) in list["items"].as_array().into_iter().flatten().enumerate() {
                    report(&admin, &path, pod, index).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Kubelet(task)
    }
}

async fn report(admin: &Client, path: &str, pod: &Value, index: usize) {
    let path = format!("{path}/{}", pod["metadata"]["name"].as_str().unwrap());
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        let _ = rest::delete(admin, &path, &json!({"gracePeriodSeconds": 0})).await;
    } else if pod["status"]["phase"] != "Running" {
        let ip = format!("10.244.0.{}", index + 1);
        let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": jiff::Timestamp::now().to_string()}]}});
        let _ = rest::patch::<Value>(
            admin,
            &format!("{path}/status"),
            PatchType::Strategic,
            &status,
        )
        .await;
    }
}

/// Ends with the test.
pub struct Kubelet(JoinHandle<()>);

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until `check` gives something; panics after a while of (paused) time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut check: impl FnMut() -> F,
) -> T {
    for _ in 0..6000 {
        if let Some(found) = check().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came to be: {what}");
}

pub fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

pub fn deployment(name: &str, replicas: i32, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name, image)}})
}
