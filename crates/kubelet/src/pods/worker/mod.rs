//! One pod's worker: an actor that looks at the runtime, asks the core what to do, starts
//! it as tasks, and sleeps until something happens. It never waits for an action, so a pod
//! that pulls an image can still be deleted.

mod act;
mod outcome;
mod rotation;
mod upkeep;

use super::operations::{self, StartError};
use super::probes::Probers;
use super::writer::Writer;
use crate::context::Context;
use crate::runtime::observe::Observer;
use crate::volumes::Mounted;
use fluyt_kubelet_core::backoff::Backoff;
use fluyt_kubelet_core::model::{self, Observed, State};
use fluyt_kubelet_core::plan::Start;
use fluyt_kubelet_core::status::{Failure, Waiting};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// While a pod has something running it is looked at this often, should an event be lost.
const RELIST: SignedDuration = SignedDuration::from_secs(60);

/// What the pod's source says.
#[derive(Clone)]
pub(crate) struct Desired {
    pub pod: Arc<Pod>,
    /// The source no longer has it: the object is gone, or the file.
    pub gone: bool,
}

/// What others see of a worker.
#[derive(Clone)]
pub(crate) struct Handle {
    pub desired: watch::Sender<Desired>,
    /// Something happened in the runtime.
    pub wake: Arc<Notify>,
    pub observed: Arc<RwLock<Observed>>,
    /// Counts the worker's looks at the runtime: a change means that `observed` is new.
    pub looks: watch::Sender<u64>,
    /// The worker may not have seen its newest containers yet.
    pub busy: Arc<AtomicBool>,
    /// Containers and sandboxes that the runtime said have ended, with how often it still
    /// showed them running after that: its list lags behind its events.
    pub ended: Ended,
    /// The pod with its newest status.
    pub current: Arc<RwLock<Arc<Pod>>>,
}

type Ended = Arc<Mutex<HashMap<String, u32>>>;

/// Looks at an ended container that still seems to run; then the event was wrong.
const ENDED_LOOKS: u32 = 12;

/// Active until the pod is to end; Ending when it ends by itself or by its deadline and
/// its object stays; Deleting when the object goes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Active,
    Ending,
    Deleting,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Task {
    Volumes,
    Sandbox,
    Start(String),
    Stop(String),
    Remove(String),
    Rotate(String),
    Terminate(i64),
}

enum Outcome {
    Volumes(Result<Mounted, String>),
    Start(Result<(), StartError>, Box<Start>),
    Other(Result<(), String>),
}

pub(crate) struct Worker {
    context: Arc<Context>,
    desired: watch::Receiver<Desired>,
    wake: Arc<Notify>,
    objects_changed: Arc<Notify>,
    shared: Arc<RwLock<Observed>>,
    current: Arc<RwLock<Arc<Pod>>>,
    looks: watch::Sender<u64>,
    busy: Arc<AtomicBool>,
    ended: Ended,
    shutdown: CancellationToken,
    pod: Arc<Pod>,
    gone: bool,
    life: Life,
    observer: Observer,
    observed: Observed,
    status: Option<PodStatus>,
    probers: Probers,
    backoff: Backoff,
    waiting: BTreeMap<String, Waiting>,
    failure: Option<Failure>,
    /// When a failed task may be tried again, and how often it failed.
    retries: HashMap<Task, (Timestamp, u32)>,
    mounted: Option<Mounted>,
    volumes_stale: bool,
    /// How the logs of running containers grow.
    growth: HashMap<String, rotation::Growth>,
    /// The pod was told that the network is not ready.
    network_missed: bool,
    /// The API server's copy has changed since it was last compared with ours.
    fresh: bool,
    running: HashSet<Task>,
    tasks: JoinSet<(Task, Outcome)>,
    aborts: HashMap<Task, tokio::task::AbortHandle>,
    writer: Option<Writer>,
}

