//! The loop: pods that change, timers that are due and requests that were answered come in;
//! requests go out, no more than `concurrency` at a time. What cannot be done is tried again,
//! later each time.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fluyt_client::informer::{self, Event, Source};
use fluyt_client::rest::{self, PatchType};
use fluyt_client::{availability, kube};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::time::DelayQueue;

use crate::node::{self, LEASES};
use crate::options::Options;
use crate::pace::Pace;
use crate::pod::{Next, Pod, pod_address};

/// A node's status is repeated this often, as kubelets do although nothing changed.
const STATUS_EVERY: Duration = Duration::from_secs(300);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// One thing to do.
#[derive(Clone, Debug)]
enum Job {
    Register(usize),
    Renew(usize),
    Heartbeat(usize),
    Start {
        pod: Arc<Pod>,
        node: usize,
        number: u32,
    },
    Stop {
        pod: Arc<Pod>,
    },
}

/// A job and how often it failed.
#[derive(Clone, Debug)]
struct Attempt {
    job: Job,
    failures: u32,
}

enum Outcome {
    Done,
    /// The API server knows the node no more.
    NodeGone,
    Failed(kube::Error),
}

pub(crate) struct Simulation {
    options: Arc<Options>,
    client: kube::Client,
    registered: Vec<bool>,
    left_to_register: usize,
    /// Starts and stops under way, by uid, so that a pod's further events do not repeat them.
    starting: HashSet<String>,
    stopping: HashSet<String>,
    pods_started: u32,
    ready: VecDeque<Attempt>,
    later: DelayQueue<Attempt>,
    in_flight: FuturesUnordered<BoxFuture<'static, (Attempt, Outcome)>>,
    pace: Pace,
    started: Instant,
}

