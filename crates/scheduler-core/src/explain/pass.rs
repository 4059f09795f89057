//! One look at every node for one pod, as it is or changed: every filter asked, none left out after the first that fails, and the
//! scores of those that pass. It asks the same plugins as decisions do, through the same traits; only the order differs.
//!
//! A pass is worked off in slices, so that a large cluster does not stop decisions. Invariant: the plan's predicates and the spec are
//! held from [`Pass::new`] to [`Pass::close`]; no id of anything else is kept between slices.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::scores::{NodeScore, PluginScore, Scores};
use crate::classes::FeatureState;
use crate::cluster::devices::Demand;
use crate::cluster::{Cluster, NO_DOMAIN, NodeId, SpecId};
use crate::core::Core;
use crate::plan::{self, FeatureKind, Plan};
use crate::plugins::{
    Context, Extent, Plugin, Position, Range, Reach, Rejection, pod_topology_spread,
};
use crate::profile::Profile;
use crate::spec::{Identity, Spec};

/// The filters that turn a node away, all of them, in the profile's order.
pub(super) type Failing = SmallVec<[Rejection; 1]>;
pub(super) type Values = SmallVec<[Option<i64>; 6]>;

/// Rows worked off before the caller is asked again.
#[derive(Debug)]
pub(super) struct Budget(pub usize);

pub(super) struct Pass {
    pub spec: Arc<Spec>,
    /// As filters read it: claims are in the plan.
    class_spec: Arc<Spec>,
    pub identity: Arc<Identity>,
    pub profile: usize,
    pub plan: Plan,
    spec_id: SpecId,
    /// Topology keys before the plan was made, after it, and how many classes had been made.
    keys: (usize, usize, u64),
    features: Vec<FeatureState>,
    terms_version: u64,
    /// Only these nodes are asked about (topology is summed over all).
    only: Option<Vec<NodeId>>,
    stage: Stage,
    cursor: usize,
    ids: HashMap<Failing, usize>,
    pub groups: Vec<(Failing, Vec<NodeId>)>,
    pub feasible: Vec<NodeId>,
    /// The node whose scores are wanted whatever they are, besides the two best.
    watched: Option<NodeId>,
    extent: Extent,
    ranges: Ranges,
    best: Option<(i64, NodeId)>,
    second: Option<(i64, NodeId)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Features,
    Filters,
    Ranges,
    Totals,
    Done,
}

#[derive(Default)]
struct Ranges {
    object: Vec<Range>,
    topology: Vec<Range>,
}

impl Pass {
    /// `demand`: what the pod's claims come down to.
    pub fn new(
        core: &mut Core,
        spec: Spec,
        identity: Arc<Identity>,
        profile: usize,
        demand: Option<Arc<Demand>>,
    ) -> Self {
        let cluster = &mut core.cluster;
        let before = cluster.key_count();
        let (spec_id, _) = cluster.specs.acquire(spec);
        let class_spec = cluster.acquire_class_spec(spec_id);
        let mut plan = plan::build(
            cluster,
            &core.profiles,
            profile,
            spec_id,
            class_spec,
            &identity,
        );
        plan.demand = demand;
        let extent_size = plan.hard.len();
        Self {
            spec: cluster.spec(spec_id).clone(),
            class_spec: cluster.spec(class_spec).clone(),
            identity,
            profile,
            features: plan
                .features
                .iter()
                .map(|_| FeatureState::default())
                .collect(),
            plan,
            spec_id,
            keys: (before, cluster.key_count(), core.classes.made()),
            terms_version: cluster.tallies.terms_version(),
            only: None,
            stage: Stage::Features,
            cursor: 0,
            ids: HashMap::new(),
            groups: Vec::new(),
            feasible: Vec::new(),
            watched: None,
            extent: Extent {
                spread: SmallVec::with_capacity(extent_size),
                ..Extent::default()
            },
            ranges: Ranges::default(),
            best: None,
            second: None,
        }
    }

    /// Asks only about these nodes, and only the filters.
    pub fn only(mut self, nodes: Vec<NodeId>) -> Self {
        self.only = Some(nodes);
        self
    }

