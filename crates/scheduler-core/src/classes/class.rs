//! One class: what its plugins say about each node, and how that is kept up to date.

use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::features::FeatureState;
use super::groups::{GroupId, GroupKey, Groups, MISSING};
use super::ties::Ties;
use crate::cluster::{Change, Cluster, ImageState, KeyId, NO_DOMAIN, NodeId};
use crate::plan::{FeatureKind, Plan};
use crate::plugins::{Context, Reach, Rejection};
use crate::profile::Profile;
use crate::spec::Spec;

/// Raw scores of the plugins that read only the node object, in order; then what the last filters say (see `last_rejection`).
pub(super) type Raws = SmallVec<[i64; 3]>;

pub struct Class {
    pub(super) plan: Plan,
    pub(super) spec: Arc<Spec>,
    /// Only these rows can be feasible (required affinity names them); otherwise all.
    pub(super) candidates: Option<Vec<NodeId>>,
    named: bool,
    /// Only these rows are looked at, as the pod's volumes are nowhere else; nothing is said about the others.
    narrow: Option<Vec<NodeId>>,
    widened: bool,
    pub(super) components: Vec<Component>,
    pub(super) features: Vec<FeatureState>,
    pub(super) groups: Groups,
    pub(super) raws: Vec<Raws>,
    raw_ids: HashMap<Raws, u32>,
    /// Rejections by plugins whose reach is below topology, and how many nodes have them.
    pub(super) rejections: Vec<(Rejection, usize)>,
    rejection_ids: HashMap<Rejection, u32>,
    slots: Vec<Slot>,
    position: Option<u64>,
    few_domains: usize,
    images: Option<(usize, SmallVec<[ImageState; 2]>)>,
}

/// A part of a group's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    /// The node's domain of a key; sums are looked up when deciding.
    Domain(KeyId),
    /// The value of a feature.
    Value(usize),
}

#[derive(Clone, Copy)]
struct Slot {
    state: State,
    /// Of the object filters and scores: id of the raw scores, or of the rejection.
    object: Result<u32, u32>,
    local: i32,
    /// What makes up `local`; see [`Parts`].
    parts: Parts,
}

/// The first four scores of plugins of reach Node, unweighted, one byte each in order: kept so that a decision can be recorded
/// without asking the plugins again.
pub type Parts = u32;

