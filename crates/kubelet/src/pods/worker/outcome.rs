//! What became of a task, and when to try again.

use super::{Outcome, Task, Worker};
use crate::pods::operations::StartError;
use fluyt_kubelet_core::model;
use fluyt_kubelet_core::plan::Start;
use fluyt_kubelet_core::status::Waiting;
use jiff::{SignedDuration, Timestamp};

impl Worker {
    /// Takes a task's result; true when the runtime should be looked at.
    pub(super) fn take_outcome(
        &mut self,
        joined: Result<(Task, Outcome), tokio::task::JoinError>,
    ) -> bool {
        let (task, outcome) = match joined {
            Ok(done) => done,
            Err(error) => {
                if !error.is_cancelled() {
                    tracing::error!(pod = %model::describe(&self.pod), %error, "a task of the pod panicked");
                }
                // Which task it was is not known: forget those that have ended.
                let ended: Vec<Task> = self
                    .aborts
                    .iter()
                    .filter(|(_, abort)| abort.is_finished())
                    .map(|(task, _)| task.clone())
                    .collect();
                for task in ended {
                    self.aborts.remove(&task);
                    self.running.remove(&task);
                }
                return true;
            }
        };
        self.running.remove(&task);
        self.aborts.remove(&task);
        match outcome {
            Outcome::Volumes(Ok(mounted)) => {
                self.retries.remove(&task);
                self.mounted = Some(mounted);
                false
            }
            Outcome::Volumes(Err(message)) => {
                self.context
                    .event(&self.pod, None, true, "FailedMount", message);
                self.volumes_stale = true;
                self.failed(task);
                false
            }
            Outcome::Start(result, start) => {
                self.take_start(task, result, &start);
                true
            }
            Outcome::Other(Ok(())) => {
                self.retries.remove(&task);
                true
            }
            Outcome::Other(Err(message)) => {
                tracing::warn!(pod = %model::describe(&self.pod), ?task, message, "trying again later");
                self.failed(task);
                true
            }
        }
    }

    fn take_start(&mut self, task: Task, result: Result<(), StartError>, start: &Start) {
        let name = start.spec.name.clone();
        match result {
            Ok(()) => {
                if let Some(end) = start.previous_end {
                    self.backoff.next(&name, end, Timestamp::now());
                } else {
                    self.backoff.reset(&name);
                }
                // The first failure of a container is not delayed, the second is.
                self.waiting.remove(&name);
                self.retries.remove(&task);
            }
            Err(error) => {
                // The runtime keeps what could not start as an ended container: the plan
                // counts the delay from its end. The first failure is not delayed.
                if let Some(end) = start.previous_end.filter(|_| error.left_container()) {
                    self.backoff.next(&name, end, Timestamp::now());
                }
                let message = error.message;
                self.waiting.insert(
                    name,
                    Waiting {
                        reason: error.reason.to_owned(),
                        message,
                    },
                );
                match error.retry_at {
                    Some(due) => {
                        self.retries.insert(task, (due, 0));
                    }
                    None => self.failed(task),
                }
            }
        }
    }

    /// 1 s, doubling to 30 s.
    pub(super) fn failed(&mut self, task: Task) {
        let failures = self.retries.get(&task).map_or(0, |(_, failures)| *failures);
        let delay =
            SignedDuration::from_secs(1 << failures.min(5)).min(SignedDuration::from_secs(30));
        self.retries
            .insert(task, (Timestamp::now() + delay, failures + 1));
    }
}