    pub fn watch(mut self, node: Option<NodeId>) -> Self {
        self.watched = node;
        self
    }

    /// Gives back what the pass held.
    pub fn close(self, core: &mut Core) {
        let cluster = &mut core.cluster;
        let predicates: Vec<_> = self.plan.predicates().collect();
        for id in predicates.into_iter().rev() {
            cluster.release_predicate(id);
        }
        cluster.specs.release(self.plan.spec);
        cluster.specs.release(self.spec_id);
        // Keys that only this pass asked for: no class or term that was made since can use them.
        let (before, after, made) = self.keys;
        let alone = made == core.classes.made()
            && self.terms_version == core.cluster.tallies.terms_version();
        if alone && after > before && core.cluster.key_count() == after {
            core.cluster.forget_keys(before);
        }
    }

    /// Rules of placed pods came or went since the plan was made: it may name what is no longer there.
    pub fn is_stale(&self, core: &Core) -> bool {
        self.stage != Stage::Done && self.terms_version != core.cluster.tallies.terms_version()
    }

    /// Works on; true when it is complete.
    pub fn step(&mut self, core: &Core, budget: &mut Budget) -> bool {
        let profile = &core.profiles[self.profile];
        while budget.0 > 0 && self.stage != Stage::Done {
            let finished = match self.stage {
                Stage::Features => self.features(&core.cluster, budget),
                Stage::Filters => self.filters(&core.cluster, profile, budget),
                Stage::Ranges => self.find_ranges(&core.cluster, profile, budget),
                Stage::Totals => self.find_totals(&core.cluster, profile, budget),
                Stage::Done => false,
            };
            if finished {
                self.advance(profile);
            }
        }
        self.stage == Stage::Done
    }

    fn advance(&mut self, profile: &Profile) {
        self.cursor = 0;
        self.stage = match self.stage {
            Stage::Features => {
                let plan = &self.plan;
                self.extent.spread = plan
                    .hard
                    .iter()
                    .map(|hard| self.features[hard.feature].least())
                    .collect();
                self.extent.affinity_exists = plan
                    .affinity
                    .iter()
                    .any(|feature| self.features[*feature].total > 0);
                Stage::Filters
            }
            Stage::Filters if self.only.is_some() => Stage::Done,
            Stage::Filters => {
                let empty = |reach| profile.scores_of(reach).map(|_| Range::EMPTY).collect();
                self.ranges = Ranges {
                    object: empty(Reach::Object),
                    topology: empty(Reach::Topology),
                };
                Stage::Ranges
            }
            Stage::Ranges => Stage::Totals,
            Stage::Totals | Stage::Done => Stage::Done,
        };
    }

    /// The next rows of a stage that goes over all rows.
    fn rows(&mut self, rows: usize, budget: &mut Budget) -> (std::ops::Range<usize>, bool) {
        let end = rows.min(self.cursor.saturating_add(budget.0));
        let range = self.cursor.min(end)..end;
        budget.0 -= range.len().max(1).min(budget.0);
        self.cursor = end;
        (range, end == rows)
    }

    fn features(&mut self, cluster: &Cluster, budget: &mut Budget) -> bool {
        if self.features.is_empty() {
            return true;
        }
        let (rows, last) = self.rows(cluster.nodes.rows(), budget);
        let mut changed = Vec::new();
        for row in rows {
            for (state, feature) in self.features.iter_mut().zip(&self.plan.features) {
                state.refresh(
                    cluster,
                    &self.class_spec,
                    feature,
                    row as NodeId,
                    true,
                    &mut changed,
                );
                changed.clear();
            }
        }
        last
    }

    fn filters(&mut self, cluster: &Cluster, profile: &Profile, budget: &mut Budget) -> bool {
        let only = self.only.take();
        let rows = only.as_ref().map_or(cluster.nodes.rows(), Vec::len);
        let (range, last) = self.rows(rows, budget);
        for at in range {
            let node = only.as_ref().map_or(at as NodeId, |nodes| nodes[at]);
            if (node as usize) < cluster.nodes.rows() && cluster.nodes.is_present(node) {
                let failing = self.failing(cluster, profile, node);
                self.file(node, failing);
            }
        }
        self.only = only;
        last
    }

