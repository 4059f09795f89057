//! Metrics under upstream's names, with its labels and buckets.
//!
//! The core decides in one step what upstream does at several extension points, and remembers what filters and scores said, so two
//! metrics mean what they can: framework_extension_point_duration_seconds has the whole decision as Filter, and
//! plugin_evaluation_total counts an attempt for every plugin that had a say in it, asked anew or remembered.

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fluyt_scheduler_core::core::Core;
use fluyt_scheduler_core::points::Point;
use fluyt_scheduler_core::profile::Profile;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

macro_rules! labels {
    ($($name:ident { $($field:ident: $kind:ty),* })*) => {
        $(#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
        pub struct $name {
            $(pub $field: $kind,)*
        })*
    };
}

labels! {
    Attempt { profile: String, result: &'static str }
    QueueName { queue: &'static str }
    Incoming { event: &'static str, queue: &'static str }
    Rejected { plugin: &'static str, profile: String }
    Evaluation { extension_point: &'static str, plugin: &'static str, profile: String }
    PointDuration { extension_point: &'static str, profile: String, status: &'static str }
    Attempts { attempts: String }
    Operation { operation: &'static str }
    CacheType { r#type: &'static str }
    ResultLabel { result: &'static str }
    LeaseName { name: String }
}

type GaugeOf<L> = Family<L, Gauge<i64, AtomicI64>>;
type HistogramOf<L> = Family<L, Histogram, fn() -> Histogram>;

pub struct Metrics {
    registry: Registry,
    profiles: Vec<Evaluated>,
    attempts: Family<Attempt, Counter>,
    attempt_duration: HistogramOf<Attempt>,
    algorithm_duration: Histogram,
    point_duration: HistogramOf<PointDuration>,
    evaluations: Family<Evaluation, Counter>,
    sli_duration: HistogramOf<Attempts>,
    attempts_per_pod: Histogram,
    pending: GaugeOf<QueueName>,
    incoming: Family<Incoming, Counter>,
    /// What was counted up to now.
    incoming_seen: Mutex<HashMap<(&'static str, &'static str), u64>>,
    unschedulable: GaugeOf<Rejected>,
    pub preemption_attempts: Counter,
    pub preemption_victims: Histogram,
    permit_wait: HistogramOf<ResultLabel>,
    goroutines: GaugeOf<Operation>,
    cache_size: GaugeOf<CacheType>,
    leader: GaugeOf<LeaseName>,
}

/// A profile and which plugins have a say in its attempts.
struct Evaluated {
    name: String,
    filters: Vec<(&'static str, &'static str)>,
    scores: Vec<(&'static str, &'static str)>,
}

impl Evaluated {
    fn of(profile: &Profile) -> Self {
        let at = |points: [Point; 2]| {
            let mut pairs = Vec::new();
            for plugin in profile.plugins() {
                for point in points {
                    if profile.is_enabled_at(plugin.name(), point) {
                        pairs.push((plugin.name(), point.name()));
                    }
                }
            }
            pairs
        };
        Self {
            name: profile.scheduler_name.to_string(),
            filters: at([Point::PreFilter, Point::Filter]),
            scores: at([Point::PreScore, Point::Score]),
        }
    }
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

fn point_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 12))
}

fn sli_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 20))
}

impl Metrics {
    pub fn new(profiles: &[Profile]) -> Self {
        let metrics = Self {
            registry: Registry::default(),
            profiles: profiles.iter().map(Evaluated::of).collect(),
            attempts: Family::default(),
            attempt_duration: Family::new_with_constructor(seconds),
            algorithm_duration: seconds(),
            point_duration: Family::new_with_constructor(point_seconds),
            evaluations: Family::default(),
            sli_duration: Family::new_with_constructor(sli_seconds),
            attempts_per_pod: Histogram::new(exponential_buckets(1.0, 2.0, 5)),
            pending: Family::default(),
            incoming: Family::default(),
            incoming_seen: Mutex::default(),
            unschedulable: Family::default(),
            preemption_attempts: Counter::default(),
            preemption_victims: Histogram::new(exponential_buckets(1.0, 2.0, 7)),
            permit_wait: Family::new_with_constructor(seconds),
            goroutines: Family::default(),
            cache_size: Family::default(),
            leader: Family::default(),
        };
        metrics.register()
    }

    fn register(mut self) -> Self {
        let mut registry = std::mem::take(&mut self.registry);
        let own = registry.sub_registry_with_prefix("scheduler");
        // The encoder adds _total to counters.
        own.register(
            "schedule_attempts",
            "Attempts by result",
            self.attempts.clone(),
        );
        own.register(
            "scheduling_attempt_duration_seconds",
            "From the decision to the binding's answer",
            self.attempt_duration.clone(),
        );
        own.register(
            "scheduling_algorithm_duration_seconds",
            "Decisions",
            self.algorithm_duration.clone(),
        );
        own.register(
            "framework_extension_point_duration_seconds",
            "Decisions (Filter), searches for victims (PostFilter) and bindings (Bind)",
            self.point_duration.clone(),
        );
        own.register(
            "plugin_evaluation",
            "Attempts that a plugin had a say in",
            self.evaluations.clone(),
        );
        own.register(
            "pod_scheduling_sli_duration_seconds",
            "From the pod first seen to its binding",
            self.sli_duration.clone(),
        );
        own.register(
            "pod_scheduling_attempts",
            "Attempts that a bound pod took",
            self.attempts_per_pod.clone(),
        );
        own.register("pending_pods", "Pods by queue", self.pending.clone());
        own.register(
            "queue_incoming_pods",
            "Pods that came to a queue, by event",
            self.incoming.clone(),
        );
        own.register(
            "unschedulable_pods",
            "Pods that wait, by the plugins that turned them away",
            self.unschedulable.clone(),
        );
        own.register(
            "preemption_attempts",
            "Times that preemption was tried",
            self.preemption_attempts.clone(),
        );
        own.register(
            "preemption_victims",
            "Victims",
            self.preemption_victims.clone(),
        );
        own.register(
            "permit_wait_duration_seconds",
            "Waiting on permit",
            self.permit_wait.clone(),
        );
        own.register(
            "goroutines",
            "Tasks by what they do",
            self.goroutines.clone(),
        );
        own.register(
            "cache_size",
            "Nodes and pods that are known",
            self.cache_size.clone(),
        );
        registry.register(
            "leader_election_master_status",
            "1: this process holds the lease",
            self.leader.clone(),
        );
        self.registry = registry;
        self
    }

    fn name(&self, profile: usize) -> String {
        let profile = self.profiles.get(profile);
        profile.map(|one| one.name.clone()).unwrap_or_default()
    }

    /// A decision of the core: how long it took, and whether it found a node.
    pub fn decided(&self, profile: usize, took: Duration, found: bool) {
        self.algorithm_duration.observe(took.as_secs_f64());
        let status = match found {
            true => "Success",
            false => "Unschedulable",
        };
        self.point(profile, Point::Filter, status, took);
    }

    pub fn point(&self, profile: usize, point: Point, status: &'static str, took: Duration) {
        let label = PointDuration {
            extension_point: point.name(),
            profile: self.name(profile),
            status,
        };
        let family = self.point_duration.get_or_create(&label);
        family.observe(took.as_secs_f64());
    }

    pub fn attempt(&self, profile: usize, result: &'static str, took: Duration) {
        let label = Attempt {
            profile: self.name(profile),
            result,
        };
        let family = self.attempt_duration.get_or_create(&label);
        family.observe(took.as_secs_f64());
        self.attempts.get_or_create(&label).inc();
    }

    /// A pod was bound after so many attempts, so long after it was first seen.
    pub fn bound(&self, attempts: u32, since_seen: Duration) {
        // Upstream has 16 and more in one.
        let label = Attempts {
            attempts: match attempts {
                0..16 => attempts.to_string(),
                _ => "16+".to_owned(),
            },
        };
        let family = self.sli_duration.get_or_create(&label);
        family.observe(since_seen.as_secs_f64());
        self.attempts_per_pod.observe(f64::from(attempts));
    }

    /// What the core knows: queues, waiting pods, sizes.
    pub fn refresh(&self, core: &Core, in_flight: usize) {
        let lengths = core.lengths();
        for (queue, length) in [
            ("active", lengths.active),
            ("backoff", lengths.backoff),
            ("unschedulable", lengths.unschedulable),
            ("gated", lengths.gated),
        ] {
            set(&self.pending, &QueueName { queue }, length);
        }
        let mut seen = self
            .incoming_seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (queue, event, count) in core.queue().incoming() {
            let before = seen.insert((queue, event), count).unwrap_or(0);
            let counter = self.incoming.get_or_create(&Incoming { event, queue });
            counter.inc_by(count - before);
        }
        self.unschedulable.clear();
        for ((profile, plugin), pods) in core.unschedulable_by_plugin() {
            let profile = self.name(profile);
            set(&self.unschedulable, &Rejected { plugin, profile }, pods);
        }
        set(
            &self.goroutines,
            &Operation {
                operation: "binding",
            },
            in_flight,
        );
        set(
            &self.cache_size,
            &CacheType { r#type: "nodes" },
            core.cluster().node_count(),
        );
    }

    pub fn leads(&self, lease: &str, leads: bool) {
        let name = lease.to_owned();
        set(&self.leader, &LeaseName { name }, usize::from(leads));
    }

    /// Every attempt is one for each plugin of its profile that filters; those that found a node, for each that scores.
    fn count_evaluations(&self) {
        self.evaluations.clear();
        for profile in &self.profiles {
            let attempts = |result| {
                let label = Attempt {
                    profile: profile.name.clone(),
                    result,
                };
                self.attempts.get(&label).map_or(0, |counter| counter.get())
            };
            let found = attempts("scheduled") + attempts("error");
            let all = found + attempts("unschedulable");
            for (pairs, count) in [(&profile.filters, all), (&profile.scores, found)] {
                for &(plugin, extension_point) in pairs.iter().filter(|_| count > 0) {
                    let label = Evaluation {
                        extension_point,
                        plugin,
                        profile: profile.name.clone(),
                    };
                    self.evaluations.get_or_create(&label).inc_by(count);
                }
            }
        }
    }

    pub fn text(&self) -> String {
        self.count_evaluations();
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn set<L>(family: &GaugeOf<L>, label: &L, value: usize)
where
    L: Clone + std::hash::Hash + Eq,
{
    let gauge = family.get_or_create(label);
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use fluyt_scheduler_core::queue::Backoff;
    use serde_json::json;

    #[test]
    fn names_and_labels_are_upstreams() {
        let profile = || vec![Profile::new("own-scheduler")];
        let (mut core, metrics) = (
            Core::new(profile(), Backoff::default()),
            Metrics::new(&profile()),
        );
        let now = Duration::ZERO;
        let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "1", "pods": "9"}}});
        core.apply_node(&serde_json::from_value(node).unwrap(), now);
        for (name, cpu) in [("small", "100m"), ("big", "9")] {
            let pod = json!({"metadata": {"name": name, "namespace": "d", "uid": name}, "spec": {
                "schedulerName": "own-scheduler", "containers": [{"resources": {"requests": {"cpu": cpu}}}]}});
            core.apply_pod(&serde_json::from_value(pod).unwrap(), now);
        }
        while core.schedule_one(now).is_some() {}
        metrics.attempt(0, "scheduled", now);
        metrics.attempt(0, "unschedulable", now);
        metrics.bound(1, now);
        metrics.decided(0, now, true);
        metrics.refresh(&core, 1);
        metrics.refresh(&core, 1);
        let text = metrics.text();
        for line in [
            "scheduler_schedule_attempts_total{profile=\"own-scheduler\",result=\"scheduled\"} 1",
            "scheduler_unschedulable_pods{plugin=\"NodeResourcesFit\",profile=\"own-scheduler\"} 1",
            "scheduler_pending_pods{queue=\"unschedulable\"} 1",
            "scheduler_queue_incoming_pods_total{event=\"UnschedulablePodAdd\",queue=\"active\"} 2",
            "scheduler_queue_incoming_pods_total{event=\"ScheduleAttemptFailure\",queue=\"unschedulable\"} 1",
            "scheduler_plugin_evaluation_total{extension_point=\"Filter\",plugin=\"NodePorts\",profile=\"own-scheduler\"} 2",
            "scheduler_plugin_evaluation_total{extension_point=\"Score\",plugin=\"ImageLocality\",profile=\"own-scheduler\"} 1",
            "scheduler_framework_extension_point_duration_seconds_count{extension_point=\"Filter\",profile=\"own-scheduler\",status=\"Success\"} 1",
            "scheduler_pod_scheduling_sli_duration_seconds_count{attempts=\"1\"} 1",
            "scheduler_goroutines{operation=\"binding\"} 1",
            "scheduler_preemption_attempts_total 0",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        }
    }
}