impl Worker {
    /// A worker and its handle; it starts when [`Worker::run`] does. With a failure the
    /// pod was turned away: the worker runs nothing, tells why and awaits the object's end.
    pub fn new(
        context: Arc<Context>,
        pod: Arc<Pod>,
        failure: Option<Failure>,
        shutdown: CancellationToken,
    ) -> (Self, Handle) {
        let mut current = pod.clone();
        if failure.is_some() {
            // Others must not count it from the first moment on.
            let status = Arc::make_mut(&mut current).status.get_or_insert_default();
            status.phase = Some("Failed".to_owned());
        }
        let (sender, desired) = watch::channel(Desired {
            pod: pod.clone(),
            gone: false,
        });
        let handle = Handle {
            desired: sender,
            wake: Arc::default(),
            observed: Arc::default(),
            looks: watch::channel(0).0,
            busy: Arc::new(AtomicBool::new(true)),
            ended: Ended::default(),
            current: Arc::new(RwLock::new(current)),
        };
        let worker = Self {
            desired,
            wake: handle.wake.clone(),
            objects_changed: Arc::default(),
            shared: handle.observed.clone(),
            current: handle.current.clone(),
            looks: handle.looks.clone(),
            busy: handle.busy.clone(),
            ended: handle.ended.clone(),
            gone: false,
            life: if failure.is_some() {
                Life::Ending
            } else {
                Life::Active
            },
            observer: Observer::default(),
            observed: Observed::default(),
            status: None,
            probers: Probers::new(context.clone(), handle.wake.clone()),
            backoff: Backoff::default(),
            waiting: BTreeMap::new(),
            failure,
            retries: HashMap::new(),
            mounted: None,
            volumes_stale: true,
            growth: HashMap::new(),
            network_missed: false,
            fresh: false,
            running: HashSet::new(),
            tasks: JoinSet::new(),
            aborts: HashMap::new(),
            writer: Some(Writer::new(context.clone(), &pod, shutdown.clone())),
            context,
            pod,
            shutdown,
        };
        (worker, handle)
    }

