//! Where a pod waits, until when, and what wakes it, in words.

use std::time::Duration;

use serde::Serialize;

use crate::cluster::PodId;
use crate::core::Core;
use crate::plugins::{dynamic_resources, gang_scheduling, scheduling_gates};
use crate::queue::{Place, UNSCHEDULABLE_FLUSH};

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueState {
    /// active, backoff, unschedulable, gated or in flight.
    pub queue: &'static str,
    pub attempts: u32,
    /// Since it was first seen.
    pub waiting_seconds: f64,
    /// When it is tried again if nothing happens before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried_again_in_seconds: Option<f64>,
    /// The plugins that turned it away, and the events that let them be asked again.
    pub wakes: Vec<Wakes>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wakes {
    pub plugin: &'static str,
    pub when: &'static [&'static str],
}

impl Core {
    /// The plugins that keep a pod out of the queue.
    fn gates(&self, id: PodId) -> Vec<&'static str> {
        let held = [
            (scheduling_gates::NAME, self.cluster.pod(id).has_gates),
            (dynamic_resources::NAME, self.claims_hold(id).is_err()),
            (gang_scheduling::NAME, self.gang_holds(id).is_err()),
        ];
        let held = held.into_iter().filter(|(_, holds)| *holds);
        held.map(|(name, _)| name).collect()
    }
}

pub(super) fn state(core: &Core, key: &str, now: Duration) -> Option<QueueState> {
    let id = core.cluster.pod_id(key)?;
    let queued = core.queue.get(id)?;
    let profile = core.profile_for(id);
    let left = |until: Duration| Some(until.saturating_sub(now).as_secs_f64());
    let wakes = |plugins: &[&'static str]| {
        let words = |name: &&'static str| {
            let plugin = core.profiles[profile].plugin(name)?;
            Some(Wakes {
                plugin: name,
                when: plugin.waits_for(),
            })
        };
        plugins.iter().filter_map(words).collect::<Vec<_>>()
    };
    let (queue, tried_again_in_seconds, wakes) = match &queued.place {
        Place::Active => ("active", Some(0.0), Vec::new()),
        Place::Backoff { until, .. } => ("backoff", left(*until), Vec::new()),
        Place::Unschedulable { since, rejectors } => (
            "unschedulable",
            left(*since + UNSCHEDULABLE_FLUSH),
            wakes(rejectors),
        ),
        Place::Gated => ("gated", None, wakes(&core.gates(id))),
        Place::InFlight => ("in flight", None, Vec::new()),
    };
    Some(QueueState {
        queue,
        attempts: queued.attempts,
        waiting_seconds: now.saturating_sub(queued.first_seen).as_secs_f64(),
        tried_again_in_seconds,
        wakes,
    })
}
