//! The one task that owns the core: changes in, decisions out, in small turns so that neither starves the other.

mod consulting;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fluyt_client::events::Recorder;
use fluyt_client::kube::Client;
use fluyt_scheduler_core::core::{Core, Decision, Outcome};
use fluyt_scheduler_core::gangs::GroupReport;
use fluyt_scheduler_core::objects::Text;
use fluyt_scheduler_core::points::Point;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bindings::{self, Bound, Failure, IN_FLIGHT};
use crate::decision_log::DecisionLog;
use crate::evictions;
use crate::extenders::{ASKS, Extender, Extenders, Query};
use crate::groups;
use crate::health::Health;
use crate::informers::Input;
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::pause::{self, Paused};
use crate::prebind::{self, Stopped};
use crate::questions::Desk;
use crate::record::Record;
use crate::reports::{Reason, Reports};
use crate::scheduled::{self, Load, Scheduled};
use crate::volumes::{self, Next, Waiting, Written};

/// Decisions in a row before changes are looked at again.
const TURN: usize = 64;
/// Gauges are at most so old.
const REFRESH: Duration = Duration::from_secs(1);

pub struct Driver {
    core: Core,
    client: Client,
    metrics: Arc<Metrics>,
    inputs: mpsc::Receiver<Input>,
    answers: mpsc::Receiver<Bound>,
    answer_to: mpsc::Sender<Bound>,
    written: mpsc::Receiver<Written>,
    written_to: mpsc::Sender<Written>,
    /// Pods whose volumes are being bound.
    waiting: Waiting,
    reports: Reports,
    /// One for each profile: events name it.
    recorders: Vec<Recorder>,
    scheduled: mpsc::Sender<Scheduled>,
    groups: mpsc::Sender<GroupReport>,
    load: Arc<Load>,
    in_flight: usize,
    /// Decisions wait until it is complete.
    intake: Intake,
    paused: Paused,
    started: Instant,
    desk: Option<Desk>,
    log: Option<DecisionLog>,
    record: Option<Record>,
    stop: CancellationToken,
    extenders: Option<Arc<Extenders>>,
    queries: mpsc::Receiver<Query>,
    query_to: mpsc::Sender<Query>,
    /// Cancelled once decisions may be made: the lease is held, or there is none.
    active: CancellationToken,
    health: Arc<Health>,
    /// By uid: the extender that binds the pod instead of the API server.
    binders: HashMap<Text, Arc<Extender>>,
    refreshed: Option<Duration>,
    /// Something happened since then.
    stale: bool,
}

/// What a driver needs besides the core.
pub struct Surroundings {
    pub client: Client,
    pub metrics: Arc<Metrics>,
    pub inputs: mpsc::Receiver<Input>,
    pub intake: Intake,
    pub extenders: Option<Arc<Extenders>>,
    pub active: CancellationToken,
    pub health: Arc<Health>,
}

impl Driver {
    pub fn new(mut core: Core, around: Surroundings, stop: &CancellationToken) -> Self {
        let Surroundings {
            client,
            metrics,
            inputs,
            intake,
            extenders,
            active,
            health,
        } = around;
        if let Some(extenders) = &extenders {
            core.ask_about(extenders.interest());
        }
        let (query_to, queries) = mpsc::channel(ASKS);
        let (answer_to, answers) = mpsc::channel(IN_FLIGHT);
        let (written_to, written) = mpsc::channel(IN_FLIGHT);
        let recorders = core.profiles().iter();
        let recorders = recorders.map(|profile| &profile.scheduler_name);
        let recorders = recorders
            .map(|name| Recorder::new(client.clone(), name, ""))
            .collect();
        let load = Arc::new(Load::default());
        Self {
            core,
            reports: Reports::new(client.clone(), stop.clone()),
            scheduled: scheduled::start(client.clone(), load.clone(), stop.clone()),
            groups: groups::start(client.clone(), stop.clone()),
            client,
            metrics,
            inputs,
            answers,
            answer_to,
            written,
            written_to,
            waiting: Waiting::default(),
            recorders,
            load,
            in_flight: 0,
            intake,
            paused: pause::never(),
            started: Instant::now(),
            desk: None,
            log: None,
            record: None,
            stop: stop.clone(),
            extenders,
            queries,
            query_to,
            active,
            health,
            binders: HashMap::new(),
            refreshed: None,
            stale: true,
        }
    }

