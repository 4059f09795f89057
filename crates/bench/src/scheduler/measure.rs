//! One run of one workload: nodes, warm-up, the pods that come first, the barrier, the measured pods.
//!
//! Invariant: with a barrier, no measured pod is bound before it is lifted; a run in which one was is an error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::background;
use super::cluster::Cluster;
use super::follow::Follower;
use super::objects::{self, GATE, LABEL, Pods};
use super::options::Barrier;
use super::samples::{Throughput, throughput};
use super::workload::{NAMESPACE, Step, Until, Workload};
use crate::load;
use crate::processes::{cpu_seconds, machine_cpu_seconds};
use crate::progress::Progress;
use crate::target::Target;

const CONNECTIONS: usize = 64;
const WARM_UP: usize = 64;
const WARM_UP_NAMESPACE: &str = "fluyt-bench-warm-up";
/// Between the last creation and the barrier: what creation left to do is not what is measured.
const SETTLE: Duration = Duration::from_millis(500);

pub(crate) struct Bench<'a> {
    pub(crate) target: &'a Arc<Target>,
    pub(crate) cluster: &'a Cluster,
    pub(crate) workload: &'a Workload,
    pub(crate) barrier: Barrier,
    pub(crate) patience: Duration,
    pub(crate) progress: &'a Progress,
    pub(crate) label: String,
}

pub(crate) struct Run {
    pub(crate) throughput: Throughput,
    /// Milliseconds after the barrier at which each pod was seen with a node.
    pub(crate) bound_ms: Vec<f64>,
    /// Milliseconds from sending the creation to seeing the node, when pods came one at a time.
    pub(crate) latencies_ms: Vec<f64>,
    /// How long it took to remove all gates, milliseconds.
    pub(crate) release_ms: Option<f64>,
    /// Of the measured processes, from the barrier to the last binding.
    pub(crate) cpu_seconds: f64,
    /// Part of this machine's CPU that went to neither them nor us meanwhile, 0 to 1.
    pub(crate) others: f64,
    /// How often the server ended the watch.
    pub(crate) cuts: usize,
}

/// Who used the CPU since then.
struct Clock {
    measured: f64,
    ours: f64,
    busy: f64,
    all: f64,
}

impl Clock {
    fn start(cluster: &Cluster) -> Self {
        let mut ours = cluster.pids.clone();
        ours.push(std::process::id());
        let (busy, all) = machine_cpu_seconds();
        Clock {
            measured: cpu_seconds(&cluster.pids),
            ours: cpu_seconds(&ours),
            busy,
            all,
        }
    }

    /// CPU seconds of the measured processes, and the part of others.
    fn stop(&self, cluster: &Cluster) -> (f64, f64) {
        let now = Clock::start(cluster);
        let others = (now.busy - self.busy) - (now.ours - self.ours);
        let part = others / (now.all - self.all).max(f64::MIN_POSITIVE);
        (now.measured - self.measured, part.clamp(0.0, 1.0))
    }
}

