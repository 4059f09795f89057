//! Which devices a node has access to: resource slices grouped into pools, of each only the newest generation.
//!
//! A pool of which slices are missing, or that contradicts itself, gives no devices, but says so. Pools are in the order of their
//! driver and name, slices in that of their names, so that the first device that fits is the same every time.

use std::collections::BTreeMap;

use fluyt_api::quantity::Quantity;
use hashbrown::{HashMap, HashSet};

use super::objects::{CounterSet, Device};
use super::{Devices, PoolId, Slice};
use crate::labels::Labels;
use crate::objects::{NodeSelector, Text};
use crate::plugins::node_affinity;

pub(super) struct Pool<'a> {
    pub id: &'a PoolId,
    pub incomplete: bool,
    pub invalid: bool,
    /// Slices with devices for the node.
    pub slices: Vec<&'a Slice>,
    /// What is left of the pool's shared counters, by set and name.
    pub counters: Counters<'a>,
    /// Devices that some claim has.
    pub used: Option<&'a HashMap<Text, u32>>,
}

pub(super) type Counters<'a> = BTreeMap<(&'a str, &'a str), Quantity>;

/// A node as selectors see it.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub name: &'a Text,
    pub labels: &'a Labels,
}

impl Place<'_> {
    pub fn matches(&self, selector: &NodeSelector) -> bool {
        let mut terms = selector.node_selector_terms.iter();
        terms.any(|term| node_affinity::matches_term(term, self.name, self.labels))
    }

    fn has_access(
        &self,
        name: Option<&Text>,
        all: Option<bool>,
        selector: Option<&NodeSelector>,
    ) -> bool {
        match name.filter(|name| !name.is_empty()) {
            Some(name) => name == self.name,
            None => all.unwrap_or(false) || selector.is_some_and(|selector| self.matches(selector)),
        }
    }

    pub(super) fn reaches(&self, device: &Device) -> bool {
        let selector = device.node_selector.as_ref();
        self.has_access(device.node_name.as_ref(), device.all_nodes, selector)
    }

    /// Counters are needed wherever they are.
    fn reaches_slice(&self, slice: &Slice) -> bool {
        let spec = &slice.object.spec;
        if !spec.shared_counters.is_empty() {
            return true;
        }
        if spec.per_device_node_selection.unwrap_or(false) {
            return spec.devices.iter().any(|device| self.reaches(device));
        }
        let selector = spec.node_selector.as_ref();
        self.has_access(spec.node_name.as_ref(), spec.all_nodes, selector)
    }
}

impl Devices {
    pub(super) fn pools_at(&self, place: Place<'_>) -> Vec<Pool<'_>> {
        let local = self.local.get(place.name).into_iter().flatten();
        let names = local.chain(&self.shared);
        let mut found: BTreeMap<&PoolId, Vec<&Slice>> = BTreeMap::new();
        for slice in names.filter_map(|name| self.slices.get(name)) {
            if !place.reaches_slice(slice) {
                continue;
            }
            let slices = found.entry(&slice.pool).or_default();
            let newest = slices.first().map(|one| one.generation());
            match newest {
                Some(newest) if newest > slice.generation() => continue,
                Some(newest) if newest < slice.generation() => slices.clear(),
                _ => {}
            }
            slices.push(slice);
        }
        let mut pools: Vec<Pool<'_>> = found
            .into_iter()
            .filter_map(|(id, slices)| self.pool(id, slices))
            .collect();
        // Devices that must be made ready before the pod is bound come last.
        pools.sort_by_key(|pool| {
            let mut devices = pool.slices.iter().flat_map(|slice| slice.devices());
            devices.any(|device| !device.binding_conditions.is_empty())
        });
        pools
    }

    /// `None`: these slices are being replaced by newer ones, none of which is for this node.
    fn pool<'a>(&'a self, id: &'a PoolId, mut slices: Vec<&'a Slice>) -> Option<Pool<'a>> {
        let generation = slices.first()?.generation();
        let wanted = slices.first()?.object.spec.pool.resource_slice_count;
        let names = self.pools.get(id).into_iter().flatten();
        let known = names.filter_map(|name| self.slices.get(name));
        let mut all: Vec<&Slice> = Vec::new();
        for slice in known {
            match slice.generation().cmp(&generation) {
                std::cmp::Ordering::Greater => return None,
                std::cmp::Ordering::Equal => all.push(slice),
                std::cmp::Ordering::Less => {}
            }
        }
        let mut pool = Pool {
            id,
            incomplete: i64::try_from(all.len()).ok() != Some(wanted),
            invalid: false,
            slices: Vec::new(),
            counters: Counters::new(),
            used: self.in_use.get(id),
        };
        if pool.incomplete {
            return Some(pool);
        }
        slices.sort_by(|a, b| a.name().cmp(b.name()));
        slices.retain(|slice| slice.object.spec.shared_counters.is_empty());
        let sets = all
            .iter()
            .flat_map(|slice| &slice.object.spec.shared_counters);
        match counters(sets, &all) {
            Some(counters) if has_unique_names(&slices) => {
                pool.counters = counters;
                pool.slices = slices;
                pool.take_used(&all);
            }
            _ => pool.invalid = true,
        }
        Some(pool)
    }
}

impl<'a> Pool<'a> {
    pub fn is_usable(&self) -> bool {
        !self.incomplete && !self.invalid
    }

    pub fn is_used(&self, device: &str) -> bool {
        self.used.is_some_and(|used| used.contains_key(device))
    }

    /// Takes from the counters what devices consume that some claim has.
    fn take_used(&mut self, all: &[&'a Slice]) {
        if self.counters.is_empty() {
            return;
        }
        for device in all.iter().flat_map(|slice| slice.devices()) {
            if !self.is_used(&device.name) {
                continue;
            }
            for (key, amount) in consumed(device) {
                if let Some(left) = self.counters.get_mut(&key) {
                    *left = left.sub(amount);
                }
            }
        }
    }
}

/// What a device takes from counters, by set and name.
pub(super) fn consumed(device: &Device) -> impl Iterator<Item = ((&str, &str), &Quantity)> {
    device.consumes_counters.iter().flat_map(|consumption| {
        let set = consumption.counter_set.as_str();
        let counters = consumption.counters.iter();
        counters.map(move |(name, amount)| ((set, name.as_str()), &amount.value))
    })
}

/// The counters as the slices define them; `None` when a set is defined twice, or something consumes what there is not.
fn counters<'a>(
    sets: impl Iterator<Item = &'a CounterSet>,
    all: &[&'a Slice],
) -> Option<Counters<'a>> {
    let mut names = HashSet::new();
    let mut counters = Counters::new();
    for set in sets {
        if !names.insert(set.name.as_str()) {
            return None;
        }
        for (name, amount) in &set.counters {
            counters.insert((set.name.as_str(), name.as_str()), amount.value.clone());
        }
    }
    let mut devices = all.iter().flat_map(|slice| slice.devices());
    devices
        .all(|device| {
            let sets = device.consumes_counters.iter();
            let known = sets.map(|one| one.counter_set.as_str());
            known.into_iter().all(|set| names.contains(set))
                && consumed(device).all(|(key, _)| counters.contains_key(&key))
        })
        .then_some(counters)
}

fn has_unique_names(slices: &[&Slice]) -> bool {
    let mut names = HashSet::new();
    let mut devices = slices.iter().flat_map(|slice| slice.devices());
    devices.all(|device| names.insert(device.name.as_str()))
}
