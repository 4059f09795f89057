//! What a pod in flight has assumed about volumes: which it is given, and where its claims are provisioned.
//!
//! An assumption lasts until the server shows a newer state of the object, or until it is taken back.

use super::{Claim, Volume, claim_key};
use crate::cluster::{Cluster, NodeId, PodId};
use crate::objects::Text;
use crate::storage::ClaimRef;
use crate::volumes::{self, Given};

/// What has to be written before a pod can be bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeBindings {
    pub namespace: Text,
    pub volumes: Vec<StaticBinding>,
    pub claims: Vec<Provision>,
}

/// A volume that is given to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticBinding {
    pub volume: Text,
    /// Of the volume: what the decision was made from; after the write, what the server answered.
    pub resource_version: Text,
    pub claim: ClaimRef,
    pub claim_resource_version: Text,
    /// The volume was not meant for this claim before, so it is marked as bound by a controller.
    pub by_controller: bool,
    /// Nothing has to be written: a user, or an earlier attempt, has done it.
    pub written: bool,
}

/// A claim that is to be provisioned on the pod's node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provision {
    pub claim: Text,
    /// As above.
    pub resource_version: Text,
}

/// How far the bindings of a pod are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Waiting,
    Bound,
    /// It must be decided again.
    Failed(String),
}

impl Cluster {
    /// Assumes what the pod's claims get on this node; `None`: they are all bound.
    pub(crate) fn reserve_volumes(&mut self, pod: PodId, node: NodeId) -> Option<VolumeBindings> {
        let spec = self.pod_spec(pod).clone();
        if spec.claims.is_empty() {
            return None;
        }
        let namespace = self.pod_identity(pod).namespace.clone();
        let (selected, wanted) = volumes::named(self, &namespace, &spec);
        if selected.is_empty() && wanted.is_empty() {
            return None;
        }
        let given = volumes::give(
            self,
            selected.iter().map(|(_, one)| &one.wanted),
            wanted.iter().map(|one| &one.wanted),
            &self.nodes.entry(node).facts.labels,
        );
        let given = given.unwrap_or_default();
        let mut bindings = VolumeBindings {
            namespace,
            ..VolumeBindings::default()
        };
        for (_, one) in &selected {
            bindings.claims.extend(self.assume_claim(&one.key, node));
        }
        for (one, given) in wanted.into_iter().zip(given) {
            let volume = match given {
                Given::Meant => one.meant,
                Given::Volume(name) => Some(name),
                Given::Provisioned => None,
            };
            match volume {
                Some(volume) => bindings
                    .volumes
                    .extend(self.assume_volume(&volume, &one.key)),
                None => bindings.claims.extend(self.assume_claim(&one.key, node)),
            }
        }
        self.volumes.reserved.insert(pod, bindings.clone());
        Some(bindings)
    }

    fn assume_claim(&mut self, key: &Text, node: NodeId) -> Option<Provision> {
        let name = self.nodes.name(node).clone();
        let claim = self.volumes.claims.get_mut(key)?;
        claim.assumed_node = Some(name);
        Some(Provision {
            claim: claim.name.clone(),
            resource_version: claim.resource_version.clone(),
        })
    }

    fn assume_volume(&mut self, name: &Text, claim: &Text) -> Option<StaticBinding> {
        let claim = self.volumes.claims.get(claim)?;
        let (reference, version) = (claim.reference(), claim.resource_version.clone());
        let volume = self.volumes.volumes.get(name)?;
        let by_controller = !volume.is_for(claim);
        let binding = StaticBinding {
            volume: name.clone(),
            resource_version: volume.resource_version.clone(),
            written: volume.claim.as_ref() == Some(&reference),
            claim: reference.clone(),
            claim_resource_version: version,
            by_controller,
        };
        let assumed = Volume {
            assumed: Some(reference),
            ..volume.clone()
        };
        self.replace_volume(name, Some(assumed));
        Some(binding)
    }

    /// Takes back what a pod has assumed and the server has not confirmed.
    pub(crate) fn revert_volumes(&mut self, pod: PodId) {
        let Some(bindings) = self.volumes.reserved.remove(&pod) else {
            return;
        };
        for binding in bindings.volumes {
            let volume = self.volumes.volumes.get(&binding.volume);
            let Some(volume) = volume.filter(|volume| {
                volume.assumed.is_some() && volume.resource_version == binding.resource_version
            }) else {
                continue;
            };
            let reverted = Volume {
                assumed: None,
                ..volume.clone()
            };
            self.replace_volume(&binding.volume, Some(reverted));
        }
        for provision in bindings.claims {
            let key = claim_key(&bindings.namespace, &provision.claim);
            if let Some(claim) = self.volumes.claims.get_mut(&key) {
                claim.assumed_node = None;
            }
        }
    }