    fn file(&mut self, node: NodeId, failing: Failing) {
        if failing.is_empty() {
            return self.feasible.push(node);
        }
        let id = *self.ids.entry(failing).or_insert_with_key(|failing| {
            self.groups.push((failing.clone(), Vec::new()));
            self.groups.len() - 1
        });
        self.groups[id].1.push(node);
    }

    /// Every filter that turns the node away.
    pub fn failing(&self, cluster: &Cluster, profile: &Profile, node: NodeId) -> Failing {
        let context = self.context(cluster);
        let mut failing = Failing::new();
        for reach in [Reach::Object, Reach::Node] {
            let filters = profile.filters_of(reach);
            failing.extend(filters.filter_map(|plugin| plugin.filter(&context, node).err()));
        }
        if !self.plan.features.is_empty() {
            let values = self.values(cluster, node);
            let position = self.position(&values);
            let filters = profile.filters_of(Reach::Topology);
            failing.extend(filters.filter_map(|plugin| plugin.filter_at(&position).err()));
        }
        let last = profile.filters_of(Reach::Last);
        failing.extend(last.filter_map(|plugin| plugin.filter(&context, node).err()));
        failing
    }

    pub fn context<'a>(&'a self, cluster: &'a Cluster) -> Context<'a> {
        Context {
            cluster,
            spec: &self.class_spec,
            plan: &self.plan,
        }
    }

    fn position<'a>(&'a self, values: &'a Values) -> Position<'a> {
        Position {
            plan: &self.plan,
            values,
            extent: &self.extent,
        }
    }

    /// The value of every feature at a node.
    pub fn values(&self, cluster: &Cluster, node: NodeId) -> Values {
        let value = |(feature, state): (&plan::Feature, &FeatureState)| match (
            cluster.key(feature.key).domain(node),
            feature.kind,
        ) {
            (NO_DOMAIN, _) => None,
            (_, FeatureKind::PerNode) => Some(state.own(node)),
            (domain, _) => Some(state.sum(domain)),
        };
        self.plan
            .features
            .iter()
            .zip(&self.features)
            .map(value)
            .collect()
    }

    /// For the hard constraint with this index: the least number of matching pods in a domain, as the filter counts it.
    pub fn least(&self, constraint: usize) -> i64 {
        let (least, domains) = self.extent.spread[constraint];
        match domains < self.plan.hard[constraint].min_domains {
            true => 0,
            false => least,
        }
    }

    // ----- scores -----

    fn find_ranges(&mut self, cluster: &Cluster, profile: &Profile, budget: &mut Budget) -> bool {
        if self.cursor == 0 {
            self.extent.sizes = self.soft_sizes(cluster);
        }
        let (rows, last) = self.rows(self.feasible.len(), budget);
        let mut ranges = std::mem::take(&mut self.ranges);
        for at in rows {
            let node = self.feasible[at];
            let context = self.context(cluster);
            for (range, (plugin, _)) in ranges
                .object
                .iter_mut()
                .zip(profile.scores_of(Reach::Object))
            {
                range.include(plugin.score(&context, node));
            }
            if self.plan.features.is_empty() {
                continue;
            }
            let values = self.values(cluster, node);
            let position = self.position(&values);
            for (range, (plugin, _)) in ranges
                .topology
                .iter_mut()
                .zip(profile.scores_of(Reach::Topology))
            {
                if let Some(raw) = plugin.score_at(&position) {
                    range.include(raw);
                }
            }
        }
        self.ranges = ranges;
        last
    }

    fn find_totals(&mut self, cluster: &Cluster, profile: &Profile, budget: &mut Budget) -> bool {
        let (rows, last) = self.rows(self.feasible.len(), budget);
        for at in rows {
            let node = self.feasible[at];
            let mut total = 0;
            self.each_score(cluster, profile, node, |_, weight, _, score| {
                total += weight * score
            });
            let ahead = |other: Option<(i64, NodeId)>| {
                other.is_none_or(|(score, at)| total > score || (total == score && node < at))
            };
            if ahead(self.best) {
                self.second = self.best.replace((total, node));
            } else if ahead(self.second) {
                self.second = Some((total, node));
            }
        }
        last
    }

