//! A profile as the naive scheduler reads it: which filters run, what scores weigh, the plugins' arguments.

use super::*;

#[derive(Clone, Debug)]
pub struct Rules {
    /// Plugins whose filter is off.
    pub off: BTreeSet<&'static str>,
    pub weights: BTreeMap<&'static str, i64>,
    pub hard_pod_affinity_weight: i64,
    pub ignore_preferred_terms_of_existing_pods: bool,
    /// Constraints for pods without any; `None`: the system's own.
    pub default_spread: Option<Vec<TopologySpreadConstraint>>,
    pub fit: Fit,
    pub fit_resources: Vec<(&'static str, i64)>,
    pub balanced_resources: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub enum Fit {
    Least,
    Most,
    Curve(Vec<(i64, i64)>),
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            off: BTreeSet::new(),
            weights: BTreeMap::from([
                ("TaintToleration", 3),
                ("NodeAffinity", 2),
                ("NodeResourcesFit", 1),
                ("PodTopologySpread", 2),
                ("InterPodAffinity", 2),
                ("NodeResourcesBalancedAllocation", 1),
                ("ImageLocality", 1),
            ]),
            hard_pod_affinity_weight: 1,
            ignore_preferred_terms_of_existing_pods: false,
            default_spread: None,
            fit: Fit::Least,
            fit_resources: vec![("cpu", 1), ("memory", 1)],
            balanced_resources: vec!["cpu", "memory"],
        }
    }
}

impl Rules {
    pub fn filters(&self, plugin: &str) -> bool {
        !self.off.contains(plugin)
    }

    pub fn weight(&self, plugin: &str) -> i64 {
        self.weights.get(plugin).copied().unwrap_or(0)
    }

    /// Everything that a profile can say, said differently from the defaults.
    pub fn unusual(which: u8) -> Self {
        let mut rules = Self::default();
        let constraint = |key: &str, action: &str| TopologySpreadConstraint {
            max_skew: 1 + i32::from(which % 2),
            topology_key: key.into(),
            when_unsatisfiable: action.into(),
            ..TopologySpreadConstraint::default()
        };
        match which % 3 {
            0 => {
                rules.fit = Fit::Most;
                rules.fit_resources = vec![("cpu", 3), ("example.com/gpu", 2)];
                rules.balanced_resources = vec!["cpu", "memory", "example.com/gpu"];
                rules.hard_pod_affinity_weight = 7;
                rules.weights.insert("ImageLocality", 0);
                rules.weights.insert("TaintToleration", 1);
                rules.off.insert("NodePorts");
            }
            1 => {
                rules.fit = Fit::Curve(vec![(0, 0), (40, 100), (100, 20)]);
                rules.fit_resources = vec![("memory", 2), ("cpu", 1)];
                rules.ignore_preferred_terms_of_existing_pods = true;
                rules.default_spread = Some(vec![
                    constraint("topology.kubernetes.io/zone", "DoNotSchedule"),
                    constraint("rack", "ScheduleAnyway"),
                ]);
                rules.weights.insert("NodeResourcesFit", 5);
            }
            _ => {
                rules.hard_pod_affinity_weight = 0;
                rules.default_spread = Some(Vec::new());
                rules.off.insert("TaintToleration");
                rules.weights.insert("PodTopologySpread", 0);
                rules.weights.insert("NodeAffinity", 9);
            }
        }
        rules
    }

    /// The same as a profile of the crate.
    pub fn to_profile(&self, scheduler_name: &str) -> Profile {
        let mut profile = Profile::new(scheduler_name);
        for plugin in &self.off {
            profile.set_filter(plugin, false);
        }
        profile.hard_pod_affinity_weight = self.hard_pod_affinity_weight;
        profile.ignore_preferred_terms_of_existing_pods =
            self.ignore_preferred_terms_of_existing_pods;
        if let Some(constraints) = &self.default_spread {
            profile.default_spread.clone_from(constraints);
            profile.system_default_spread = false;
        }
        let fit = NodeResourcesFit {
            strategy: match &self.fit {
                Fit::Least => Strategy::LeastAllocated,
                Fit::Most => Strategy::MostAllocated,
                Fit::Curve(points) => Strategy::RequestedToCapacityRatio(points.clone()),
            },
            resources: self
                .fit_resources
                .iter()
                .map(|(name, weight)| ((*name).into(), *weight))
                .collect(),
            ..NodeResourcesFit::default()
        };
        profile.register(Box::new(fit), 1);
        let resources = self
            .balanced_resources
            .iter()
            .map(|name| (*name).into())
            .collect();
        profile.register(Box::new(BalancedAllocation { resources }), 1);
        for (plugin, weight) in &self.weights {
            profile.set_weight(plugin, *weight);
        }
        profile
    }
}
