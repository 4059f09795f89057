//! Resource claims around a decision: pods wait outside the queue until their claims exist, a decision takes the devices, and its
//! end (bound or not) settles them.
//!
//! Invariant: devices reserved for a pod stay reserved until the shell has said how its binding ended, even if the pod is gone.

use std::sync::Arc;
use std::time::Duration;

use crate::classes::ClassId;
use crate::cluster::devices::objects::{DeviceClass, ResourceClaim, ResourceSlice};
use crate::cluster::devices::{ClaimToWrite, Demand, PodClaims, placeholder};
use crate::cluster::{NodeId, PodId};
use crate::core::{Core, PodRef};
use crate::diagnosis::Diagnosis;
use crate::events::Event;
use crate::objects::Text;
use crate::plugins::{Reason, Rejection, dynamic_resources};
use crate::queue::Place;

/// What the plugin's PostFilter says of pods without claims, or whose claims do not hold together.
const NOTHING_TO_DEALLOCATE: &str = "no new claims to deallocate";
const STILL_NOT: &str = "still not schedulable";
const DEALLOCATED: &str = "deallocation of ResourceClaim completed";

/// A claim that is to give its devices back, unless somebody else than this pod uses it by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deallocation {
    pub claim: ClaimToWrite,
    /// The pod's uid.
    pub pod: Text,
}

impl Core {
    // ----- what happens in the cluster -----

    pub fn apply_resource_claim(&mut self, claim: ResourceClaim, now: Duration) {
        let key = claim.key();
        let change = self.cluster.set_resource_claim(claim);
        if change.created || change.status_changed {
            self.claim_changed(&key, now);
        }
        if change.deallocated {
            self.devices_changed("ResourceClaimUpdate", now);
        }
    }

    pub fn delete_resource_claim(&mut self, key: &str, now: Duration) {
        if self.cluster.remove_resource_claim(key) {
            self.devices_changed("ResourceClaimDelete", now);
        }
    }

    pub fn apply_slice(&mut self, slice: ResourceSlice, now: Duration) {
        self.cluster.set_slice(slice);
        self.devices_changed("ResourceSliceUpdate", now);
    }

    pub fn delete_slice(&mut self, name: &Text, now: Duration) {
        self.cluster.remove_slice(name);
        self.devices_changed("ResourceSliceDelete", now);
    }

    pub fn apply_device_class(&mut self, class: DeviceClass, now: Duration) {
        self.cluster.set_device_class(class);
        self.devices_changed("DeviceClassUpdate", now);
    }

    pub fn delete_device_class(&mut self, name: &str) {
        self.cluster.remove_device_class(name);
    }

    fn devices_changed(&mut self, label: &'static str, now: Duration) {
        self.tell(&Event::DevicesChanged(label), now);
    }

    /// Pods that name a claim may be queued now, or tried again.
    fn claim_changed(&mut self, key: &str, now: Duration) {
        for pod in self.cluster.devices.users(key) {
            self.reconsider_gate(pod, now);
            let ready = self.claims_hold(pod).is_ok();
            if ready && self.is_rejected_by(pod, dynamic_resources::NAME) {
                self.wake_pod(pod, now);
            }
        }
    }

    fn is_rejected_by(&self, pod: PodId, plugin: &str) -> bool {
        match self.queued_place(pod) {
            Some(Place::Unschedulable { rejectors, .. }) => {
                rejectors.is_empty() || rejectors.contains(&plugin)
            }
            _ => false,
        }
    }

    // ----- before the queue -----

    /// PreEnqueue: the claims that the pod names are there, and its own.
    pub(crate) fn claims_hold(&self, pod: PodId) -> Result<(), String> {
        match &self.cluster.pod(pod).resource_claims {
            Some(claims) if self.plugin_filters(pod, dynamic_resources::NAME) => {
                self.cluster.devices.check_claims(claims)
            }
            _ => Ok(()),
        }
    }

    // ----- decisions -----

    /// PreFilter: what the pod's claims demand; the error is why no node can do.
    pub(crate) fn demand_of(&mut self, pod: PodId) -> Result<Option<Arc<Demand>>, String> {
        let Some(claims) = self.cluster.pod(pod).resource_claims.clone() else {
            return Ok(None);
        };
        match self.plugin_filters(pod, dynamic_resources::NAME) {
            true => self.cluster.devices.demand(&claims),
            false => Ok(None),
        }
    }