    /// Runs until the pod has left the node (true) or until shutdown (false), which
    /// leaves the pod's containers alone.
    pub async fn run(mut self) -> bool {
        let mut look = true;
        loop {
            if look && !self.look().await {
                return false;
            }
            self.take_desired();
            if self.step() {
                return self.finish().await;
            }
            self.busy.store(!self.tasks.is_empty(), Ordering::Release);
            let due = self.next_due();
            look = tokio::select! {
                changed = self.desired.changed() => {
                    if changed.is_err() {
                        return false;
                    }
                    false
                }
                () = self.wake.notified() => true,
                () = self.objects_changed.notified() => {
                    self.volumes_stale = true;
                    false
                }
                Some(joined) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.take_outcome(joined)
                }
                () = sleep_until(due) => true,
                () = self.shutdown.cancelled() => return false,
            };
        }
    }

    /// Sees what the runtime has; false at shutdown.
    async fn look(&mut self) -> bool {
        self.busy.store(true, Ordering::Release);
        let mut pause = Duration::from_millis(100);
        loop {
            match self
                .observer
                .observe(&self.context.cri, model::uid(&self.pod))
                .await
            {
                Ok(observed) => {
                    self.observed = observed;
                    self.shared.write().clone_from(&self.observed);
                    self.looks.send_modify(|looks| *looks += 1);
                    self.settle_ended();
                    return true;
                }
                Err(error) => {
                    tracing::debug!(pod = %model::describe(&self.pod), %error, "cannot see the pod")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shutdown.cancelled() => return false,
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Forgets the ended ones that are now seen to have ended.
    fn settle_ended(&self) {
        let observed = &self.observed;
        self.ended.lock().retain(|id, looks| {
            *looks += 1;
            let container = observed
                .containers
                .iter()
                .find(|container| container.id == *id);
            let sandbox = observed.sandboxes.iter().find(|sandbox| sandbox.id == *id);
            let settled = container.is_some_and(|container| container.state == State::Exited)
                || sandbox.is_some_and(|sandbox| !sandbox.ready);
            let limit = if container.is_some() || sandbox.is_some() {
                ENDED_LOOKS
            } else {
                ENDED_LOOKS / 2
            };
            !settled && *looks < limit
        });
    }

    fn take_desired(&mut self) {
        let desired = self.desired.borrow_and_update().clone();
        if !Arc::ptr_eq(&desired.pod, &self.pod) {
            if desired.pod.metadata.labels != self.pod.metadata.labels
                || desired.pod.metadata.annotations != self.pod.metadata.annotations
            {
                self.volumes_stale = true;
            }
            self.pod = desired.pod;
            self.fresh = true;
        }
        self.gone = desired.gone;
        if self.gone || self.pod.metadata.deletion_timestamp.is_some() {
            self.life = Life::Deleting;
        } else if self.life == Life::Active && self.deadline_passed() {
            self.failure = Some(Failure {
                reason: "DeadlineExceeded".to_owned(),
                message: "Pod was active on the node longer than the specified deadline".to_owned(),
            });
            let message =
                "Pod was active on the node longer than the specified deadline".to_owned();
            self.context
                .event(&self.pod, None, false, "DeadlineExceeded", message);
            self.life = Life::Ending;
        } else if self.life == Life::Active && self.has_ended() {
            self.life = Life::Ending;
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let status = self.status.as_ref().or(self.pod.status.as_ref())?;
        let start = status.start_time.as_ref()?.0;
        start.checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    fn deadline_passed(&self) -> bool {
        self.deadline()
            .is_some_and(|deadline| deadline <= Timestamp::now())
    }

    /// The pod has succeeded or failed, by our own word or, after a restart, the API's.
    fn has_ended(&self) -> bool {
        let of = |status: Option<&PodStatus>| {
            status
                .and_then(|status| status.phase.as_deref())
                .is_some_and(|phase| matches!(phase, "Succeeded" | "Failed"))
        };
        of(self.status.as_ref()) || of(self.pod.status.as_ref())
    }

    /// Decides and starts what is next; true when the pod has left the node.
    fn step(&mut self) -> bool {
        match self.life {
            Life::Active => {
                self.update_probes();
                self.rotate_logs();
                self.act();
            }
            Life::Ending | Life::Deleting => {
                self.probers.stop();
                self.end();
            }
        }
        self.collect_garbage();
        let left =
            self.life == Life::Deleting && self.observed.all_stopped() && self.running.is_empty();
        if !left {
            self.publish(self.life != Life::Active && self.observed.all_stopped());
        }
        left
    }

    /// When to look again although nothing happened.
    fn next_due(&self) -> Option<Timestamp> {
        let retries = self
            .retries
            .iter()
            .filter(|(task, _)| !self.running.contains(task))
            .map(|(_, (due, _))| *due);
        let refresh = self.mounted.as_ref().and_then(|mounted| mounted.refresh_at);
        let relist = (!self.observed.all_stopped()).then(|| Timestamp::now() + RELIST);
        let deadline = self.deadline().filter(|_| self.life == Life::Active);
        let full = self.growth.values().filter_map(|growth| growth.full_at);
        let now = Timestamp::now();
        let lagging = self
            .ended
            .lock()
            .values()
            .min()
            .map(|looks| now + SignedDuration::from_millis(1 << looks.min(&9)));
        retries
            .chain(refresh)
            .chain(relist)
            .chain(lagging)
            .chain(full)
            .chain(deadline)
            .filter(|due| *due > now)
            .min()
    }

    /// The pod's last status, its object's end, and the end of its traces.
    async fn finish(mut self) -> bool {
        self.probers.stop();
        if self.gone {
            self.writer = None;
        } else if let Some(writer) = self.writer.take() {
            let status = self.status_now(true);
            writer.finish(&self.pod, &status, &self.shutdown).await;
        }
        let mut pause = Duration::from_millis(200);
        while let Err(error) =
            operations::remove_traces(&self.context, &self.pod, &self.observed).await
        {
            tracing::warn!(pod = %model::describe(&self.pod), error, "cannot clean up yet");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shutdown.cancelled() => return false,
            }
            pause = (pause * 2).min(Duration::from_secs(30));
        }
        tracing::debug!(pod = %model::describe(&self.pod), "left the node");
        true
    }
}

async fn sleep_until(due: Option<Timestamp>) {
    match due {
        Some(due) => {
            let left = due.duration_since(Timestamp::now());
            tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
        }
        None => std::future::pending().await,
    }
}