impl Bench<'_> {
    pub(crate) async fn run(&self) -> anyhow::Result<Run> {
        self.namespaces().await?;
        for object in &self.workload.objects {
            let body = objects::labelled(object).to_string();
            let path = objects::collection(object)?;
            self.target.write("POST", &path, &body, &[409]).await?;
        }
        self.nodes().await?;
        self.warm_up().await?;
        for (number, step) in self.workload.init.iter().enumerate() {
            self.step(step, &format!("init-{number}")).await?;
        }
        let step = &self.workload.measure;
        match step.one_at_a_time {
            true => self.measure_latency(step).await,
            false => self.measure(step).await,
        }
    }

    fn say(&self, what: &str) {
        self.progress.step(&format!("{}: {what}", self.label));
    }

    // ----- set-up -----

    async fn namespaces(&self) -> anyhow::Result<()> {
        let own = [NAMESPACE, WARM_UP_NAMESPACE].map(|name| (name.to_owned(), json!({})));
        let named = self.workload.namespaces.iter().flat_map(|entry| {
            let labels = json!(entry.labels);
            entry
                .names()
                .into_iter()
                .map(move |name| (name, labels.clone()))
        });
        for (name, mut labels) in own.into_iter().chain(named) {
            labels[LABEL] = json!("true");
            let metadata = json!({ "name": name, "labels": labels });
            let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
            let path = "/api/v1/namespaces";
            self.target
                .write("POST", path, &body.to_string(), &[409])
                .await?;
            // Pods are refused without it, and no controller may be there to make it.
            let body = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" } });
            let path = format!("/api/v1/namespaces/{name}/serviceaccounts");
            self.target
                .write("POST", &path, &body.to_string(), &[409])
                .await?;
        }
        Ok(())
    }

    async fn nodes(&self) -> anyhow::Result<()> {
        self.say(&format!("creating {} nodes", self.workload.node_count()));
        for (group, nodes) in self.workload.nodes.iter().enumerate() {
            let (target, shared) = (self.target.clone(), Arc::new(nodes.clone()));
            let create = move |number| {
                let name = objects::node_name(&shared, group, number);
                let body = objects::node(&shared, &name, number);
                Arc::from(target.request("POST", "/api/v1/nodes", &body))
            };
            load::run(self.target, CONNECTIONS, nodes.count, 201, create).await?;
            self.untaint(group).await?;
            let Some(csi) = nodes.csi.clone() else {
                continue;
            };
            let (target, shared) = (self.target.clone(), Arc::new(nodes.clone()));
            let create = move |number| {
                let body = objects::csi_node(&csi, &objects::node_name(&shared, group, number));
                Arc::from(target.request("POST", "/apis/storage.k8s.io/v1/csinodes", &body))
            };
            load::run(self.target, CONNECTIONS, nodes.count, 201, create).await?;
        }
        Ok(())
    }

    /// New nodes are tainted until a controller has seen that they are ready. There may be none, so we take the taint away.
    async fn untaint(&self, group: usize) -> anyhow::Result<()> {
        let nodes = &self.workload.nodes[group];
        let first = format!("/api/v1/nodes/{}", objects::node_name(nodes, group, 0));
        let created = self.target.read(&first).await?.unwrap_or_default();
        let wanted: Value = serde_json::from_str(&objects::node(nodes, "", 0))?;
        let wanted = wanted["spec"]["taints"].clone();
        if created["spec"]["taints"] == wanted {
            return Ok(());
        }
        let body = json!({ "spec": { "taints": wanted } }).to_string();
        let (target, shared) = (self.target.clone(), Arc::new(nodes.clone()));
        let patch = move |number| {
            let path = format!(
                "/api/v1/nodes/{}",
                objects::node_name(&shared, group, number)
            );
            Arc::from(target.typed("PATCH", &path, "application/merge-patch+json", &body))
        };
        load::run(self.target, CONNECTIONS, nodes.count, 200, patch).await?;
        Ok(())
    }

    /// A scheduler that has just started is not what is measured.
    async fn warm_up(&self) -> anyhow::Result<()> {
        self.say("warming up");
        let pod = |number: usize| {
            let mut pod = objects::shape(self.workload, None);
            pod["metadata"]["name"] = json!(format!("warm-up-{number}"));
            pod["spec"]["schedulerName"] = json!(self.cluster.scheduler_name);
            pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
            // As many as there are would not fit everywhere.
            pod["spec"]["containers"][0]["resources"] = json!({});
            pod.to_string()
        };
        let path = format!("/api/v1/namespaces/{WARM_UP_NAMESPACE}/pods");
        let bodies: Vec<Arc<[u8]>> = (0..WARM_UP)
            .map(|number| Arc::from(self.target.request("POST", &path, &pod(number))))
            .collect();
        let mut follower = Follower::start(self.target, "warm-up", WARM_UP, Until::Bound).await?;
        let create = move |number: usize| bodies[number].clone();
        load::run(self.target, CONNECTIONS, WARM_UP, 201, create).await?;
        let bound = follower.all(self.patience).await;
        follower.finish();
        bound.context("the scheduler does not bind the pods of the warm-up")?;
        delete_collection(self.target, &path).await
    }

    async fn step(&self, step: &Step, prefix: &str) -> anyhow::Result<()> {
        let (count, kind) = (step.count, step.shape.as_deref().unwrap_or("plain"));
        self.say(&format!("{count} pods first ({kind})"));
        let pods = self.pods(step, prefix, false);
        if step.until == Until::Created {
            return self.create(&pods).await;
        }
        let mut follower = Follower::start(self.target, prefix, count, step.until).await?;
        self.create(&pods).await?;
        let done = follower.all(self.patience).await;
        follower.finish();
        done.context("the pods before the measured ones")
    }

    fn pods(&self, step: &Step, prefix: &str, gated: bool) -> Arc<Pods> {
        let scheduler = &self.cluster.scheduler_name;
        Arc::new(Pods::new(self.workload, step, prefix, scheduler, gated))
    }

    async fn create(&self, pods: &Arc<Pods>) -> anyhow::Result<()> {
        if pods.has_volumes() {
            for make in [Pods::claim, Pods::volume] {
                let (target, made) = (self.target.clone(), pods.clone());
                let create = move |number| {
                    let (path, body) = make(&made, number);
                    Arc::from(target.request("POST", &path, &body))
                };
                load::run(self.target, CONNECTIONS, pods.count, 201, create).await?;
            }
        }
        let (target, made) = (self.target.clone(), pods.clone());
        let create =
            move |number| Arc::from(target.request("POST", &made.path(number), &made.body(number)));
        load::run(self.target, CONNECTIONS, pods.count, 201, create).await?;
        Ok(())
    }

    // ----- the measurement -----

    async fn measure(&self, step: &Step) -> anyhow::Result<Run> {
        let pods = self.pods(step, "measured", self.barrier == Barrier::Gates);
        let mut follower =
            Follower::start(self.target, "measured", step.count, Until::Bound).await?;
        self.say(&format!("creating {} pods", step.count));
        if self.barrier == Barrier::Pause {
            self.cluster.pause().await?;
        }
        if self.barrier != Barrier::None {
            self.create(&pods).await?;
            tokio::time::sleep(SETTLE).await;
            let early = follower.count();
            ensure!(
                early == 0,
                "{early} pods were bound before the barrier was lifted"
            );
        }
        self.say(&format!("binding {} pods", step.count));
        let churn = background::start(self.target, self.workload, &self.cluster.scheduler_name)?;
        let clock = Clock::start(self.cluster);
        let lifted = follower.origin().elapsed();
        let release_ms = match self.barrier {
            Barrier::Pause => self.cluster.resume().await.map(|()| None),
            Barrier::Gates => self.release(&pods).await.map(Some),
            Barrier::None => self.create(&pods).await.map(|()| None),
        }?;
        follower
            .all(self.patience)
            .await
            .context("the measured pods")?;
        let (cpu_seconds, others) = clock.stop(self.cluster);
        drop(churn);
        let after = |at: u64| at.saturating_sub(lifted.as_nanos() as u64) as f64 / 1e6;
        let cuts = follower.cuts();
        let bound_ms: Vec<f64> = follower.finish().into_iter().map(after).collect();
        Ok(Run {
            throughput: throughput(&bound_ms),
            bound_ms,
            latencies_ms: Vec::new(),
            release_ms,
            cpu_seconds,
            others,
            cuts,
        })
    }

    /// Takes the gates away, pod by pod; returns how long that took.
    async fn release(&self, pods: &Arc<Pods>) -> anyhow::Result<f64> {
        let (target, made) = (self.target.clone(), pods.clone());
        let body = json!({ "spec": { "schedulingGates": [{ "name": GATE, "$patch": "delete" }] } });
        let body = body.to_string();
        let patch = move |number| {
            let path = format!("{}/{}", made.path(number), made.name(number));
            let kind = "application/strategic-merge-patch+json";
            Arc::from(target.typed("PATCH", &path, kind, &body))
        };
        let took = load::run(self.target, CONNECTIONS, pods.count, 200, patch).await?;
        Ok(took.as_secs_f64() * 1e3)
    }

    async fn measure_latency(&self, step: &Step) -> anyhow::Result<Run> {
        self.say(&format!("{} pods, one at a time", step.count));
        let pods = self.pods(step, "measured", false);
        let mut follower =
            Follower::start(self.target, "measured", step.count, Until::Bound).await?;
        let mut connection = self.target.connect().await?;
        let requests: Vec<Vec<u8>> = (0..step.count)
            .map(|number| {
                self.target
                    .request("POST", &pods.path(number), &pods.body(number))
            })
            .collect();
        let clock = Clock::start(self.cluster);
        let started = Instant::now();
        let mut sent = Vec::with_capacity(step.count);
        for (number, request) in requests.iter().enumerate() {
            sent.push(follower.origin().elapsed().as_nanos() as u64);
            connection.expect(request, 201).await?;
            follower.at_least(number + 1, self.patience).await?;
        }
        let (cpu_seconds, others) = clock.stop(self.cluster);
        let before = started.saturating_duration_since(follower.origin());
        let cuts = follower.cuts();
        let bound = follower.finish();
        let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let pairs = bound.iter().zip(&sent);
        let latencies_ms = pairs
            .map(|(bound, sent)| milliseconds(bound - sent))
            .collect();
        let origin = before.as_nanos() as u64;
        let bound_ms: Vec<f64> = bound
            .iter()
            .map(|at| milliseconds(at.saturating_sub(origin)))
            .collect();
        Ok(Run {
            throughput: throughput(&bound_ms),
            bound_ms,
            latencies_ms,
            release_ms: None,
            cpu_seconds,
            others,
            cuts,
        })
    }

    /// Leaves a server that is not ours as it was.
    pub(crate) async fn clean_up(&self) -> anyhow::Result<()> {
        self.say("deleting what was created");
        let own = [NAMESPACE.to_owned(), WARM_UP_NAMESPACE.to_owned()];
        let named = self
            .workload
            .namespaces
            .iter()
            .flat_map(|entry| entry.names());
        let namespaces: Vec<String> = own.into_iter().chain(named).collect();
        for namespace in &namespaces {
            for kind in ["pods", "persistentvolumeclaims"] {
                let path = format!("/api/v1/namespaces/{namespace}/{kind}");
                delete_collection(self.target, &path).await?;
            }
        }
        for path in [
            "/api/v1/persistentvolumes",
            "/api/v1/nodes",
            "/apis/storage.k8s.io/v1/csinodes",
            "/apis/scheduling.k8s.io/v1/priorityclasses",
        ] {
            let path = format!("{path}?labelSelector={LABEL}%3Dtrue");
            delete_collection(self.target, &path).await?;
        }
        for namespace in &namespaces {
            let path = format!("/api/v1/namespaces/{namespace}");
            self.target.write("DELETE", &path, "", &[404, 409]).await?;
        }
        Ok(())
    }
}

async fn delete_collection(target: &Target, path: &str) -> anyhow::Result<()> {
    let body = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0 });
    target
        .write("DELETE", path, &body.to_string(), &[404])
        .await
}
