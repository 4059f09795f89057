//! What a pod's claims come down to, without the claims' names: pods with equal demands fit on the same nodes.
//!
//! A demand follows from the claims, their allocations and the device classes; which devices are in use is not part of it.

use std::sync::Arc;

use super::objects::{
    Allocation, Ask, DeviceClass, DeviceConstraint, DeviceRequest, DeviceSelector,
    DeviceToleration, ResourceClaim,
};
use super::{Devices, PodClaim, PodClaims};
use crate::objects::{NodeSelector, Text};

/// status.allocation.devices.results holds at most so many.
pub(super) const MAX_RESULTS: usize = 32;
/// A prioritized list has at most so many alternatives.
const MAX_ALTERNATIVES: i64 = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Demand {
    pub claims: Vec<Wanted>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The claim has its devices; they can be used where this selector matches (nothing: everywhere).
    Allocated {
        nodes: Option<NodeSelector>,
        score: i64,
    },
    Open(OpenClaim),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenClaim {
    pub requests: Vec<Request>,
    pub constraints: Vec<DeviceConstraint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub name: Text,
    /// The choices are alternatives of a prioritized list; otherwise there is just one.
    pub prioritized: bool,
    pub choices: Vec<Choice>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Choice {
    /// The alternative's name, or the request's.
    pub name: Text,
    pub class: Text,
    pub class_selectors: Vec<Text>,
    pub selectors: Vec<Text>,
    /// All devices that match rather than a number of them.
    pub all: bool,
    pub count: usize,
    pub admin_access: Option<bool>,
    pub tolerations: Vec<DeviceToleration>,
}

impl Demand {
    pub fn open(&self) -> impl Iterator<Item = &OpenClaim> {
        self.claims.iter().filter_map(|claim| match claim {
            Wanted::Open(open) => Some(open),
            Wanted::Allocated { .. } => None,
        })
    }

    /// Nodes differ in score: some claim has alternatives.
    pub fn has_alternatives(&self) -> bool {
        self.open()
            .any(|claim| claim.requests.iter().any(|request| request.prioritized))
    }
}

/// What an alternative adds to the score: the earlier, the more.
pub(super) const fn alternative_score(index: usize) -> i64 {
    MAX_ALTERNATIVES - index as i64
}

impl Devices {
    /// Why a pod cannot even be queued: a claim of its is missing, going, or another's.
    pub fn check_claims(&self, pod: &PodClaims) -> Result<(), String> {
        self.claims_of(pod).map(drop)
    }

    fn claims_of(&self, pod: &PodClaims) -> Result<Vec<Arc<ResourceClaim>>, String> {
        let mut claims = Vec::new();
        let (namespace, pod_name) = (&pod.namespace, &pod.name);
        for one in &pod.claims {
            let (name, made) = match one {
                PodClaim::Named(name) => (name, false),
                PodClaim::Made(name) => (name, true),
                PodClaim::NotNeeded => continue,
                PodClaim::NotYetMade => {
                    return Err(format!(
                        "pod \"{namespace}/{pod_name}\": ResourceClaim not created yet"
                    ));
                }
                PodClaim::Unsupported(claim) => {
                    return Err(format!(
                        "pod \"{namespace}/{pod_name}\", spec.resourceClaim {claim:?}: none of the supported fields are set"
                    ));
                }
            };
            let key = format!("{namespace}/{name}");
            let Some(claim) = self.claim(&key) else {
                return Err(format!("could not find ResourceClaim \"{key}\""));
            };
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(format!("resourceclaim {name:?} is being deleted"));
            }
            let mut owners = claim.metadata.owner_references.iter();
            if made && !owners.any(|owner| owner.controller && owner.uid == pod.uid) {
                return Err(format!(
                    "ResourceClaim {key} was not created for Pod {namespace}/{pod_name} (Pod is not owner)"
                ));
            }
            claims.push(claim.clone());
        }
        Ok(claims)
    }

    /// The demand of a pod that has claims; the error says why no node can do.
    pub fn demand(&mut self, pod: &PodClaims) -> Result<Option<Arc<Demand>>, String> {
        let claims = self.claims_of(pod)?;
        if claims.is_empty() {
            return Ok(None);
        }
        let mut wanted = Vec::with_capacity(claims.len());
        for claim in &claims {
            let allocation = claim.status.allocation.as_ref();
            let shared = self.shared(&claim.key(), &pod.uid).map(|shared| &**shared);
            wanted.push(match allocation.or(shared) {
                Some(allocation) => Wanted::Allocated {
                    nodes: allocation.node_selector.clone(),
                    score: score_of(claim, allocation),
                },
                None => Wanted::Open(self.open_claim(claim)?),
            });
        }
        Ok(Some(Arc::new(Demand { claims: wanted })))
    }

    fn open_claim(&mut self, claim: &ResourceClaim) -> Result<OpenClaim, String> {
        let key = claim.key();
        if self.is_pending(&key) {
            return Err(format!(
                "resource claim {key} is in the process of being allocated"
            ));
        }
        let mut requests = Vec::new();
        for request in &claim.spec.devices.requests {
            requests.push(self.request(&key, request)?);
        }
        let constraints = claim.spec.devices.constraints.clone();
        let empty = constraints
            .iter()
            .position(|one| one.match_attribute.is_none() && one.distinct_attribute.is_none());
        if let Some(at) = empty {
            return Err(format!(
                "claim {key}, constraint #{at}: empty constraint (unsupported constraint type?)"
            ));
        }
        let least = requests.iter().map(|request| {
            let choices = request.choices.iter();
            choices.map(|one| one.count).min().unwrap_or(0)
        });
        let least: usize = least.fold(0, usize::saturating_add);
        if least > MAX_RESULTS {
            return Err(format!(
                "claim {key}: number of requested devices {least} exceeds the claim limit of {MAX_RESULTS}"
            ));
        }
        Ok(OpenClaim {
            requests,
            constraints,
        })
    }

    fn request(&mut self, key: &Text, request: &DeviceRequest) -> Result<Request, String> {
        let name = &request.name;
        if let Some(exactly) = &request.exactly {
            return Ok(Request {
                name: name.clone(),
                prioritized: false,
                choices: vec![self.choice(key, name, name, exactly)?],
            });
        }
        if request.first_available.is_empty() {
            return Err(format!(
                "resource claim {key}, request {name}: unknown request type"
            ));
        }
        let mut choices = Vec::new();
        for alternative in &request.first_available {
            let qualified = format!("{name}/{}", alternative.name);
            choices.push(self.choice(key, &qualified, &alternative.name, alternative)?);
        }
        Ok(Request {
            name: name.clone(),
            prioritized: true,
            choices,
        })
    }

    fn choice(
        &mut self,
        key: &Text,
        qualified: &str,
        name: &Text,
        ask: &Ask,
    ) -> Result<Choice, String> {
        let class_name = &ask.device_class_name;
        if class_name.is_empty() {
            return Err(format!("request {qualified}: unsupported request type"));
        }
        let Some(class) = self.class(class_name).cloned() else {
            return Err(format!(
                "request {qualified}: device class {class_name} does not exist"
            ));
        };
        if ask.capacity.is_some() {
            return Err(format!(
                "claim {key}, request {name}: has capacity requests, but the DRAConsumableCapacity feature is disabled"
            ));
        }
        let all = match ask.allocation_mode.as_str() {
            "All" => true,
            "ExactCount" | "" => false,
            mode => {
                return Err(format!(
                    "claim {key}, request {name}: unsupported count mode {mode}"
                ));
            }
        };
        let count = match all {
            true => 0,
            // The API server writes the default; a claim without it means one.
            false => usize::try_from(ask.count.max(1)).unwrap_or(usize::MAX),
        };
        Ok(Choice {
            name: name.clone(),
            class: class_name.clone(),
            class_selectors: self.class_selectors(&class)?,
            selectors: self.selectors(key, name, &ask.selectors)?,
            all,
            count,
            admin_access: ask.admin_access,
            tolerations: ask.tolerations.clone(),
        })
    }

    fn class_selectors(&mut self, class: &DeviceClass) -> Result<Vec<Text>, String> {
        let name = &class.metadata.name;
        let mut sources = Vec::new();
        for (at, selector) in class.spec.selectors.iter().enumerate() {
            let source = selector.cel.as_ref().map(|cel| cel.expression.clone());
            let source = source.unwrap_or_default();
            if let Err(why) = self.expressions.compile(&source) {
                return Err(format!(
                    "class {name}: selector #{at}: CEL compile error: {why}"
                ));
            }
            sources.push(source);
        }
        Ok(sources)
    }

    fn selectors(
        &mut self,
        key: &Text,
        request: &Text,
        selectors: &[DeviceSelector],
    ) -> Result<Vec<Text>, String> {
        let mut sources = Vec::new();
        for (at, selector) in selectors.iter().enumerate() {
            let Some(cel) = &selector.cel else {
                return Err(format!(
                    "claim {key}, request {request}, selector #{at}: CEL expression empty (unsupported selector type?)"
                ));
            };
            if let Err(why) = self.expressions.compile(&cel.expression) {
                return Err(format!(
                    "claim {key}: selector #{at}: CEL compile error: {why}"
                ));
            }
            sources.push(cel.expression.clone());
        }
        Ok(sources)
    }
}

/// The alternatives that an allocated claim got.
fn score_of(claim: &ResourceClaim, allocation: &Allocation) -> i64 {
    let mut score = 0;
    for request in &claim.spec.devices.requests {
        for (index, alternative) in request.first_available.iter().enumerate() {
            let qualified = format!("{}/{}", request.name, alternative.name);
            let mut results = allocation.devices.results.iter();
            if results.any(|result| result.request == qualified) {
                score += alternative_score(index);
            }
        }
    }
    score
}
