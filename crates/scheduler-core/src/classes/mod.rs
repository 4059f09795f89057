//! Classes: pods with equal plans, and for each the nodes in order of score, kept up to date by what changed.
//!
//! The first decision of a class looks at every node; the following ones only at the nodes that the change log names since. A
//! class that was not used for long is dropped: the number of classes is bounded, by count and by memory.
//!
//! Invariant: after [`Class::sync`] a class says about every node what its plugins would say if asked now.

mod choice;
mod class;
mod features;
mod groups;
mod subset;
mod ties;

use std::sync::Arc;

use hashbrown::HashMap;

pub use choice::{Choice, Scored};
pub(crate) use choice::{Note, Noted, UNSCORED};
pub use class::{Class, Parts};
pub(crate) use features::FeatureState;
pub use ties::Ties;

use crate::cluster::devices::Demand;
use crate::cluster::{Cluster, ShapeId};
use crate::plan::{self, Plan};
use crate::profile::Profile;

pub type ClassId = usize;

/// Bounds on what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub classes: usize,
    /// Nodes over all classes (about 24 bytes each, more with topology rules).
    pub slots: usize,
    /// Topology keys with at most this many domains are kept apart by domain; beyond, nodes are grouped by the domain's sums.
    pub few_domains: usize,
    /// The change log is at least this long.
    pub log: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            classes: 1024,
            slots: 16 * 1024 * 1024,
            few_domains: 64,
            log: 4096,
        }
    }
}

#[derive(Default)]
pub struct Classes {
    limits: Limits,
    ties: Ties,
    ids: HashMap<Plan, ClassId>,
    slots: Vec<Option<Kept>>,
    free: Vec<ClassId>,
    by_shape: HashMap<(ShapeId, Option<Arc<Demand>>), Known>,
    clock: u64,
    serial: u64,
}

struct Kept {
    class: Class,
    serial: u64,
    used: u64,
}

/// The class of a shape, as long as nothing that the plan was made from changes.
#[derive(Clone, Copy)]
struct Known {
    class: ClassId,
    serial: u64,
    stamp: Stamp,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    shape_serial: u64,
    terms: u64,
    namespaces: u64,
    namespace: u64,
    /// What a pod's volumes come down to is worked out for every decision.
    volumes: u64,
}

impl Classes {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Before the first decision: classes that exist keep their order.
    pub fn set_ties(&mut self, ties: Ties) {
        self.ties = ties;
    }

    pub fn ties(&self) -> Ties {
        self.ties
    }

    /// The class of a shape whose resource claims come down to this demand, up to date.
    pub fn of_demand(
        &mut self,
        cluster: &mut Cluster,
        profiles: &[Profile],
        profile: usize,
        shape: ShapeId,
        demand: Option<Arc<Demand>>,
    ) -> ClassId {
        self.clock += 1;
        let (spec, identity) = cluster.shape(shape);
        let namespace = &cluster.identity(identity).namespace;
        let stamp = Stamp {
            shape_serial: cluster.shape_serial(shape),
            terms: cluster.tallies.terms_version(),
            namespaces: cluster.namespace_version,
            namespace: cluster.namespace_entry_version(namespace),
            volumes: match cluster.spec(spec).has_volumes() {
                true => self.clock,
                false => 0,
            },
        };
        let key = (shape, demand);
        let known = self.by_shape.get(&key).copied().filter(|known| {
            known.stamp == stamp
                && self.slots[known.class]
                    .as_ref()
                    .is_some_and(|kept| kept.serial == known.serial)
        });
        let id = match known {
            Some(known) => known.class,
            None => {
                let identity = cluster.identity(identity).clone();
                let class_spec = cluster.acquire_class_spec(spec);
                let mut plan = plan::build(cluster, profiles, profile, spec, class_spec, &identity);
                plan.demand.clone_from(&key.1);
                let id = self.claim(cluster, profiles, plan);
                cluster.specs.release(class_spec);
                self.remember(key, id, stamp);
                id
            }
        };
        let clock = self.clock;
        let kept = self.kept(id);
        kept.used = clock;
        kept.class.sync(cluster, &profiles[profile]);
        id
    }

    /// Brings a class up to date after a change of the cluster.
    pub fn refresh(&mut self, id: ClassId, cluster: &Cluster, profiles: &[Profile]) {
        let class = &mut self.kept(id).class;
        let profile = &profiles[class.plan().profile];
        class.sync(cluster, profile);
    }

    /// Makes a class say about every node what its plugins say, not only about those where its volumes are.
    pub fn widen(&mut self, id: ClassId, cluster: &Cluster, profiles: &[Profile]) {
        let class = &mut self.kept(id).class;
        let profile = &profiles[class.plan().profile];
        class.widen(cluster, profile);
    }

    pub fn get(&self, id: ClassId) -> &Class {
        &self.slots[id]
            .as_ref()
            .expect("class ids are used only until the next call of `of`")
            .class
    }

    /// How many classes were ever made.
    pub(crate) fn made(&self) -> u64 {
        self.serial
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn kept(&mut self, id: ClassId) -> &mut Kept {
        self.slots[id]
            .as_mut()
            .expect("class ids are used only until the next call of `of`")
    }

    fn remember(&mut self, key: (ShapeId, Option<Arc<Demand>>), class: ClassId, stamp: Stamp) {
        if self.by_shape.len() > 64 * self.limits.classes {
            self.by_shape.clear();
        }
        let serial = self.kept(class).serial;
        self.by_shape.insert(
            key,
            Known {
                class,
                serial,
                stamp,
            },
        );
    }

    /// The class with this plan; takes over the plan's references.
    fn claim(&mut self, cluster: &mut Cluster, profiles: &[Profile], plan: Plan) -> ClassId {
        if let Some(&id) = self.ids.get(&plan) {
            plan.predicates()
                .for_each(|id| cluster.release_predicate(id));
            return id;
        }
        let rows = cluster.nodes.rows().max(1);
        let slots = self.limits.slots.max(2 * rows);
        while self.ids.len() >= self.limits.classes.max(1) || (self.ids.len() + 1) * rows > slots {
            self.evict(cluster);
        }
        cluster.specs.retain(plan.spec);
        self.serial += 1;
        let kept = Kept {
            class: Class::new(
                cluster,
                &profiles[plan.profile],
                plan.clone(),
                self.limits.few_domains,
                self.ties,
            ),
            serial: self.serial,
            used: self.clock,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id] = Some(kept);
                id
            }
            None => {
                self.slots.push(Some(kept));
                self.slots.len() - 1
            }
        };
        self.ids.insert(plan, id);
        id
    }

    /// Drops the class that was not used for longest.
    fn evict(&mut self, cluster: &mut Cluster) {
        let oldest = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(id, kept)| Some((kept.as_ref()?.used, id)))
            .min();
        let Some((_, id)) = oldest else { return };
        let Some(kept) = self.slots[id].take() else {
            return;
        };
        let plan = kept.class.plan();
        self.ids.remove(plan);
        plan.predicates()
            .for_each(|id| cluster.release_predicate(id));
        cluster.specs.release(plan.spec);
        self.free.push(id);
    }
}
