//! The plugins: each decides one thing about a pod on a node. One file each; [`registry`] names them all in upstream's order.
//!
//! A plugin says how far its answers *reach*, and must not read further than that: the node object, the node with its pods, or
//! topology domains. That is what makes decisions incremental: a change asks only the plugins that could answer differently.

pub mod default_binder;
pub mod default_preemption;
pub mod dynamic_resources;
pub mod gang_scheduling;
#[cfg(test)]
mod hints;
pub mod image_locality;
pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_declared_features;
pub mod node_name;
pub mod node_ports;
pub mod node_resources_balanced_allocation;
pub mod node_resources_fit;
pub mod node_unschedulable;
pub mod node_volume_limits;
pub mod pod_topology_spread;
pub mod priority_sort;
pub mod scheduling_gates;
pub mod taint_toleration;
#[cfg(test)]
mod testing;
pub mod volume_binding;
pub mod volume_restrictions;
pub mod volume_zone;

use smallvec::SmallVec;

use crate::cluster::{Cluster, NodeId};
use crate::events::{Event, Waiting};
use crate::labels::Labels;
use crate::objects::Text;
use crate::plan::Plan;
use crate::points::{self, Points};
use crate::spec::Spec;

/// The best score a plugin gives.
pub const MAX_SCORE: i64 = 100;

/// What a plugin's filter and score read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The pod and the node object.
    Object,
    /// Also what runs on the node and the volumes that it reaches. Scores of this reach are not normalised: they are 0..=100 as they are.
    Node,
    /// The sums over topology domains in the pod's plan.
    Topology,
    /// The pod and the node object, as a filter that comes after those across nodes.
    Last,
}

/// What a plugin may look at.
pub struct Context<'a> {
    pub cluster: &'a Cluster,
    pub spec: &'a Spec,
    pub plan: &'a Plan,
}

impl Context<'_> {
    /// A node's labels.
    pub fn node_labels(&self, node: NodeId) -> &Labels {
        &self.cluster.nodes.entry(node).facts.labels
    }

    /// The pod's label of this key, one of those that the plugin says it reads ([`Plugin::reads_labels`]).
    pub fn pod_label(&self, key: &str) -> Option<&str> {
        let mut labels = self.plan.labels.iter();
        let (_, value) = labels.find(|(name, _)| name == key)?;
        Some(value)
    }
}

/// Where a node stands in the topology: for every feature of the plan the sum of its domain, `None` when it lacks the key.
pub struct Position<'a> {
    pub plan: &'a Plan,
    pub values: &'a [Option<i64>],
    pub extent: &'a Extent,
}

/// What topology rules need to know of all nodes together.
#[derive(Clone, Debug, Default)]
pub struct Extent {
    /// For every hard spread constraint: the least sum of its eligible domains, and how many there are.
    pub spread: SmallVec<[(i64, usize); 2]>,
    /// Some placed pod matches all of the pod's affinity terms.
    pub affinity_exists: bool,
    /// For every soft spread constraint: how many domains the feasible nodes make up. Known only once they are.
    pub sizes: SmallVec<[usize; 2]>,
}

/// Why a node does not do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rejection {
    pub plugin: &'static str,
    pub reasons: SmallVec<[Reason; 1]>,
    /// Evicting pods could help (upstream's Unschedulable rather than UnschedulableAndUnresolvable).
    pub resolvable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    Text(&'static str),
    Insufficient(Text),
    /// Said about one node alone.
    Described(Text),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
            Self::Described(text) => f.write_str(text),
        }
    }
}

impl Rejection {
    pub fn new(plugin: &'static str, reason: &'static str, resolvable: bool) -> Self {
        Self {
            plugin,
            reasons: SmallVec::from_buf([Reason::Text(reason)]),
            resolvable,
        }
    }
}

/// The least and greatest raw score among the feasible nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub least: i64,
    pub greatest: i64,
}

impl Range {
    pub const EMPTY: Self = Self {
        least: i64::MAX,
        greatest: i64::MIN,
    };

    pub fn include(&mut self, raw: i64) {
        self.least = self.least.min(raw);
        self.greatest = self.greatest.max(raw);
    }
}