    /// Calls with plugin, weight, raw score and normalised score, by reach.
    fn each_score(
        &self,
        cluster: &Cluster,
        profile: &Profile,
        node: NodeId,
        mut take: impl FnMut(&dyn Plugin, i64, Option<i64>, i64),
    ) {
        let context = self.context(cluster);
        for (range, (plugin, weight)) in self
            .ranges
            .object
            .iter()
            .zip(profile.scores_of(Reach::Object))
        {
            let raw = plugin.score(&context, node);
            take(plugin, weight, Some(raw), plugin.normalize(raw, *range));
        }
        for (plugin, weight) in profile.scores_of(Reach::Node) {
            let raw = plugin.score(&context, node);
            take(plugin, weight, Some(raw), raw);
        }
        let values = self.values(cluster, node);
        let position = self.position(&values);
        for (range, (plugin, weight)) in self
            .ranges
            .topology
            .iter()
            .zip(profile.scores_of(Reach::Topology))
        {
            let raw = plugin.score_at(&position);
            let score = raw.map_or(0, |raw| plugin.normalize(raw, *range));
            take(plugin, weight, raw, score);
        }
    }

    fn score_of(&self, core: &Core, node: NodeId) -> NodeScore {
        let profile = &core.profiles[self.profile];
        let (mut plugins, mut total) = (Vec::new(), 0);
        self.each_score(
            &core.cluster,
            profile,
            node,
            |plugin, weight, raw, score| {
                total += weight * score;
                plugins.push(PluginScore::new(plugin.name(), weight, raw, score));
            },
        );
        NodeScore::new(
            profile,
            core.cluster.nodes.name(node).clone(),
            total,
            plugins,
        )
    }

    /// The best node and the next; `None` when none does.
    pub fn scores(&self, core: &Core) -> Option<Scores> {
        let present =
            |(_, node): (i64, NodeId)| core.cluster.nodes.is_present(node).then_some(node);
        let best = self.best.and_then(present)?;
        let second = self.second.and_then(present);
        Some(Scores::new(
            self.score_of(core, best),
            second.map(|node| self.score_of(core, node)),
        ))
    }

    /// The scores of the watched node, when it is feasible.
    pub fn watched_score(&self, core: &Core) -> Option<NodeScore> {
        let node = self.watched.filter(|node| self.feasible.contains(node))?;
        Some(self.score_of(core, node))
    }

    /// The score of every feasible node; for comparisons.
    pub fn totals(&self, core: &Core) -> Vec<(NodeId, i64)> {
        let profile = &core.profiles[self.profile];
        let total = |node: &NodeId| {
            let mut total = 0;
            self.each_score(&core.cluster, profile, *node, |_, weight, _, score| {
                total += weight * score
            });
            (*node, total)
        };
        self.feasible.iter().map(total).collect()
    }

    /// For every soft constraint, how many domains the feasible nodes are in.
    fn soft_sizes(&self, cluster: &Cluster) -> SmallVec<[usize; 2]> {
        let mut domains: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); self.plan.soft.len()];
        if domains.is_empty() {
            return SmallVec::new();
        }
        for &node in &self.feasible {
            let values = self.values(cluster, node);
            if pod_topology_spread::is_ignored(&self.position(&values)) {
                continue;
            }
            for (soft, domains) in self.plan.soft.iter().zip(&mut domains) {
                let key = self.plan.features[soft.feature].key;
                match (soft.per_node, cluster.key(key).domain(node)) {
                    (true, _) => drop(domains.insert(node)),
                    // A node without the key counts as a domain of its own kind, as in decisions.
                    (false, domain) => drop(domains.insert(domain)),
                }
            }
        }
        domains.iter().map(BTreeSet::len).collect()
    }
}
