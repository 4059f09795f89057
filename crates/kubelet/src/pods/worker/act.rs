//! From a plan to tasks: what is running already is not started again, and what failed
//! waits until it may be tried again.

use super::{Life, Outcome, Task, Worker};
use crate::pods::operations::{self, StartInput};
use crate::volumes;
use fluyt_kubelet_core::model::{self, Kind, State};
use fluyt_kubelet_core::plan::{self, Plan, Start, Stop};
use fluyt_kubelet_core::status::Waiting;
use fluyt_kubelet_core::termination;
use jiff::Timestamp;

impl Worker {
    fn plan(&self) -> Plan {
        let probes = self.probers.results.lock().clone();
        plan::compute(&plan::Input {
            pod: &self.pod,
            observed: &self.observed,
            probes: &probes,
            backoff: &self.backoff,
            now: Timestamp::now(),
        })
    }

    pub(super) fn act(&mut self) {
        let refresh = self.mounted.as_ref().and_then(|mounted| mounted.refresh_at);
        self.volumes_stale |= refresh.is_some_and(|due| due <= Timestamp::now());
        if self.volumes_stale && self.may_try(&Task::Volumes) {
            self.prepare_volumes();
        }
        let plan = self.plan();
        if plan.stop_pod {
            if !self.observed.all_stopped() {
                self.terminate(termination::grace_seconds(&self.pod));
            }
            return;
        }
        if let Some(attempt) = plan.create_sandbox {
            self.create_sandbox(attempt);
        }
        for stop in plan.stop {
            self.stop(stop);
        }
        for delayed in plan.delayed {
            let task = Task::Start(delayed.name.clone());
            let waiting = self.waiting.get(&delayed.name);
            let failed = waiting.is_some_and(|waiting| waiting.reason != "CrashLoopBackOff");
            if failed && !self.may_try(&task) {
                // Why it could not start is shown until it might be tried again.
                continue;
            }
            let known = waiting
                .is_some_and(|w| w.reason == "CrashLoopBackOff" && w.message == delayed.message);
            if !known {
                let message = format!(
                    "Back-off restarting failed container {} in pod {}",
                    delayed.name,
                    model::describe(&self.pod)
                );
                self.context
                    .event(&self.pod, Some(&delayed.name), true, "BackOff", message);
                let waiting = Waiting {
                    reason: "CrashLoopBackOff".to_owned(),
                    message: delayed.message,
                };
                self.waiting.insert(delayed.name, waiting);
            }
            self.retries.insert(task, (delayed.due, 0));
        }
        if self.mounted.is_some() {
            for start in plan.start {
                self.start(start);
            }
        }
    }

    /// Stops everything; what is being started is given up.
    pub(super) fn end(&mut self) {
        let given_up = |task: &&Task| match task {
            Task::Volumes => true,
            // One that runs is in its postStart hook, which ends with the container:
            // breaking off a command can leave the runtime waiting for it.
            Task::Start(name) => {
                let latest = self.observed.latest(name);
                latest.is_none_or(|container| container.state != State::Running)
            }
            _ => false,
        };
        let starts: Vec<Task> = self.aborts.keys().filter(given_up).cloned().collect();
        for task in starts {
            if let Some(abort) = self.aborts.remove(&task) {
                abort.abort();
            }
            self.running.remove(&task);
        }
        if !self.observed.all_stopped() {
            let grace = match self.failure {
                Some(_) if self.life == Life::Ending => self
                    .pod
                    .spec
                    .as_ref()
                    .and_then(|s| s.termination_grace_period_seconds)
                    .unwrap_or(30),
                _ => termination::grace_seconds(&self.pod),
            };
            self.terminate(grace);
        }
    }

    pub(super) fn may_try(&self, task: &Task) -> bool {
        let due = self
            .retries
            .get(task)
            .is_none_or(|(due, _)| *due <= Timestamp::now());
        due && !self.running.contains(task)
    }

    pub(super) fn spawn(
        &mut self,
        task: Task,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) {
        self.running.insert(task.clone());
        let key = task.clone();
        let abort = self.tasks.spawn(async move { (task, work.await) });
        self.aborts.insert(key, abort);
    }