/// One decision criterion. All methods are pure.
pub trait Plugin: Send + Sync {
    /// Upstream's name, as in configuration files, metrics and messages.
    fn name(&self) -> &'static str;

    /// The extension points at which configuration files may enable it.
    fn points(&self) -> Points {
        points::upstream(self.name()).unwrap_or(points::CUSTOM)
    }

    /// Keys of the pod's labels that filter and score read. Pods that differ in them are decided apart.
    fn reads_labels(&self) -> &[Text] {
        &[]
    }

    fn reach(&self) -> Reach {
        Reach::Object
    }

    /// How far scores reach, when that is another thing than for the filter.
    fn score_reach(&self) -> Reach {
        self.reach()
    }

    /// May the pod run on this node? For reach Object, Node and Last.
    fn filter(&self, _context: &Context<'_>, _node: NodeId) -> Result<(), Rejection> {
        Ok(())
    }

    /// May the pod run at this position? For reach Topology.
    fn filter_at(&self, _position: &Position<'_>) -> Result<(), Rejection> {
        Ok(())
    }

    /// For reach Object and Node.
    fn score(&self, _context: &Context<'_>, _node: NodeId) -> i64 {
        0
    }

    /// For reach Topology; `None` leaves the node out of normalisation and gives it 0.
    fn score_at(&self, _position: &Position<'_>) -> Option<i64> {
        None
    }

    /// A raw score as 0..=100, given the range over the feasible nodes. Not asked for reach Node.
    fn normalize(&self, raw: i64, _range: Range) -> i64 {
        raw
    }

    /// Could this event let a pod in that this plugin turned away? (Upstream's queueing hint.)
    fn wakes(&self, _waiting: &Waiting<'_>, _event: &Event<'_>) -> bool {
        false
    }

    /// The same in words, for people who ask what a pod waits for: each ends "wakes the pod when ...".
    fn waits_for(&self) -> &'static [&'static str] {
        &[]
    }
}

/// A plugin with its default weight; 0 when it does not score.
pub type Registered = (fn() -> Box<dyn Plugin>, i64);

/// Every plugin that is on by default, in upstream's order.
pub fn registry() -> Vec<Registered> {
    vec![
        (|| Box::new(scheduling_gates::SchedulingGates), 0),
        (|| Box::new(priority_sort::PrioritySort), 0),
        (|| Box::new(node_unschedulable::NodeUnschedulable), 0),
        (|| Box::new(node_name::NodeName), 0),
        (|| Box::new(taint_toleration::TaintToleration), 3),
        (|| Box::new(node_affinity::NodeAffinity::default()), 2),
        (|| Box::new(node_ports::NodePorts), 0),
        (
            || Box::new(node_resources_fit::NodeResourcesFit::default()),
            1,
        ),
        (|| Box::new(volume_restrictions::VolumeRestrictions), 0),
        (|| Box::new(node_volume_limits::NodeVolumeLimits), 0),
        (|| Box::new(volume_binding::VolumeBinding), 0),
        (|| Box::new(volume_zone::VolumeZone), 0),
        (|| Box::new(pod_topology_spread::PodTopologySpread), 2),
        (|| Box::new(inter_pod_affinity::InterPodAffinity), 2),
        (|| Box::new(dynamic_resources::DynamicResources), 2),
        (|| Box::new(default_preemption::DefaultPreemption), 0),
        (
            || Box::new(node_resources_balanced_allocation::BalancedAllocation::default()),
            1,
        ),
        (|| Box::new(image_locality::ImageLocality), 1),
        (|| Box::new(default_binder::DefaultBinder), 0),
        (|| Box::new(node_declared_features::NodeDeclaredFeatures), 0),
    ]
}

/// Upstream's DefaultNormalizeScore: the greatest becomes 100; reversed, the least does.
pub fn default_normalize(raw: i64, range: Range, reverse: bool) -> i64 {
    let greatest = range.greatest.max(0);
    let score = match greatest {
        0 => raw.max(0),
        _ => MAX_SCORE * raw / greatest,
    };
    match (reverse, greatest) {
        (true, 0) => MAX_SCORE,
        (true, _) => MAX_SCORE - score,
        (false, _) => score,
    }
}