fn part(index: usize, score: i64) -> Parts {
    match index {
        0..=3 => (score.clamp(0, 255) as Parts) << (8 * index),
        _ => 0,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Rejected(u32),
    Member(GroupId),
}

const ABSENT: Slot = Slot {
    state: State::Absent,
    object: Ok(0),
    local: 0,
    parts: 0,
};

impl Class {
    pub(super) fn new(
        cluster: &Cluster,
        profile: &Profile,
        plan: Plan,
        few_domains: usize,
        ties: Ties,
    ) -> Self {
        let spec = cluster.spec(plan.spec).clone();
        let mut class = Self {
            components: Vec::new(),
            features: plan
                .features
                .iter()
                .map(|_| FeatureState::default())
                .collect(),
            plan,
            named: false,
            narrow: None,
            widened: false,
            candidates: None,
            spec,
            groups: Groups::new(ties),
            raws: Vec::new(),
            raw_ids: HashMap::new(),
            rejections: Vec::new(),
            rejection_ids: HashMap::new(),
            slots: Vec::new(),
            position: None,
            few_domains,
            images: None,
        };
        class.named = profile.filters("NodeAffinity") && class.spec.named_nodes().is_some();
        class
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    /// Required node affinity names the nodes, and these are all of them: the pod can match no node at all.
    pub fn conflicts(&self) -> bool {
        self.named
            && self
                .spec
                .named_nodes()
                .is_some_and(|names| names.is_empty())
    }

    /// Brings the class up to date with the cluster.
    pub(super) fn sync(&mut self, cluster: &Cluster, profile: &Profile) {
        let images = self.look_at_images(cluster);
        let position = match self.position {
            Some(position) if images == self.images && self.components_hold(cluster) => position,
            _ => {
                self.images = images;
                return self.rebuild(cluster, profile);
            }
        };
        let now = cluster.generation();
        if position == now {
            return;
        }
        let Some(changes) = cluster.changes_since(position) else {
            return self.rebuild(cluster, profile);
        };
        let changes: SmallVec<[(NodeId, Change); 8]> = changes.collect();
        self.position = Some(now);
        self.apply(cluster, profile, &changes);
    }

    fn apply(&mut self, cluster: &Cluster, profile: &Profile, changes: &[(NodeId, Change)]) {
        if self.named {
            self.refresh_candidates(cluster);
        }
        if self.narrow.is_some() {
            self.narrow = self.plan.volumes.narrow.nodes(cluster);
        }
        let mut moved = Vec::new();
        for &(node, change) in changes {
            self.refresh_features(cluster, node, change == Change::Object, &mut moved);
        }
        for &(node, change) in changes {
            self.refresh_node(cluster, profile, node, change == Change::Object);
        }
        moved.sort_unstable();
        moved.dedup();
        for node in moved {
            self.regroup(cluster, node);
        }
    }

    fn rebuild(&mut self, cluster: &Cluster, profile: &Profile) {
        self.groups = Groups::new(self.groups.ties());
        self.features = self
            .plan
            .features
            .iter()
            .map(|_| FeatureState::default())
            .collect();
        self.slots.clear();
        self.rejections.iter_mut().for_each(|(_, count)| *count = 0);
        self.components = self.choose_components(cluster);
        self.position = Some(cluster.generation());
        self.refresh_candidates(cluster);
        self.narrow = match self.widened {
            true => None,
            false => self.plan.volumes.narrow.nodes(cluster),
        };
        let mut moved = Vec::new();
        if !self.features.is_empty() {
            for node in cluster.nodes.iter() {
                self.refresh_features(cluster, node, true, &mut moved);
            }
        }
        match self.narrow.clone().or_else(|| self.candidates.clone()) {
            Some(candidates) => candidates
                .into_iter()
                .for_each(|node| self.refresh_node(cluster, profile, node, true)),
            None => cluster
                .nodes
                .iter()
                .for_each(|node| self.refresh_node(cluster, profile, node, true)),
        }
    }

    fn refresh_candidates(&mut self, cluster: &Cluster) {
        if !self.named {
            return;
        }
        let names = self.spec.named_nodes().unwrap_or_default();
        let candidates = names.iter().filter_map(|name| cluster.nodes.id(name));
        self.candidates = Some(candidates.collect());
    }

    fn is_candidate(&self, node: NodeId) -> bool {
        let within =
            |rows: &Option<Vec<NodeId>>| rows.as_ref().is_none_or(|rows| rows.contains(&node));
        within(&self.candidates) && within(&self.narrow)
    }

    /// Looks at all nodes from now on.
    pub(super) fn widen(&mut self, cluster: &Cluster, profile: &Profile) {
        if self.narrow.is_some() {
            self.widened = true;
            self.rebuild(cluster, profile);
        }
    }

    /// Keys of many small domains are grouped by value, all others by domain. A soft constraint needs the domains themselves.
    fn choose_components(&self, cluster: &Cluster) -> Vec<Component> {
        let soft: Vec<KeyId> = self
            .plan
            .soft
            .iter()
            .filter(|soft| !soft.per_node)
            .map(|soft| self.plan.features[soft.feature].key)
            .collect();
        let mut components = Vec::new();
        for (index, feature) in self.plan.features.iter().enumerate() {
            let few = cluster.key(feature.key).domains() <= self.few_domains;
            let component = match feature.kind {
                FeatureKind::PerNode => Component::Value(index),
                _ if few || soft.contains(&feature.key) => Component::Domain(feature.key),
                _ => Component::Value(index),
            };
            if !components.contains(&component) {
                components.push(component);
            }
        }
        components
    }

    /// False when a key that had few domains now has many.
    fn components_hold(&self, cluster: &Cluster) -> bool {
        let outgrown = |component: &Component| match component {
            Component::Domain(key) => cluster.key(*key).domains() > self.few_domains,
            Component::Value(_) => false,
        };
        !self.components.iter().any(outgrown) || self.components == self.choose_components(cluster)
    }

    /// Where the pod's images are, and among how many nodes; `None` when nowhere, so that it does not matter.
    fn look_at_images(&self, cluster: &Cluster) -> Option<(usize, SmallVec<[ImageState; 2]>)> {
        let states: SmallVec<[ImageState; 2]> = self
            .spec
            .images
            .iter()
            .filter_map(|name| cluster.image(name))
            .collect();
        (!states.is_empty()).then(|| (cluster.node_count(), states))
    }

    /// `moved` gets the nodes whose group changes because a domain's sum did.
    fn refresh_features(
        &mut self,
        cluster: &Cluster,
        node: NodeId,
        object_changed: bool,
        moved: &mut Vec<NodeId>,
    ) {
        let mut changed = Vec::new();
        for (index, feature) in self.plan.features.iter().enumerate() {
            changed.clear();
            self.features[index].refresh(
                cluster,
                &self.spec,
                feature,
                node,
                object_changed,
                &mut changed,
            );
            if self.components.contains(&Component::Value(index)) {
                for domain in &changed {
                    moved.extend_from_slice(cluster.key(feature.key).members(*domain));
                }
            }
        }
    }

    fn refresh_node(
        &mut self,
        cluster: &Cluster,
        profile: &Profile,
        node: NodeId,
        object_changed: bool,
    ) {
        if self.slots.len() <= node as usize {
            self.slots.resize(node as usize + 1, ABSENT);
        }
        let old = self.slots[node as usize];
        let present = (node as usize) < cluster.nodes.rows()
            && cluster.nodes.is_present(node)
            && self.is_candidate(node);
        let new = match present {
            false => ABSENT,
            true => self.evaluate(cluster, profile, node, object_changed, &old),
        };
        self.slots[node as usize] = new;
        self.move_slot(cluster, node, old, new);
    }

    /// Asks the plugins below topology. A member's group is settled by `move_slot`.
    fn evaluate(
        &mut self,
        cluster: &Cluster,
        profile: &Profile,
        node: NodeId,
        object_changed: bool,
        old: &Slot,
    ) -> Slot {
        // Scores for devices are normalised with those of the object, but change with what runs on the node.
        let demand = self.plan.demand.as_ref();
        let rescored = demand.is_some_and(|demand| demand.has_alternatives());
        let known = !object_changed && !rescored && old.state != State::Absent;
        let plan = std::mem::take(&mut self.plan);
        let spec = self.spec.clone();
        let context = Context {
            cluster,
            spec: &spec,
            plan: &plan,
        };
        let object = match known {
            true => old.object,
            false => self.evaluate_object(profile, &context, node),
        };
        let (mut local, mut parts) = (0, 0);
        let state = match object {
            Err(rejection) => State::Rejected(rejection),
            Ok(_) => {
                let failed = profile
                    .filters_of(Reach::Node)
                    .find_map(|plugin| plugin.filter(&context, node).err());
                match failed {
                    Some(rejection) => State::Rejected(self.rejection_id(rejection)),
                    None => {
                        let mut total = 0;
                        for (index, (plugin, weight)) in profile.scores_of(Reach::Node).enumerate()
                        {
                            let score = plugin.score(&context, node);
                            total += weight * score;
                            parts |= part(index, score);
                        }
                        local = i32::try_from(total).unwrap_or(i32::MAX);
                        State::Member(GroupId::MAX)
                    }
                }
            }
        };
        self.plan = plan;
        Slot {
            state,
            object,
            local,
            parts,
        }
    }

    /// The unweighted scores of a member by plugins of reach Node.
    pub(super) fn parts(&self, node: NodeId) -> Parts {
        self.slots.get(node as usize).map_or(0, |slot| slot.parts)
    }

    fn evaluate_object(
        &mut self,
        profile: &Profile,
        context: &Context<'_>,
        node: NodeId,
    ) -> Result<u32, u32> {
        for plugin in profile.filters_of(Reach::Object) {
            if let Err(rejection) = plugin.filter(context, node) {
                return Err(self.rejection_id(rejection));
            }
        }
        let mut raws: Raws = profile
            .scores_of(Reach::Object)
            .map(|(plugin, _)| plugin.score(context, node))
            .collect();
        raws.push(self.last_rejection(profile, context, node));
        if let Some(&id) = self.raw_ids.get(&raws) {
            return Ok(id);
        }
        let id = self.raws.len() as u32;
        self.raws.push(raws.clone());
        self.raw_ids.insert(raws, id);
        Ok(id)
    }

    /// What filters say that come after the rules across nodes: nothing (0), or one more than the rejection's id.
    fn last_rejection(&mut self, profile: &Profile, context: &Context<'_>, node: NodeId) -> i64 {
        let failed = profile
            .filters_of(Reach::Last)
            .find_map(|plugin| plugin.filter(context, node).err());
        failed.map_or(0, |rejection| i64::from(self.rejection_id(rejection)) + 1)
    }

    fn rejection_id(&mut self, rejection: Rejection) -> u32 {
        if let Some(&id) = self.rejection_ids.get(&rejection) {
            return id;
        }
        let id = self.rejections.len() as u32;
        self.rejections.push((rejection.clone(), 0));
        self.rejection_ids.insert(rejection, id);
        id
    }

    fn move_slot(&mut self, cluster: &Cluster, node: NodeId, old: Slot, new: Slot) {
        if let (State::Member(group), State::Member(_)) = (old.state, new.state) {
            let key = self.group_key(cluster, node, new.object);
            if self.groups.get(group).key == key {
                if old.local != new.local {
                    self.groups.rescore(group, old.local, new.local, node);
                }
                self.slots[node as usize].state = State::Member(group);
                return;
            }
        }
        match old.state {
            State::Absent => {}
            State::Rejected(id) => self.rejections[id as usize].1 -= 1,
            State::Member(group) => self.groups.remove(group, old.local, node),
        }
        match new.state {
            State::Absent => {}
            State::Rejected(id) => self.rejections[id as usize].1 += 1,
            State::Member(_) => {
                let key = self.group_key(cluster, node, new.object);
                let group = self.groups.insert(&key, new.local, node);
                self.slots[node as usize].state = State::Member(group);
            }
        }
    }

    /// A domain's sum changed: its nodes may belong to another group, everything else about them stands.
    fn regroup(&mut self, cluster: &Cluster, node: NodeId) {
        let Some(&slot) = self.slots.get(node as usize) else {
            return;
        };
        if matches!(slot.state, State::Member(_)) {
            self.move_slot(cluster, node, slot, slot);
        }
    }

    fn group_key(&self, cluster: &Cluster, node: NodeId, object: Result<u32, u32>) -> GroupKey {
        let mut key = GroupKey::new();
        key.push(i64::from(object.unwrap_or(0)));
        for component in &self.components {
            key.push(match *component {
                Component::Domain(id) => match cluster.key(id).domain(node) {
                    NO_DOMAIN => MISSING,
                    domain => i64::from(domain),
                },
                Component::Value(index) => self.value_at(cluster, node, index),
            });
        }
        key
    }

    fn value_at(&self, cluster: &Cluster, node: NodeId, index: usize) -> i64 {
        let feature = &self.plan.features[index];
        let domain = cluster.key(feature.key).domain(node);
        match (domain, feature.kind) {
            (NO_DOMAIN, _) => MISSING,
            (_, FeatureKind::PerNode) => self.features[index].own(node),
            (_, FeatureKind::Flag) => self.features[index].sum(domain).min(1),
            _ => self.features[index].sum(domain),
        }
    }

    /// A member's score by the plugins that are not normalised.
    pub(super) fn local(&self, node: NodeId) -> i64 {
        self.slots
            .get(node as usize)
            .map_or(0, |slot| i64::from(slot.local))
    }

    /// Whether a node passes the plugins below topology, and its group when it does.
    pub(super) fn verdict(&self, node: NodeId) -> Result<GroupId, Option<&Rejection>> {
        match self.slots.get(node as usize).map(|slot| slot.state) {
            Some(State::Member(group)) => Ok(group),
            Some(State::Rejected(id)) => Err(Some(&self.rejections[id as usize].0)),
            _ => Err(None),
        }
    }
}