    /// The pod is bound: what it assumed is true, or will be seen to be otherwise.
    pub(crate) fn keep_volumes(&mut self, pod: PodId) {
        self.volumes.reserved.remove(&pod);
    }

    /// How far the volumes of a pod are that is to run on this node; `bindings` as written.
    pub fn volume_progress(&self, bindings: &VolumeBindings, node: &str) -> Progress {
        let Some(node) = self.nodes.id(node) else {
            return Progress::Failed(format!("failed to get node \"{node}\": node not found"));
        };
        let volumes = bindings.volumes.iter();
        let volumes = volumes.map(|binding| self.static_progress(binding, node));
        let claims = bindings.claims.iter();
        let claims = claims.map(|one| self.provision_progress(&bindings.namespace, one, node));
        volumes
            .chain(claims)
            .find(|progress| *progress != Progress::Bound)
            .unwrap_or(Progress::Bound)
    }

    fn static_progress(&self, binding: &StaticBinding, node: NodeId) -> Progress {
        let name = &binding.volume;
        let Some(volume) = self.volumes.volumes.get(name) else {
            let why = format!("failed to check binding: persistentvolume \"{name}\" not found");
            return Progress::Failed(why);
        };
        let key = claim_key(&binding.claim.namespace, &binding.claim.name);
        let Some(claim) = self.volumes.claims.get(&key) else {
            let why = format!("failed to check binding: persistentvolumeclaim \"{key}\" not found");
            return Progress::Failed(why);
        };
        if is_older(&volume.resource_version, &binding.resource_version) {
            return Progress::Waiting;
        }
        if let Err(why) = self.check_affinity(volume, node) {
            return Progress::Failed(why);
        }
        let kept = volume.claim.as_ref().is_some_and(|own| !own.uid.is_empty());
        if !kept {
            return Progress::Failed(format!("ClaimRef got reset for pv \"{name}\""));
        }
        bound(claim)
    }

    fn provision_progress(&self, namespace: &str, provision: &Provision, node: NodeId) -> Progress {
        let key = claim_key(namespace, &provision.claim);
        let name = &provision.claim;
        let Some(claim) = self.volumes.claims.get(&key) else {
            return Progress::Failed(format!(
                "failed to check provisioning pvc: persistentvolumeclaim \"{key}\" not found"
            ));
        };
        if is_older(&claim.resource_version, &provision.resource_version) {
            return Progress::Waiting;
        }
        if claim.selected_node.as_ref() != Some(self.nodes.name(node)) {
            return Progress::Failed(format!("provisioning failed for PVC \"{name}\""));
        }
        if !claim.volume_name.is_empty() {
            let Some(volume) = self.volumes.volumes.get(&claim.volume_name) else {
                return Progress::Waiting;
            };
            if let Err(why) = self.check_affinity(volume, node) {
                return Progress::Failed(why);
            }
        }
        bound(claim)
    }

    fn check_affinity(&self, volume: &Volume, node: NodeId) -> Result<(), String> {
        let entry = self.nodes.entry(node);
        let migrated = volume.migrated.as_ref().filter(|migrated| {
            let csi_node = self.volumes.csi_nodes.get(&entry.name);
            csi_node.is_some_and(|csi_node| csi_node.migrated.contains(&migrated.plugin))
        });
        let own = &volume.offer.affinity;
        let affinity = migrated.map_or(own, |migrated| &migrated.affinity);
        match super::pools::affinity_matches(affinity.as_ref(), &entry.facts.labels) {
            true => Ok(()),
            false => Err(format!(
                "pv \"{}\" node affinity doesn't match node \"{}\": no matching NodeSelectorTerms",
                volume.name, entry.name
            )),
        }
    }
}

fn bound(claim: &Claim) -> Progress {
    match claim.is_bound() {
        true => Progress::Bound,
        false => Progress::Waiting,
    }
}

/// The cache has not yet seen what the server answered.
fn is_older(seen: &Text, written: &Text) -> bool {
    match (seen.parse::<u64>(), written.parse::<u64>()) {
        (Ok(seen), Ok(written)) => seen < written,
        _ => false,
    }
}