    /// The pod's class, up to date, with what its claims demand when they can be read.
    pub(crate) fn class_with_claims(&mut self, pod: PodId, profile: usize) -> ClassId {
        let demand = self.demand_of(pod).ok().flatten();
        let shape = self.cluster.pod(pod).shape;
        self.classes
            .of_demand(&mut self.cluster, &self.profiles, profile, shape, demand)
    }

    /// Reserve.
    pub(crate) fn reserve_devices(
        &mut self,
        pod: PodId,
        class: ClassId,
        node: NodeId,
    ) -> Vec<ClaimToWrite> {
        let Some(claims) = self.cluster.pod(pod).resource_claims.clone() else {
            return Vec::new();
        };
        match self.classes.get(class).plan().demand.clone() {
            Some(demand) => self.cluster.reserve_devices(&claims, &demand, node),
            None => Vec::new(),
        }
    }

    /// The pod's binding came to an end: its claims' status says what it has, or it has nothing.
    pub(crate) fn settle_devices(&mut self, pod: &PodRef, now: Duration) {
        if self.cluster.settle_devices(&pod.uid) {
            self.devices_changed("ResourceClaimUpdate", now);
        }
    }

    /// PostFilter: a claim whose devices are in the wrong place gives them back, if only this pod has it. Completes the diagnosis;
    /// `common`: the pod failed before nodes were looked at.
    pub(crate) fn post_filter_claims(
        &mut self,
        pod: PodId,
        common: bool,
        diagnosis: &mut Diagnosis,
    ) {
        let claims = self.cluster.pod(pod).resource_claims.clone();
        if let Some(claims) = &claims {
            for (rejection, _) in &mut diagnosis.rejections {
                self.name_claims(claims, rejection);
            }
        }
        if !self.plugin_filters(pod, dynamic_resources::NAME) {
            return;
        }
        let said = match claims.filter(|_| !common) {
            None => NOTHING_TO_DEALLOCATE,
            Some(claims) => match self.deallocatable(&claims, diagnosis) {
                Some(claim) => {
                    self.deallocations.push(claim);
                    DEALLOCATED
                }
                None => STILL_NOT,
            },
        };
        diagnosis.preemption = Some(match diagnosis.preemption.take() {
            Some(preemption) => format!("{said}, {preemption}"),
            None => said.to_owned(),
        });
    }

    fn deallocatable(&self, claims: &PodClaims, diagnosis: &Diagnosis) -> Option<Deallocation> {
        let elsewhere = Reason::Text(dynamic_resources::ELSEWHERE);
        let is_elsewhere = |rejection: &Rejection| rejection.reasons.contains(&elsewhere);
        let mut rejections = diagnosis.rejections.iter();
        if !rejections.any(|(rejection, nodes)| *nodes > 0 && is_elsewhere(rejection)) {
            return None;
        }
        let keys: Vec<Text> = claims.keys().collect();
        let known = keys
            .iter()
            .filter_map(|key| self.cluster.devices.claim(key));
        let found = known.into_iter().find(|claim| {
            let pinned = claim.status.allocation.as_ref();
            let pinned = pinned.is_some_and(|allocation| allocation.node_selector.is_some());
            pinned
                && match claim.status.reserved_for.as_slice() {
                    [] => true,
                    [only] => only.uid == claims.uid,
                    _ => false,
                }
        });
        found.map(|claim| Deallocation {
            claim: ClaimToWrite {
                namespace: claim.metadata.namespace.clone(),
                name: claim.metadata.name.clone(),
                uid: claim.metadata.uid.clone(),
                allocation: None,
            },
            pod: claims.uid.clone(),
        })
    }

    /// Claims whose devices are to be given back, since this was asked last.
    pub fn take_deallocations(&mut self) -> Vec<Deallocation> {
        std::mem::take(&mut self.deallocations)
    }

    /// Pods of a class differ in the names of their claims: puts this pod's into the reasons.
    pub(crate) fn name_claims(&self, claims: &PodClaims, rejection: &mut Rejection) {
        let open = claims.keys().filter(|key| {
            let claim = self.cluster.devices.claim(key);
            claim.is_some_and(|claim| claim.status.allocation.is_none())
        });
        let open: Vec<Text> = open.collect();
        for reason in &mut rejection.reasons {
            let Reason::Described(text) = reason else {
                continue;
            };
            for (at, key) in open.iter().enumerate() {
                *text = text.replace(&placeholder(at), key).into();
            }
        }
    }
}