impl Simulation {
    pub(crate) fn new(options: Options, client: kube::Client) -> Self {
        let nodes = options.nodes;
        let register = |number| Attempt {
            job: Job::Register(number),
            failures: 0,
        };
        Simulation {
            pace: Pace::new(nodes, options.renew_every()),
            options: Arc::new(options),
            client,
            registered: vec![false; nodes],
            left_to_register: nodes,
            starting: HashSet::new(),
            stopping: HashSet::new(),
            pods_started: 0,
            ready: (0..nodes).map(register).collect(),
            later: DelayQueue::new(),
            in_flight: FuturesUnordered::new(),
            started: Instant::now(),
        }
    }

    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let source = Source::new("", "v1", "pods").fields("spec.nodeName!=");
        let mut pods = Box::pin(informer::watch::<Pod>(self.client.clone(), source));
        loop {
            self.fill();
            let wake = self.pace.wake().map(|wake| self.started + wake);
            // All branches are streams or timers that lose nothing when dropped.
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(event) = pods.next() => self.pods_changed(event),
                Some((attempt, outcome)) = self.in_flight.next() => self.answered(attempt, outcome),
                Some(expired) = self.later.next() => self.ready.push_back(expired.into_inner()),
                () = sleep_until(wake) => self.take_turns(),
            }
        }
    }

    /// Sends what waits, as far as the bound allows.
    fn fill(&mut self) {
        while self.in_flight.len() < self.options.concurrency as usize {
            let Some(attempt) = self.ready.pop_front() else {
                return;
            };
            let (client, options) = (self.client.clone(), self.options.clone());
            let work = async move {
                let outcome = perform(&client, &options, &attempt.job).await;
                (attempt, outcome)
            };
            self.in_flight.push(work.boxed());
        }
    }

    fn soon(&mut self, job: Job) {
        self.ready.push_back(Attempt { job, failures: 0 });
    }

    fn take_turns(&mut self) {
        let elapsed = self.started.elapsed();
        let rounds = STATUS_EVERY.as_secs() / u64::from(self.options.lease_renew_seconds);
        let rounds = rounds.max(1);
        while let Some(turn) = self.pace.take(elapsed) {
            if !self.registered[turn.node] {
                continue;
            }
            self.soon(Job::Renew(turn.node));
            // Spread over the rounds, or all nodes would report in the same one.
            if turn.round > 0 && turn.round % rounds == turn.node as u64 % rounds {
                self.soon(Job::Heartbeat(turn.node));
            }
        }
    }

    fn pods_changed(&mut self, event: Event<Pod>) {
        match event {
            Event::Restarted(pods) => pods.into_iter().for_each(|pod| self.pod_changed(pod)),
            Event::Applied(pod) => self.pod_changed(pod),
            Event::Deleted(_) => {}
        }
    }

    fn pod_changed(&mut self, pod: Pod) {
        let Some(node) = self.options.node_number(&pod.spec.node_name) else {
            return;
        };
        let uid = &pod.metadata.uid;
        let (job, delay) = match pod.next() {
            Next::Start if self.starting.insert(uid.clone()) => {
                self.pods_started += 1;
                let delay = Duration::from_millis(self.options.pod_start_ms);
                (
                    Job::Start {
                        pod: Arc::new(pod),
                        node,
                        number: self.pods_started,
                    },
                    delay,
                )
            }
            Next::Stop { grace } if self.stopping.insert(uid.clone()) => {
                let delay = grace.min(Duration::from_millis(self.options.pod_stop_ms));
                (Job::Stop { pod: Arc::new(pod) }, delay)
            }
            _ => return,
        };
        match delay.is_zero() {
            true => self.soon(job),
            false => drop(self.later.insert(Attempt { job, failures: 0 }, delay)),
        }
    }

    fn answered(&mut self, attempt: Attempt, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done(attempt.job),
            Outcome::NodeGone => {
                if let Job::Renew(node) | Job::Heartbeat(node) = attempt.job
                    && std::mem::replace(&mut self.registered[node], false)
                {
                    tracing::info!(node = %self.options.node_name(node), "was deleted; registering again");
                    self.left_to_register += 1;
                    self.soon(Job::Register(node));
                }
            }
            Outcome::Failed(error) => self.failed(attempt, &error),
        }
    }

    fn done(&mut self, job: Job) {
        match job {
            Job::Register(node) => {
                self.registered[node] = true;
                self.left_to_register -= 1;
                if self.left_to_register == 0 {
                    let nodes = self.options.nodes;
                    tracing::info!(
                        "{nodes} nodes are registered after {:.1?}",
                        self.started.elapsed()
                    );
                }
            }
            Job::Start { pod, .. } => drop(self.starting.remove(&pod.metadata.uid)),
            Job::Stop { pod } => drop(self.stopping.remove(&pod.metadata.uid)),
            Job::Renew(_) | Job::Heartbeat(_) => {}
        }
    }

    fn failed(&mut self, mut attempt: Attempt, error: &kube::Error) {
        if availability::is_transport(error) {
            availability::away(error);
        } else {
            tracing::warn!(job = ?attempt.job, "{error}");
        }
        // The next turn of the node does the same again.
        if matches!(attempt.job, Job::Renew(_) | Job::Heartbeat(_)) {
            return;
        }
        let delay = FIRST_RETRY
            .saturating_mul(1 << attempt.failures.min(10))
            .min(LONGEST_RETRY);
        attempt.failures += 1;
        self.later.insert(attempt, delay);
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

async fn perform(client: &kube::Client, options: &Options, job: &Job) -> Outcome {
    let now = Timestamp::now();
    let asked = availability::asking();
    let outcome = match job {
        Job::Register(number) => register(client, options, *number, now).await.into(),
        Job::Renew(number) => {
            let path = format!("{LEASES}/{}", options.node_name(*number));
            of_node(patch(client, &path, PatchType::Merge, &node::renewal(now)).await)
        }
        Job::Heartbeat(number) => {
            let path = format!("/api/v1/nodes/{}/status", options.node_name(*number));
            of_node(patch(client, &path, PatchType::Strategic, &node::heartbeat(now)).await)
        }
        Job::Start { pod, node, number } => {
            let body = pod.running(*node, pod_address(*number), now);
            let path = format!("{}/status", pod.path());
            unless_gone(patch(client, &path, PatchType::Strategic, &body).await)
        }
        Job::Stop { pod } => unless_gone(rest::delete(client, &pod.path(), &pod.gone()).await),
    };
    if !matches!(outcome, Outcome::Failed(_)) {
        availability::reachable(asked);
    }
    outcome
}

impl From<Result<(), kube::Error>> for Outcome {
    fn from(result: Result<(), kube::Error>) -> Self {
        match result {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(error),
        }
    }
}

fn of_node(result: Result<(), kube::Error>) -> Outcome {
    match result {
        Err(error) if rest::is_not_found(&error) => Outcome::NodeGone,
        other => other.into(),
    }
}

/// A pod that is gone, or another one by now, needs nothing more.
fn unless_gone(result: Result<(), kube::Error>) -> Outcome {
    match result {
        Err(error) if rest::is_not_found(&error) || rest::is_conflict(&error) => Outcome::Done,
        other => other.into(),
    }
}

#[derive(Deserialize)]
struct Created {
    metadata: fluyt_client::ObjectMeta,
}

/// The Node and its Lease, new or taken over from an earlier run.
async fn register(
    client: &kube::Client,
    options: &Options,
    number: usize,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let body = node::node(options, number, now);
    let path = format!("/api/v1/nodes/{}", options.node_name(number));
    let node = match rest::create::<Created>(client, "/api/v1/nodes", &body).await {
        Err(error) if rest::is_already_exists(&error) => {
            let body = serde_json::json!({ "status": body["status"] });
            rest::patch::<Created>(
                client,
                &format!("{path}/status"),
                PatchType::Strategic,
                &body,
            )
            .await?
        }
        other => other?,
    };
    let lease = node::lease(options, number, &node.metadata.uid, now);
    match rest::create::<Created>(client, LEASES, &lease).await {
        Err(error) if rest::is_already_exists(&error) => {
            let path = format!("{LEASES}/{}", options.node_name(number));
            patch(client, &path, PatchType::Merge, &lease).await
        }
        other => other.map(drop),
    }
}

/// Without decoding the answer.
async fn patch(
    client: &kube::Client,
    path: &str,
    kind: PatchType,
    body: &serde_json::Value,
) -> Result<(), kube::Error> {
    let body = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
    let request = rest::request(
        "PATCH".parse().expect("a method"),
        path,
        kind.content_type(),
        body,
    )?;
    rest::send(client, request).await.map(drop)
}
