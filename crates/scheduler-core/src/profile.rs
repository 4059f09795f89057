//! A profile: which plugins run for one schedulerName, in which order, with which weights and arguments.

use std::time::Duration;

use crate::objects::{Text, TopologySpreadConstraint};
use crate::plan::HOSTNAME;
use crate::plugins::{self, Plugin, Reach};
use crate::points::{Point, Points};

pub const DEFAULT_SCHEDULER_NAME: &str = "default-scheduler";

pub struct Profile {
    pub scheduler_name: Text,
    plugins: Vec<Entry>,
    /// PodTopologySpreadArgs: constraints for pods that have none.
    pub default_spread: Vec<TopologySpreadConstraint>,
    /// They are the system's own (defaultingType System).
    pub system_default_spread: bool,
    /// InterPodAffinityArgs.hardPodAffinityWeight.
    pub hard_pod_affinity_weight: i64,
    pub ignore_preferred_terms_of_existing_pods: bool,
    /// VolumeBindingArgs.bindTimeoutSeconds.
    pub volume_bind_timeout: Duration,
    /// DefaultPreemptionArgs: at least so many candidate nodes are weighed.
    pub min_candidates: MinCandidates,
    /// Look at a part of the nodes as upstream does, in percent (0: upstream's formula); `None`: at all, which costs nothing here.
    pub sampling: Option<u32>,
}

/// Upstream weighs as many candidate nodes as the greater of the two says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinCandidates {
    pub percentage: usize,
    pub absolute: usize,
}

impl Default for MinCandidates {
    fn default() -> Self {
        Self {
            percentage: 10,
            absolute: 100,
        }
    }
}

impl MinCandidates {
    /// Of so many nodes on which preemption could help.
    pub fn of(&self, nodes: usize) -> usize {
        (nodes * self.percentage / 100).max(self.absolute)
    }
}

struct Entry {
    plugin: Box<dyn Plugin>,
    filters: bool,
    weight: i64,
    /// Where it is enabled.
    points: Points,
}

impl Entry {
    /// Enabled at all points that it extends.
    fn new(plugin: Box<dyn Plugin>, weight: i64) -> Self {
        Self {
            points: plugin.points(),
            plugin,
            filters: true,
            weight,
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::new(DEFAULT_SCHEDULER_NAME)
    }
}

impl Profile {
    /// Upstream's defaults.
    pub fn new(scheduler_name: &str) -> Self {
        let entry = |(make, weight): plugins::Registered| Entry::new(make(), weight);
        Self {
            scheduler_name: scheduler_name.into(),
            plugins: plugins::registry().into_iter().map(entry).collect(),
            default_spread: system_defaults(),
            system_default_spread: true,
            hard_pod_affinity_weight: 1,
            ignore_preferred_terms_of_existing_pods: false,
            min_candidates: MinCandidates::default(),
            sampling: None,
            volume_bind_timeout: Duration::from_secs(600),
        }
    }

    /// Adds a plugin of one's own behind the others, or replaces the one of that name.
    pub fn register(&mut self, plugin: Box<dyn Plugin>, weight: i64) {
        let entry = Entry::new(plugin, weight);
        match self.position(entry.plugin.name()) {
            Some(at) => self.plugins[at] = entry,
            None => self.plugins.push(entry),
        }
    }

    /// Puts the plugin in the place of the one of its name, enabled and weighed as that one is. False when there is none.
    pub fn replace(&mut self, plugin: Box<dyn Plugin>) -> bool {
        let at = self.position(plugin.name());
        if let Some(at) = at {
            self.plugins[at].plugin = plugin;
        }
        at.is_some()
    }

    /// Enables the plugin at exactly these points. A plugin that filters does so when enabled at Filter; one that acts when no node
    /// does, when enabled at PostFilter; others when enabled anywhere. False when there is no such plugin.
    pub fn enable_at(&mut self, name: &str, points: Points, weight: i64) -> bool {
        let Some(at) = self.position(name) else {
            return false;
        };
        let entry = &mut self.plugins[at];
        let extends = entry.plugin.points();
        entry.points = points;
        entry.filters = if extends.contains(Point::Filter) {
            points.contains(Point::Filter)
        } else if extends.contains(Point::PostFilter) {
            points.contains(Point::PostFilter)
        } else {
            !points.is_empty()
        };
        entry.weight = match points.contains(Point::Score) {
            true => weight,
            false => 0,
        };
        true
    }

    pub fn is_enabled_at(&self, name: &str, point: Point) -> bool {
        self.position(name)
            .is_some_and(|at| self.plugins[at].points.contains(point))
    }

    /// Filters are asked in this order; those that are not named come last, as they were.
    pub fn reorder(&mut self, names: &[String]) {
        self.plugins.sort_by_key(|entry| {
            let at = names.iter().position(|name| name == entry.plugin.name());
            at.unwrap_or(usize::MAX)
        });
    }

    /// The gate GangScheduling: the plugin comes last, as upstream adds it.
    pub fn enable_gang_scheduling(&mut self) {
        self.register(Box::new(plugins::gang_scheduling::GangScheduling), 0);
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.plugins
            .iter()
            .position(|entry| entry.plugin.name() == name)
    }

    pub fn is_enabled(&self, name: &str) -> bool {
        self.position(name)
            .is_some_and(|at| self.plugins[at].filters || self.plugins[at].weight != 0)
    }

    pub fn filters(&self, name: &str) -> bool {
        self.position(name)
            .is_some_and(|at| self.plugins[at].filters)
    }

    /// False when there is no such plugin.
    pub fn set_filter(&mut self, name: &str, enabled: bool) -> bool {
        let at = self.position(name);
        if let Some(at) = at {
            self.plugins[at].filters = enabled;
        }
        at.is_some()
    }

    /// Weight 0 takes the plugin out of scoring. False when there is no such plugin.
    pub fn set_weight(&mut self, name: &str, weight: i64) -> bool {
        let at = self.position(name);
        if let Some(at) = at {
            self.plugins[at].weight = weight;
        }
        at.is_some()
    }

    pub fn weight(&self, name: &str) -> i64 {
        self.position(name).map_or(0, |at| self.plugins[at].weight)
    }

    pub fn plugins(&self) -> impl Iterator<Item = &dyn Plugin> {
        self.plugins.iter().map(|entry| &*entry.plugin)
    }

    pub fn plugin(&self, name: &str) -> Option<&dyn Plugin> {
        self.plugins().find(|plugin| plugin.name() == name)
    }

    /// Filters of this reach, in order.
    pub fn filters_of(&self, reach: Reach) -> impl Iterator<Item = &dyn Plugin> {
        self.plugins
            .iter()
            .filter(move |entry| entry.filters && entry.plugin.reach() == reach)
            .map(|entry| &*entry.plugin)
    }

    /// Scoring plugins of this reach with their weights, in order.
    pub fn scores_of(&self, reach: Reach) -> impl Iterator<Item = (&dyn Plugin, i64)> {
        self.plugins
            .iter()
            .filter(move |entry| entry.weight != 0 && entry.plugin.score_reach() == reach)
            .map(|entry| (&*entry.plugin, entry.weight))
    }
}

/// Upstream's system defaults: spread over hosts, and over zones, without insisting.
pub fn system_defaults() -> Vec<TopologySpreadConstraint> {
    [(HOSTNAME, 3), ("topology.kubernetes.io/zone", 5)]
        .into_iter()
        .map(|(key, max_skew)| TopologySpreadConstraint {
            max_skew,
            topology_key: key.into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            ..TopologySpreadConstraint::default()
        })
        .collect()
}
