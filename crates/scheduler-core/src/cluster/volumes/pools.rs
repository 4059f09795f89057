//! Volumes that no claim has yet, by class: those that no claim can tell apart lie in one pool.
//!
//! Invariant: a volume is in exactly one pool while it is available, has no claim and is not being deleted; else in none.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::index::{LabelIndex, Needed, needed_by_affinity};
use crate::labels::{Labels, Selector};
use crate::objects::{NodeSelector, Text};
use crate::plugins::node_affinity;
use crate::volumes::WantedClaim;

/// All that matching reads of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offer {
    /// Bytes.
    pub capacity: i64,
    pub block: bool,
    pub modes: u8,
    pub attributes_class: Text,
    pub labels: Labels,
    pub affinity: Option<NodeSelector>,
}

pub struct Pool {
    pub offer: Offer,
    /// By name; the first is taken first.
    pub volumes: BTreeSet<Text>,
    needed: Needed,
}

#[derive(Default)]
pub struct Pools {
    classes: HashMap<Text, ClassPools>,
}

#[derive(Default)]
struct ClassPools {
    ids: HashMap<Offer, u32>,
    pools: Vec<Option<Pool>>,
    free: Vec<u32>,
    index: LabelIndex,
}

impl Pools {
    /// Adds a volume; how many were in its pool.
    pub fn insert(&mut self, class: &Text, offer: &Offer, name: &Text) -> usize {
        let class = self.classes.entry(class.clone()).or_default();
        let id = match class.ids.get(offer) {
            Some(&id) => id,
            None => class.create(offer),
        };
        let Some(pool) = class.pools[id as usize].as_mut() else {
            return 0;
        };
        let before = pool.volumes.len();
        pool.volumes.insert(name.clone());
        before
    }

    /// Takes a volume out; how many are left in its pool.
    pub fn remove(&mut self, class: &Text, offer: &Offer, name: &Text) -> usize {
        let Some(pools) = self.classes.get_mut(class) else {
            return 0;
        };
        let Some(&id) = pools.ids.get(offer) else {
            return 0;
        };
        let Some(pool) = pools.pools[id as usize].as_mut() else {
            return 0;
        };
        pool.volumes.remove(name);
        let left = pool.volumes.len();
        if left == 0 {
            let needed = pool.needed.clone();
            pools.index.remove(id, &needed);
            pools.ids.remove(offer);
            pools.pools[id as usize] = None;
            pools.free.push(id);
        }
        if pools.ids.is_empty() {
            self.classes.remove(class);
        }
        left
    }

    /// The smallest volume that this claim can have on a node with these labels, leaving out those taken; of equals the first by
    /// name. Volumes of other claims are not looked at.
    pub fn smallest(&self, claim: &WantedClaim, labels: &Labels, taken: &[Text]) -> Option<Text> {
        let class = self.classes.get(&claim.class)?;
        let mut best: Option<(i64, &Text)> = None;
        for id in class.index.candidates(labels) {
            let Some(pool) = class.pools[id as usize].as_ref() else {
                continue;
            };
            let offer = &pool.offer;
            if best.is_some_and(|(capacity, _)| capacity < offer.capacity)
                || !offer.suits(claim)
                || !affinity_matches(offer.affinity.as_ref(), labels)
            {
                continue;
            }
            let Some(name) = pool.volumes.iter().find(|name| !taken.contains(name)) else {
                continue;
            };
            if best.is_none_or(|best| (offer.capacity, name) < best) {
                best = Some((offer.capacity, name));
            }
        }
        best.map(|(_, name)| name.clone())
    }
}

impl ClassPools {
    fn create(&mut self, offer: &Offer) -> u32 {
        let pool = Pool {
            offer: offer.clone(),
            volumes: BTreeSet::new(),
            needed: needed_by_affinity(offer.affinity.as_ref()),
        };
        let needed = pool.needed.clone();
        let id = match self.free.pop() {
            Some(id) => {
                self.pools[id as usize] = Some(pool);
                id
            }
            None => {
                self.pools.push(Some(pool));
                u32::try_from(self.pools.len() - 1).expect("fewer than 2^32 pools")
            }
        };
        self.ids.insert(offer.clone(), id);
        self.index.insert(id, &needed);
        id
    }
}

impl Offer {
    /// Whether a claim takes such a volume, wherever it is.
    fn suits(&self, claim: &WantedClaim) -> bool {
        self.holds(claim)
            && claim.modes & !self.modes == 0
            && claim
                .selector
                .as_ref()
                .is_none_or(|selector: &Selector| selector.matches(&self.labels))
    }

    /// What even a volume that was meant for the claim must satisfy.
    pub fn holds(&self, claim: &WantedClaim) -> bool {
        self.capacity >= claim.bytes.unwrap_or(0)
            && self.block == claim.block
            && self.attributes_class == claim.attributes_class
    }
}

/// A volume without affinity is everywhere; a node's name is not a label, so terms over fields match nothing.
pub fn affinity_matches(affinity: Option<&NodeSelector>, labels: &Labels) -> bool {
    let nameless = Text::default();
    affinity.is_none_or(|affinity| {
        affinity
            .node_selector_terms
            .iter()
            .any(|term| node_affinity::matches_term(term, &nameless, labels))
    })
}