    fn prepare_volumes(&mut self) {
        self.volumes_stale = false;
        let (context, pod, changed) = (
            self.context.clone(),
            self.pod.clone(),
            self.objects_changed.clone(),
        );
        let ips = self.pod_ips();
        self.spawn(Task::Volumes, async move {
            Outcome::Volumes(volumes::prepare(&context, &pod, &ips, &changed).await)
        });
    }

    pub(super) fn pod_ips(&self) -> Vec<String> {
        if model::host_network(&self.pod) {
            return self.context.host_ips.clone();
        }
        self.observed
            .sandbox()
            .map(|sandbox| sandbox.ips.clone())
            .unwrap_or_default()
    }

    fn create_sandbox(&mut self, attempt: u32) {
        if !self.may_try(&Task::Sandbox) {
            return;
        }
        if !model::host_network(&self.pod)
            && let Err(reason) = self.context.network.borrow().clone()
        {
            // The manager wakes every worker when the network is there.
            if !std::mem::replace(&mut self.network_missed, true) {
                let message = format!("network is not ready: {reason}");
                self.context
                    .event(&self.pod, None, true, "NetworkNotReady", message);
            }
            return;
        }
        if attempt > 0 {
            let message = "Pod sandbox changed, it will be killed and re-created.".to_owned();
            self.context
                .event(&self.pod, None, false, "SandboxChanged", message);
        }
        let older = self
            .observed
            .sandboxes
            .iter()
            .map(|sandbox| sandbox.id.clone())
            .collect();
        let (context, pod) = (self.context.clone(), self.pod.clone());
        self.spawn(Task::Sandbox, async move {
            Outcome::Other(operations::create_sandbox(context, pod, attempt, older).await)
        });
    }

    fn start(&mut self, start: Start) {
        let task = Task::Start(start.spec.name.clone());
        let Some(sandbox) = self.observed.ready_sandbox(&self.pod).cloned() else {
            return;
        };
        let Some(mounted) = self.mounted.clone() else {
            return;
        };
        if !self.may_try(&task) {
            return;
        }
        let input = StartInput {
            context: self.context.clone(),
            pod: self.pod.clone(),
            target: self.target_of(&start),
            start: start.clone(),
            sandbox,
            mounted,
            objects_changed: self.objects_changed.clone(),
        };
        self.spawn(task, async move {
            Outcome::Start(operations::start_container(input).await, Box::new(start))
        });
    }

    /// The container that an ephemeral container was made to look into.
    fn target_of(&self, start: &Start) -> Option<String> {
        if start.kind != Kind::Ephemeral {
            return None;
        }
        let list = self.pod.spec.as_ref()?.ephemeral_containers.as_ref()?;
        let ephemeral = list
            .iter()
            .find(|container| container.name == start.spec.name)?;
        let target = ephemeral.target_container_name.as_deref()?;
        self.observed
            .latest(target)
            .map(|container| container.id.clone())
    }

    fn stop(&mut self, stop: Stop) {
        let task = Task::Stop(stop.container_id.clone());
        if !self.may_try(&task) {
            return;
        }
        let (context, pod) = (self.context.clone(), self.pod.clone());
        self.spawn(task, async move {
            let Stop {
                container_id,
                name,
                message,
                grace_seconds,
            } = stop;
            operations::stop_container(
                &context,
                &pod,
                &container_id,
                &name,
                &message,
                grace_seconds,
            )
            .await;
            Outcome::Other(Ok(()))
        });
    }

    /// A shorter grace period than the one in progress takes over.
    fn terminate(&mut self, grace_seconds: i64) {
        let shortest = self.running.iter().filter_map(|task| match task {
            Task::Terminate(grace) => Some(*grace),
            _ => None,
        });
        let task = Task::Terminate(grace_seconds);
        if shortest.min().is_some_and(|grace| grace <= grace_seconds) || !self.may_try(&task) {
            return;
        }
        let (context, pod, observed) = (
            self.context.clone(),
            self.pod.clone(),
            self.observed.clone(),
        );
        self.spawn(task, async move {
            Outcome::Other(operations::terminate(context, pod, observed, grace_seconds).await)
        });
    }
}