    /// Also writes down what the core is told and decides.
    pub fn recording(mut self, record: Option<Record>) -> Self {
        self.record = record;
        self
    }

    pub fn paused_by(mut self, paused: Paused) -> Self {
        self.paused = paused;
        self
    }

    /// With a desk where questions why arrive, and a log that decisions are kept in.
    pub fn answering(mut self, desk: Desk, log: Option<DecisionLog>) -> Self {
        self.desk = Some(desk);
        self.log = log;
        self
    }

    pub async fn run(mut self, stop: CancellationToken) {
        stop.clone().run_until_cancelled(self.turns()).await;
        self.drain().await;
        if let Some(record) = &mut self.record {
            record.flush();
        }
    }

    /// Bindings that are under way get a moment to be answered.
    async fn drain(&mut self) {
        let answered = async {
            while self.in_flight > 0 {
                let answered = tokio::select! {
                    answer = self.answers.recv() => answer.is_some(),
                    written = self.written.recv() => written.is_some(),
                };
                if !answered {
                    return;
                }
                self.in_flight -= 1;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), answered).await;
    }

    async fn turns(&mut self) {
        loop {
            self.take_what_came();
            self.refresh();
            let busy = self.may_decide() && self.core.is_ready(self.now());
            let asked = self.answer_questions(busy);
            if busy {
                self.decide();
            }
            if busy || asked {
                tokio::task::yield_now().await;
                continue;
            }
            self.wait().await;
        }
    }

    fn may_decide(&self) -> bool {
        self.intake.is_complete()
            && self.in_flight < IN_FLIGHT
            && self.core.asks_in_flight() < ASKS
            && self.active.is_cancelled()
            && !self.paused.now()
    }

    /// Gauges follow the core, but not at every turn.
    fn refresh(&mut self) {
        let now = self.now();
        if self.refreshed.is_none_or(|at| now >= at + REFRESH) {
            self.refreshed = Some(now);
            self.metrics.refresh(&self.core, self.in_flight);
        }
    }

    /// A slice of what was asked; true when there is more to do. Nothing is answered before everything was listed.
    fn answer_questions(&mut self, busy: bool) -> bool {
        let (ready, now) = (self.intake.is_complete(), self.now());
        match &mut self.desk {
            Some(desk) if ready => desk.turn(&mut self.core, now, busy),
            _ => false,
        }
    }

