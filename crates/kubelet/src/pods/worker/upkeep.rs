//! What follows from every look: probes, garbage, and the status that others read.

use super::{Life, Outcome, Task, Worker};
use crate::pods::operations;
use crate::pods::probes::Target;
use fluyt_kubelet_core::model::{self, State};
use fluyt_kubelet_core::names;
use fluyt_kubelet_core::status;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodStatus;
use std::collections::HashMap;
use std::sync::Arc;

impl Worker {
    pub(super) fn update_probes(&mut self) {
        let address = self.pod_ips().first().cloned().unwrap_or_default();
        let specs: Vec<_> = model::containers(&self.pod)
            .iter()
            .chain(
                model::init_containers(&self.pod)
                    .iter()
                    .filter(|container| model::is_sidecar(container)),
            )
            .collect();
        let targets: Vec<Target<'_>> = specs
            .into_iter()
            .filter_map(|spec| {
                let container = self.observed.latest(&spec.name)?;
                (container.state == State::Running).then(|| Target {
                    id: &container.id,
                    spec,
                    started_at: container.started_at.unwrap_or(container.created_at),
                    address: &address,
                })
            })
            .collect();
        self.probers.update(&self.pod, &targets);
    }

    /// Keeps two generations of each container, for `--previous`, and one sandbox.
    pub(super) fn collect_garbage(&mut self) {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut doomed = Vec::new();
        for container in &self.observed.containers {
            let count = seen.entry(&container.name).or_insert(0);
            *count += 1;
            if *count > 2 && container.state == State::Exited {
                doomed.push((
                    container.id.clone(),
                    container.name.clone(),
                    container.restart_count,
                ));
            }
        }
        for (id, name, restart_count) in doomed {
            let task = Task::Remove(id.clone());
            if !self.may_try(&task) {
                continue;
            }
            let log = names::pod_log_directory(&self.context.settings.logs, &self.pod)
                .join(names::container_log(&name, restart_count));
            let context = self.context.clone();
            self.spawn(task, async move {
                let request = fluyt_cri::RemoveContainerRequest { container_id: id };
                let removed = context.cri.remove_container(request).await.map(drop);
                crate::logs::remove(&log);
                Outcome::Other(removed.map_err(|error| error.to_string()))
            });
        }
        let mut old = Vec::new();
        for sandbox in self
            .observed
            .sandboxes
            .iter()
            .skip(1)
            .filter(|sandbox| !sandbox.ready)
        {
            let empty = self
                .observed
                .containers
                .iter()
                .all(|container| container.sandbox_id != sandbox.id);
            if empty {
                old.push(sandbox.id.clone());
            }
        }
        for id in old {
            let task = Task::Remove(id.clone());
            if self.may_try(&task) {
                let context = self.context.clone();
                self.spawn(task, async move {
                    Outcome::Other(operations::remove_sandbox(&context, &id).await)
                });
            }
        }
    }

    /// The status as it is now.
    pub(super) fn status_now(&self, terminal: bool) -> PodStatus {
        let probes = self.probers.results.lock().clone();
        let mut pod = (*self.pod).clone();
        if let Some(own) = &self.status {
            // Conditions of others are only in the API's copy.
            let mut merged = own.clone();
            let others = pod
                .status
                .as_ref()
                .and_then(|status| status.conditions.clone())
                .unwrap_or_default();
            let owned = |kind: &str| fluyt_kubelet_core::conditions::OWNED.contains(&kind);
            let mut conditions: Vec<_> = merged.conditions.take().unwrap_or_default();
            conditions.retain(|condition| owned(&condition.type_));
            conditions.extend(
                others
                    .into_iter()
                    .filter(|condition| !owned(&condition.type_)),
            );
            merged.conditions = Some(conditions);
            pod.status = Some(merged);
        }
        status::generate(&status::Input {
            pod: &pod,
            observed: &self.observed,
            probes: &probes,
            waiting: &self.waiting,
            failure: self.failure.as_ref(),
            terminal,
            runtime: &self.context.runtime_name,
            host_ips: &self.context.host_ips,
            now: Timestamp::now(),
        })
    }

    pub(super) fn publish(&mut self, terminal: bool) {
        let status = self.status_now(terminal);
        let unchanged = self.status.as_ref() == Some(&status);
        // The node controller marks pods of a silent node unready, and a mirror pod is
        // born without a status: say it again.
        let fresh = std::mem::take(&mut self.fresh);
        let differs =
            fresh && unchanged && summary(self.pod.status.as_ref()) != summary(Some(&status));
        if let Some(writer) = self.writer.as_ref().filter(|_| !self.gone) {
            writer.submit(&status, differs);
        }
        if !unchanged {
            let mut pod = (*self.pod).clone();
            pod.status = Some(status.clone());
            *self.current.write() = Arc::new(pod);
            self.status = Some(status);
            if self.life == Life::Active && self.has_ended() {
                // The next step ends what is left.
                self.wake.notify_one();
            }
        }
    }
}

/// The phase and whether the pod is ready: what others read first.
fn summary(status: Option<&PodStatus>) -> (Option<&str>, Option<&str>) {
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    (
        status.and_then(|status| status.phase.as_deref()),
        ready.map(|ready| ready.status.as_str()),
    )
}
