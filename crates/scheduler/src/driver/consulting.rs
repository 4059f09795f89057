//! The driver's part in asking extenders: the core's questions go out, and what comes back is carried out.

use std::time::{Duration, Instant};

use fluyt_scheduler_core::core::PodRef;

use super::Driver;
use crate::extenders::{self, Consultation, Query};
use crate::record::{Asked, Decided};
use crate::reports::Reason;

impl Driver {
    /// Hands the core's questions on.
    pub(super) fn ask(&mut self) {
        let asks = self.core.take_asks();
        for ask in asks {
            match &self.extenders {
                Some(extenders) => extenders::start(extenders, ask, &self.query_to),
                // Without extenders the core asks nothing.
                None => self.retry(&ask.pod, self.started.elapsed()),
            }
        }
    }

    pub(super) fn queried(&mut self, query: Query) {
        match query {
            // Who asked may be gone.
            Query::Scores { pod, nodes, answer } => {
                let scores = self.core.scores_asked(&pod, &nodes);
                self.note(|| Asked::Scores {
                    pod: (&pod).into(),
                    nodes,
                });
                let _ = answer.send(scores);
            }
            Query::Evictions { pod, answer } => {
                self.note(|| Asked::Evictions((&pod).into()));
                let _ = answer.send(self.core.evictions_asked(&pod));
            }
            Query::Ended(pod, end) => self.consulted(&pod, end),
        }
    }

    fn consulted(&mut self, pod: &PodRef, end: Consultation) {
        let (now, started) = (self.now(), Instant::now());
        match end {
            Consultation::Place {
                node,
                score,
                feasible,
                binder,
            } => {
                let decision = self.core.place_asked(pod, &node, score, feasible);
                let decided = decision.as_ref().map(Decided::from);
                self.note(|| Asked::Place {
                    pod: pod.into(),
                    node,
                    score,
                    feasible,
                    decided,
                });
                match decision {
                    Some(decision) => self.bind(decision, binder),
                    None => self.retry(pod, now),
                }
            }
            Consultation::Nowhere {
                refusals,
                evictions,
            } => {
                let victims = evictions.as_deref();
                let outcome = self.core.turn_away_asked(pod, &refusals, victims, now);
                let decided = outcome.as_ref().map(Decided::from);
                self.note_at(now, || Asked::Nowhere {
                    pod: pod.into(),
                    refusals,
                    evictions,
                    decided,
                });
                if let Some(outcome) = outcome {
                    self.carry_out(outcome, started.elapsed(), now);
                }
            }
            Consultation::Failed(why) => {
                tracing::warn!("pod {}/{}: {why}", pod.namespace, pod.name);
                let profile = self.core.profile_of_pod(pod);
                self.metrics.attempt(profile, "error", started.elapsed());
                let recorder = &self.recorders[profile];
                self.reports
                    .pending(recorder, pod, Reason::SchedulerError, &why, None, now);
                self.retry(pod, now);
            }
            Consultation::Gone => self.retry(pod, now),
        }
    }

    fn retry(&mut self, pod: &PodRef, now: Duration) {
        self.core.retry_asked(pod, now);
        self.note_at(now, || Asked::Retry(pod.into()));
    }

    /// Into the recording: what the core was asked without a time.
    fn note(&mut self, asked: impl FnOnce() -> Asked) {
        self.note_at(self.now(), asked);
    }

    fn note_at(&mut self, now: Duration, asked: impl FnOnce() -> Asked) {
        if let Some(record) = &mut self.record {
            record.asked(asked(), now);
        }
    }
}