    fn take_what_came(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            self.answered(answer);
        }
        while let Ok(written) = self.written.try_recv() {
            self.written(written);
        }
        while let Ok(query) = self.queries.try_recv() {
            self.queried(query);
        }
        while let Ok(input) = self.inputs.try_recv() {
            self.take(input);
        }
        self.bind_those_with_volumes();
    }

    /// Until something comes, or is due.
    async fn wait(&mut self) {
        if let Some(record) = &mut self.record {
            record.flush();
        }
        let now = self.now();
        let due = self.core.next_due().filter(|_| self.may_decide());
        let due = due.into_iter().chain(self.waiting.due()).min();
        let waits = !self.active.is_cancelled();
        let sleep = due.map_or(Duration::from_secs(3600), |due| due.saturating_sub(now));
        let complete = self.intake.is_complete();
        let asked = async {
            match &mut self.desk {
                Some(desk) if complete => desk.wait(&self.core).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(answer) = self.answers.recv() => self.answered(answer),
            Some(written) = self.written.recv() => self.written(written),
            Some(query) = self.queries.recv() => self.queried(query),
            Some(input) = self.inputs.recv() => self.take(input),
            () = asked => {}
            () = self.active.cancelled(), if waits => {}
            () = tokio::time::sleep(sleep) => {}
            () = self.paused.changed() => {}
            // Whatever happened since the gauges were set shows a little later.
            () = tokio::time::sleep(REFRESH), if self.stale => self.show(),
        }
    }

    fn show(&mut self) {
        self.stale = false;
        self.refreshed = None;
        self.refresh();
    }

    fn take(&mut self, input: Input) {
        let now = self.now();
        if let Some(record) = &mut self.record {
            record.input(&input, now);
        }
        if matches!(input, Input::Storage(_) | Input::Pods(_) | Input::Nodes(_)) {
            self.waiting.look_again();
        }
        self.stale = true;
        let reports = &mut self.reports;
        self.intake
            .take(&mut self.core, input, now, |uid| reports.forget(uid));
        if self.intake.is_complete() {
            self.health.synced();
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    // ----- decisions -----

    fn decide(&mut self) {
        let now = self.now();
        for _ in 0..TURN {
            if self.in_flight >= IN_FLIGHT {
                break;
            }
            let started = Instant::now();
            let outcome = self.core.schedule_one(now);
            self.ask();
            if let Some(record) = &mut self.record {
                record.decided(outcome.as_ref(), now);
            }
            let Some(outcome) = outcome else {
                break;
            };
            self.carry_out(outcome, started.elapsed(), now);
            if self.core.asks_in_flight() >= ASKS {
                break;
            }
        }
        prebind::deallocate(&self.client, self.core.take_deallocations());
        for report in self.core.take_group_reports() {
            // A full queue drops the word, not the pods.
            let _ = self.groups.try_send(report);
        }
        self.load.set(self.in_flight);
    }

    fn carry_out(&mut self, outcome: Outcome, took: Duration, now: Duration) {
        self.stale = true;
        match outcome {
            Outcome::Placed(decision) => {
                let profile = self.core.profile_of_pod(&decision.pod);
                self.metrics.decided(profile, took, true);
                self.bind(decision, None);
            }
            Outcome::Unschedulable {
                pod,
                message,
                plugins: _,
                preemption,
            } => {
                tracing::debug!("pod {}/{}: {message}", pod.namespace, pod.name);
                let profile = self.core.profile_of_pod(&pod);
                self.metrics.decided(profile, took, false);
                self.metrics.attempt(profile, "unschedulable", took);
                let node = preemption
                    .as_ref()
                    .map(|preemption| preemption.node.as_str());
                let recorder = &self.recorders[profile];
                self.reports
                    .pending(recorder, &pod, Reason::Unschedulable, &message, node, now);
                let settings = &self.core.profiles()[profile];
                if settings.is_enabled_at("DefaultPreemption", Point::PostFilter) {
                    self.metrics.preemption_attempts.inc();
                }
                if let Some(preemption) = preemption {
                    let victims = preemption.victims.len() as f64;
                    self.metrics.preemption_victims.observe(victims);
                    let scheduler = &settings.scheduler_name;
                    evictions::evict(&self.client, recorder, scheduler, &pod, preemption);
                }
            }
        }
    }

    fn bind(&mut self, decision: Decision, binder: Option<Arc<Extender>>) {
        if let Some(log) = &self.log
            && let Some(recorded) = self.core.recorded(&decision.pod.key(), self.now())
        {
            log.write(&decision.pod, recorded);
        }
        self.in_flight += 1;
        if let Some(binder) = binder {
            self.binders.insert(decision.pod.uid.clone(), binder);
        }
        match decision.volumes {
            Some(_) => volumes::write(&self.client, decision, &self.written_to),
            None => self.send_binding(decision),
        }
    }

    fn send_binding(&mut self, decision: Decision) {
        let binder = self.binders.remove(&decision.pod.uid);
        bindings::bind(&self.client, decision, binder, &self.answer_to, &self.stop);
    }

    /// The volumes of a pod are written: the pod waits until they are bound.
    fn written(&mut self, written: Written) {
        self.in_flight -= 1;
        let Written { decision, outcome } = written;
        match outcome {
            Ok(()) => {
                let timeout = self.core.volume_bind_timeout(&decision.pod);
                self.waiting.push(decision, self.now() + timeout);
            }
            Err(failure) => {
                self.failed(&decision, failure, None, "PreBind plugin \"VolumeBinding\"")
            }
        }
    }

    fn bind_those_with_volumes(&mut self) {
        let now = self.now();
        let room = IN_FLIGHT - self.in_flight;
        for next in self.waiting.take(&self.core, room, now) {
            match next {
                Next::Bind(decision) => {
                    self.in_flight += 1;
                    self.send_binding(decision);
                }
                Next::Failed(decision, why) => {
                    let failure = Failure::Refused(format!("binding volumes: {why}"));
                    self.failed(&decision, failure, None, "PreBind plugin \"VolumeBinding\"");
                }
            }
        }
        self.load.set(self.in_flight);
    }

    fn answered(&mut self, bound: Bound) {
        self.in_flight -= 1;
        self.stale = true;
        self.load.set(self.in_flight);
        let Bound {
            decision,
            outcome,
            written,
            took,
        } = bound;
        let now = self.now();
        for claim in written.claims {
            if let Some(record) = &mut self.record {
                record.claim(&claim, now);
            }
            self.core.apply_resource_claim(claim, now);
        }
        let pod = &decision.pod;
        let profile = self.core.profile_of_pod(pod);
        let status = match outcome {
            Ok(()) => "Success",
            Err(_) => "Error",
        };
        self.metrics.point(profile, Point::Bind, status, took);
        let Err(failure) = outcome else {
            if let Some(record) = &mut self.record {
                record.answered(pod, true, now);
            }
            self.core.bound(pod, now);
            self.reports.forget(&pod.uid);
            self.metrics.attempt(profile, "scheduled", took);
            let since_seen = now.saturating_sub(decision.first_seen);
            self.metrics.bound(decision.attempts, since_seen);
            // A full queue drops the event, not the pod.
            let _ = self.scheduled.try_send(Scheduled {
                pod: decision.pod,
                node: decision.node,
                at: jiff::Timestamp::now(),
                scheduler: self.core.profiles()[profile].scheduler_name.clone(),
            });
            return;
        };
        self.failed(
            &decision,
            failure,
            Some(took),
            "Bind plugin \"DefaultBinder\"",
        );
    }

    fn failed(
        &mut self,
        decision: &Decision,
        failure: Failure,
        took: Option<Duration>,
        plugin: &str,
    ) {
        let (now, pod) = (self.now(), &decision.pod);
        let profile = self.core.profile_of_pod(pod);
        self.binders.remove(&pod.uid);
        self.metrics
            .attempt(profile, "error", took.unwrap_or_default());
        match failure {
            Failure::Away => {}
            Failure::Overtaken(why) => {
                tracing::debug!("pod {}/{} was not bound: {why}", pod.namespace, pod.name);
            }
            Failure::Refused(why) => {
                tracing::warn!("pod {}/{} was not bound: {why}", pod.namespace, pod.name);
                let message = format!("running {plugin}: {why}");
                let recorder = &self.recorders[profile];
                self.reports
                    .pending(recorder, pod, Reason::SchedulerError, &message, None, now);
            }
            Failure::Unprepared(Stopped { plugin, why }) => {
                tracing::warn!("pod {}/{} was not bound: {why}", pod.namespace, pod.name);
                let message = format!("running PreBind plugin {plugin:?}: {why}");
                let recorder = &self.recorders[profile];
                self.reports
                    .pending(recorder, pod, Reason::SchedulerError, &message, None, now);
            }
        }
        if let Some(record) = &mut self.record {
            record.answered(pod, false, now);
        }
        self.core.bind_failed(pod, now);
    }
}
