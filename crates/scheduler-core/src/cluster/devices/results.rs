//! From chosen devices to what is written into a claim's status.

use std::sync::Arc;

use super::allocator::Pick;
use super::demand::{Demand, OpenClaim};
use super::objects::{AllocatedDevice, AllocatedDevices, Allocation, DeviceConfig, ResourceClaim};
use super::{Devices, Place, PodClaims};
use crate::labels::{Operator, Requirement};
use crate::objects::{NodeSelector, NodeSelectorTerm, Text};

/// A claim that a pod must be entered in before it is bound.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimToWrite {
    pub namespace: Text,
    pub name: Text,
    pub uid: Text,
    /// `None`: it has its devices already.
    pub allocation: Option<Arc<Allocation>>,
}

/// Two decisions are equal when they enter the pod in the same claims with the same devices.
impl Eq for ClaimToWrite {}

impl ClaimToWrite {
    /// `namespace/name`.
    pub fn key(&self) -> Text {
        compact_str::format_compact!("{}/{}", self.namespace, self.name)
    }
}

impl Devices {
    /// Every claim in which the pod must be entered, with an allocation where there is none yet.
    pub(super) fn allocate(
        &self,
        pod: &PodClaims,
        demand: &Demand,
        place: Place<'_>,
    ) -> Vec<ClaimToWrite> {
        let Ok(picks) = self.choose(place, demand) else {
            return Vec::new();
        };
        let mut open = demand.open().zip(&picks);
        let mut claims: Vec<ClaimToWrite> = Vec::new();
        for key in pod.keys() {
            let Some(claim) = self.claim(&key) else {
                continue;
            };
            let allocation = match (&claim.status.allocation, self.shared(&key, &pod.uid)) {
                (Some(_), _) => None,
                (None, Some(shared)) => Some(shared.clone()),
                (None, None) => open
                    .next()
                    .map(|(open, picks)| Arc::new(self.allocation(claim, open, picks, place))),
            };
            let mut consumers = claim.status.reserved_for.iter();
            let is_entered = consumers.any(|consumer| consumer.uid == pod.uid);
            if allocation.is_some() || !is_entered {
                claims.push(ClaimToWrite {
                    namespace: claim.metadata.namespace.clone(),
                    name: claim.metadata.name.clone(),
                    uid: claim.metadata.uid.clone(),
                    allocation,
                });
            }
        }
        claims
    }

    fn allocation(
        &self,
        claim: &ResourceClaim,
        open: &OpenClaim,
        picks: &[Pick<'_>],
        place: Place<'_>,
    ) -> Allocation {
        let result = |pick: &Pick<'_>| {
            let choice = &open.requests[pick.request].choices[pick.choice];
            AllocatedDevice {
                request: name_of(open, pick.request, pick.choice),
                driver: pick.slice.object.spec.driver.clone(),
                pool: pick.slice.object.spec.pool.name.clone(),
                device: pick.device.name.clone(),
                admin_access: choice.admin_access.filter(|access| *access),
                tolerations: choice.tolerations.clone(),
                share_id: None,
            }
        };
        Allocation {
            devices: AllocatedDevices {
                results: picks.iter().map(result).collect(),
                config: self.config(claim, open, picks),
            },
            node_selector: node_selector(picks, place),
            allocation_timestamp: None,
        }
    }

    /// The classes' configuration, each once, then the claim's own where it applies.
    fn config(
        &self,
        claim: &ResourceClaim,
        open: &OpenClaim,
        picks: &[Pick<'_>],
    ) -> Vec<DeviceConfig> {
        let chosen = |request: usize| {
            let pick = picks.iter().find(|pick| pick.request == request);
            pick.map_or(0, |pick| pick.choice)
        };
        let mut config: Vec<DeviceConfig> = Vec::new();
        let mut ranges: Vec<(&Text, std::ops::Range<usize>)> = Vec::new();
        for (index, request) in open.requests.iter().enumerate() {
            let choice = &request.choices[chosen(index)];
            let name = name_of(open, index, chosen(index));
            if let Some((_, range)) = ranges.iter().find(|(class, _)| **class == choice.class) {
                for one in &mut config[range.clone()] {
                    one.requests.push(name.clone());
                }
                continue;
            }
            let start = config.len();
            let of_class = self.class(&choice.class).map(|class| &class.spec.config);
            config.extend(of_class.into_iter().flatten().map(|one| DeviceConfig {
                source: Some("FromClass".into()),
                requests: vec![name.clone()],
                opaque: one.opaque.clone(),
            }));
            ranges.push((&choice.class, start..config.len()));
        }
        for one in &claim.spec.devices.config {
            let own = DeviceConfig {
                source: Some("FromClaim".into()),
                ..one.clone()
            };
            if one.requests.is_empty() {
                config.push(own);
                continue;
            }
            for (index, request) in open.requests.iter().enumerate() {
                let name = name_of(open, index, chosen(index));
                if one.requests.contains(&request.name) || one.requests.contains(&name) {
                    config.push(own.clone());
                }
            }
        }
        config
    }
}

/// The request as results and configuration name it.
fn name_of(open: &OpenClaim, request: usize, choice: usize) -> Text {
    let request = &open.requests[request];
    match request.prioritized {
        true => {
            compact_str::format_compact!("{}/{}", request.name, request.choices[choice].name)
        }
        false => request.name.clone(),
    }
}

/// Where all the devices can be used: one node if any of them is local to one, otherwise what their selectors demand together.
fn node_selector(picks: &[Pick<'_>], place: Place<'_>) -> Option<NodeSelector> {
    let mut term = NodeSelectorTerm::default();
    for pick in picks {
        let spec = &pick.slice.object.spec;
        let (name, selector) = match spec.per_device_node_selection.unwrap_or(false) {
            true => (&pick.device.node_name, &pick.device.node_selector),
            false => (&spec.node_name, &spec.node_selector),
        };
        if name.as_ref().is_some_and(|name| !name.is_empty())
            || pick.device.binds_to_node.unwrap_or(false)
        {
            let name = Requirement::new("metadata.name", Operator::In, &[place.name]);
            return Some(selector_of(NodeSelectorTerm {
                match_expressions: Vec::new(),
                match_fields: vec![name],
            }));
        }
        // Validation allows one term only.
        let terms = selector.iter().flat_map(|one| &one.node_selector_terms);
        for own in terms.take(1) {
            add_new(&own.match_fields, &mut term.match_fields);
            add_new(&own.match_expressions, &mut term.match_expressions);
        }
    }
    let restricted = !(term.match_fields.is_empty() && term.match_expressions.is_empty());
    restricted.then(|| selector_of(term))
}

fn selector_of(term: NodeSelectorTerm) -> NodeSelector {
    NodeSelector {
        node_selector_terms: vec![term],
    }
}

fn add_new(from: &[Requirement], to: &mut Vec<Requirement>) {
    for requirement in from {
        if !to.contains(requirement) {
            to.push(requirement.clone());
        }
    }
}
