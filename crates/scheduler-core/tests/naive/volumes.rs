//! Volumes, claim by claim and volume by volume.

use super::*;
use fluyt_scheduler_core::migration;
use fluyt_scheduler_core::objects::{NodeSelector, Volume};
use fluyt_scheduler_core::storage::{
    BIND_COMPLETED, ClaimRef, CsiDriver, CsiNode, CsiStorageCapacity, MIGRATED_PLUGINS,
    PersistentVolume, PersistentVolumeClaim, SELECTED_NODE, StorageClass, VolumeAttachment,
};

/// The objects as the server has them, and what was assumed since.
#[derive(Clone, Default)]
pub struct Storage {
    /// By namespace/name.
    pub claims: BTreeMap<Text, PersistentVolumeClaim>,
    pub volumes: BTreeMap<Text, PersistentVolume>,
    pub classes: BTreeMap<Text, StorageClass>,
    pub csi_nodes: BTreeMap<Text, CsiNode>,
    pub drivers: BTreeMap<Text, CsiDriver>,
    pub capacities: BTreeMap<Text, CsiStorageCapacity>,
    pub attachments: BTreeMap<Text, VolumeAttachment>,
    pub assumed_volumes: BTreeMap<Text, ClaimRef>,
    pub assumed_claims: BTreeMap<Text, Text>,
}

impl Storage {
    fn claim_of(&self, volume: &PersistentVolume) -> Option<ClaimRef> {
        let assumed = self.assumed_volumes.get(&volume.metadata.name);
        assumed.or(volume.spec.claim_ref.as_ref()).cloned()
    }

    fn node_of(&self, claim: &PersistentVolumeClaim) -> Option<Text> {
        let key = format!("{}/{}", claim.metadata.namespace, claim.metadata.name);
        let annotation = claim.metadata.annotations.get(SELECTED_NODE);
        let assumed = self.assumed_claims.get(key.as_str());
        assumed.or(annotation).cloned()
    }
}

/// The name of the claim that a volume is, and whether it was made for the pod.
fn claim_name(pod: &Pod, volume: &Volume) -> Option<(Text, bool)> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some((claim.claim_name.clone(), false)),
        (None, Some(_)) => {
            let name = format!("{}-{}", pod.metadata.name, volume.name);
            Some((name.into(), true))
        }
        (None, None) => None,
    }
}

fn claim<'a>(world: &'a World, pod: &Pod, name: &Text) -> Option<&'a PersistentVolumeClaim> {
    let key = format!("{}/{name}", pod.metadata.namespace);
    world.storage.claims.get(key.as_str())
}

fn claim_names(pod: &Pod) -> Vec<(Text, bool)> {
    let volumes = pod.spec.volumes.iter();
    volumes.filter_map(|one| claim_name(pod, one)).collect()
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    !claim.spec.volume_name.is_empty() && claim.metadata.annotations.get(BIND_COMPLETED).is_some()
}

fn waits(world: &World, claim: &PersistentVolumeClaim) -> bool {
    let class = world.storage.classes.get(claim.class());
    class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
        && claim.spec.volume_name.is_empty()
}

/// Why no node will do.
pub fn prefilter(world: &World, pod: &Pod) -> Option<String> {
    for (name, ephemeral) in claim_names(pod) {
        if !ephemeral && claim(world, pod, &name).is_none() {
            return Some(format!("persistentvolumeclaim \"{name}\" not found"));
        }
    }
    for (name, ephemeral) in claim_names(pod) {
        let Some(one) = claim(world, pod, &name) else {
            return Some(format!(
                "waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\""
            ));
        };
        if one.status.phase == "Lost" {
            return Some(format!(
                "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{}\"",
                one.spec.volume_name
            ));
        }
        if one.metadata.deletion_timestamp.is_some() {
            return Some(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        let owner = one.metadata.owner_references.iter().find(|o| o.controller);
        if ephemeral && owner.map(|owner| &owner.uid) != Some(&pod.metadata.uid) {
            let (namespace, pod) = (&pod.metadata.namespace, &pod.metadata.name);
            return Some(format!(
                "PVC {namespace}/{name} was not created for pod {namespace}/{pod} (pod is not owner)"
            ));
        }
    }
    for (name, _) in claim_names(pod) {
        let one = claim(world, pod, &name)?;
        if !is_bound(one) && !waits(world, one) {
            return Some("pod has unbound immediate PersistentVolumeClaims".into());
        }
    }
    for (name, ephemeral) in claim_names(pod) {
        let one = claim(world, pod, &name)?;
        let volume = &one.spec.volume_name;
        if !ephemeral && !volume.is_empty() && !world.storage.volumes.contains_key(volume) {
            return Some(format!("persistentvolume \"{volume}\" not found"));
        }
    }
    None
}

pub fn filter_volumes(world: &World, pod: &Pod, node: &Node) -> Vec<String> {
    let text = |reason: &str| vec![reason.to_owned()];
    if disk_conflict(world, pod, node) {
        return text("node(s) had no available disk");
    }
    if exclusive_claim_in_use(world, pod) {
        return text(
            "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",
        );
    }
    if too_many(world, pod, node) {
        return text("node(s) exceed max volume count");
    }
    let reasons = binding(world, pod, node);
    if !reasons.is_empty() {
        return reasons;
    }
    if elsewhere(world, pod, node) {
        return text("node(s) had no available volume zone");
    }
    Vec::new()
}

pub fn lacks_features(pod: &Pod, node: &Node) -> bool {
    let declares = |name: &str| node.status.declared_features.iter().any(|own| own == name);
    let mut containers = pod.spec.containers.iter();
    let restarts = containers.any(|container| {
        let mut rules = container.restart_policy_rules.iter();
        rules.any(|rule| rule.action == "RestartAllContainers")
    });
    restarts && !declares("RestartAllContainersOnContainerExits")
        || pod.spec.host_network
            && pod.spec.host_users == Some(false)
            && !declares("UserNamespacesHostNetworkSupport")
}

fn disk_conflict(world: &World, pod: &Pod, node: &Node) -> bool {
    let conflict = |a: &Volume, b: &Volume| {
        let gce = match (&a.gce_persistent_disk, &b.gce_persistent_disk) {
            (Some(a), Some(b)) => a.pd_name == b.pd_name && !(a.read_only && b.read_only),
            _ => false,
        };
        let aws = match (&a.aws_elastic_block_store, &b.aws_elastic_block_store) {
            (Some(a), Some(b)) => a.volume_id == b.volume_id,
            _ => false,
        };
        let iscsi = match (&a.iscsi, &b.iscsi) {
            (Some(a), Some(b)) => a.iqn == b.iqn && !(a.read_only && b.read_only),
            _ => false,
        };
        gce || aws || iscsi
    };
    on(world, node).any(|other| {
        let pairs = pod.spec.volumes.iter();
        let mut pairs = pairs.flat_map(|a| other.spec.volumes.iter().map(move |b| (a, b)));
        pairs.any(|(a, b)| conflict(a, b))
    })
}

fn exclusive_claim_in_use(world: &World, pod: &Pod) -> bool {
    let users = |name: &Text| {
        world.placed.values().any(|(other, at)| {
            world.nodes.contains_key(at)
                && other.metadata.namespace == pod.metadata.namespace
                && claim_names(other).contains(&(name.clone(), false))
        })
    };
    claim_names(pod).iter().any(|(name, ephemeral)| {
        let exclusive = claim(world, pod, name).is_some_and(|one| {
            let mut modes = one.spec.access_modes.iter();
            modes.any(|mode| mode == "ReadWriteOncePod")
        });
        !ephemeral && exclusive && users(name)
    })
}

/// Driver and handle of everything that a pod has attached.
fn attached(world: &World, pod: &Pod) -> BTreeSet<(Text, Text)> {
    let mut all = BTreeSet::new();
    for volume in &pod.spec.volumes {
        let Some((name, _)) = claim_name(pod, volume) else {
            let source = volume.in_tree();
            let plugin = migration::plugin_of(&source);
            let handle = migration::handle_of(&source, &Labels::default());
            if let (Some(plugin), Some(handle)) = (plugin, handle) {
                all.insert((Text::from(plugin.driver()), handle));
            }
            continue;
        };
        let Some(one) = claim(world, pod, &name) else {
            continue;
        };
        match world.storage.volumes.get(&one.spec.volume_name) {
            Some(volume) => {
                let source = volume.in_tree();
                let plugin = migration::plugin_of(&source);
                let handle = migration::handle_of(&source, &volume.metadata.labels);
                if let Some(csi) = &volume.spec.csi {
                    all.insert((csi.driver.clone(), csi.volume_handle.clone()));
                } else if let (Some(plugin), Some(handle)) = (plugin, handle) {
                    all.insert((plugin.driver().into(), handle));
                }
            }
            None => {
                let class = world.storage.classes.get(one.class());
                let driver = class.map(|class| match class.provisioner.as_str() {
                    "kubernetes.io/aws-ebs" => "ebs.csi.aws.com".into(),
                    other => Text::from(other),
                });
                let handle = format!("to be made for {}/{name}", pod.metadata.namespace);
                all.extend(driver.map(|driver| (driver, handle.into())));
            }
        }
    }
    all
}

fn too_many(world: &World, pod: &Pod, node: &Node) -> bool {
    let name = &node.metadata.name;
    let Some(csi_node) = world.storage.csi_nodes.get(name) else {
        return false;
    };
    let there: BTreeSet<(Text, Text)> = on(world, node)
        .flat_map(|pod| attached(world, pod))
        .collect();
    let mut others = BTreeSet::new();
    for attachment in world.storage.attachments.values() {
        let spec = &attachment.spec;
        let volume = spec.source.persistent_volume_name.as_ref();
        let volume = volume.and_then(|volume| world.storage.volumes.get(volume));
        let csi = volume.and_then(|volume| volume.spec.csi.as_ref());
        if let (true, Some(csi)) = (spec.node_name == *name, csi) {
            others.insert((spec.attacher.clone(), csi.volume_handle.clone()));
        }
    }
    let new = attached(world, pod);
    csi_node.spec.drivers.iter().any(|driver| {
        let limit = driver.allocatable.as_ref().and_then(|one| one.count);
        let new = new.difference(&there);
        let new = new.filter(|(own, _)| *own == driver.name).count();
        let all = there.union(&others);
        let all = all.filter(|(own, _)| *own == driver.name).count();
        limit.is_some_and(|limit| new > 0 && (all + new) as i64 > limit)
    })
}

fn selector_matches(selector: Option<&NodeSelector>, node: &Node) -> bool {
    let mut nameless = node.clone();
    nameless.metadata.name = Text::default();
    selector.is_none_or(|selector| {
        let mut terms = selector.node_selector_terms.iter();
        terms.any(|term| term_matches(term, &nameless))
    })
}

/// The volume's affinity as this node sees it.
fn reaches(world: &World, volume: &PersistentVolume, node: &Node) -> bool {
    let csi_node = world.storage.csi_nodes.get(&node.metadata.name);
    let list = csi_node.and_then(|one| one.metadata.annotations.get(MIGRATED_PLUGINS));
    let migrated = migration::plugin_of(&volume.in_tree())
        .filter(|plugin| list.is_some_and(|list| list.split(',').any(|one| one == plugin.name())));
    match migrated {
        Some(plugin) => {
            let labels = &volume.metadata.labels;
            let affinity = migration::translated_affinity(plugin, labels, volume.affinity());
            selector_matches(affinity.as_ref(), node)
        }
        None => selector_matches(volume.affinity(), node),
    }
}

fn storage_amount(text: Option<&Text>) -> i64 {
    text.map_or(0, |text| quantity("storage", text))
}

fn requested(claim: &PersistentVolumeClaim) -> i64 {
    storage_amount(claim.spec.resources.requests.get("storage"))
}

fn is_for(reference: &ClaimRef, claim: &PersistentVolumeClaim) -> bool {
    let meta = &claim.metadata;
    reference.name == meta.name
        && reference.namespace == meta.namespace
        && (reference.uid.is_empty() || reference.uid == meta.uid)
}

/// The volume for a claim on a node: the one that is meant for it, else the smallest that is free and fits.
fn find<'a>(
    world: &'a World,
    claim: &PersistentVolumeClaim,
    node: &Node,
    taken: &[Text],
) -> Option<&'a PersistentVolume> {
    let mut smallest: Option<(i64, &PersistentVolume)> = None;
    for volume in world.storage.volumes.values() {
        let reference = world.storage.claim_of(volume);
        let meant = reference.as_ref().is_some_and(|one| is_for(one, claim));
        let size = storage_amount(volume.spec.capacity.get("storage"));
        let mode = |mode: &Option<Text>| mode.clone().unwrap_or("Filesystem".into());
        if taken.contains(&volume.metadata.name)
            || volume.class().as_str() != claim.class()
            || reference.is_some() && !meant
            || size < requested(claim)
            || mode(&volume.spec.volume_mode) != mode(&claim.spec.volume_mode)
            || volume.spec.volume_attributes_class_name != claim.spec.volume_attributes_class_name
            || volume.metadata.deletion_timestamp.is_some()
        {
            continue;
        }
        let near = selector_matches(volume.affinity(), node);
        if meant {
            return near.then_some(volume);
        }
        let selector = claim.spec.selector.as_ref();
        let labels = &volume.metadata.labels;
        let mut modes = claim.spec.access_modes.iter();
        if volume.status.phase == "Available"
            && near
            && selector.is_none_or(|one| picks(Some(one), labels))
            && modes.all(|mode| volume.spec.access_modes.contains(mode))
            && smallest.is_none_or(|(least, _)| size < least)
        {
            smallest = Some((size, volume));
        }
    }
    smallest.map(|(_, volume)| volume)
}

/// Volumes by claim, and claims to be provisioned.
pub type Given = (BTreeMap<Text, Text>, BTreeSet<Text>);
/// (No volume and no provisioner, not enough space).
pub type Lacking = (bool, bool);

/// What the claims get: volumes by claim, and claims to be provisioned, by key; or the reasons why they do not.
pub fn bind(world: &World, pod: &Pod, node: &Node) -> Result<Given, Lacking> {
    let mut names: Vec<Text> = Vec::new();
    for (name, _) in claim_names(pod) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let claims = names.iter().filter_map(|name| claim(world, pod, name));
    let mut unbound: Vec<&PersistentVolumeClaim> = claims
        .filter(|one| !is_bound(one) && waits(world, one))
        .collect();
    let key = |one: &PersistentVolumeClaim| {
        Text::from(format!("{}/{}", one.metadata.namespace, one.metadata.name))
    };
    let mut provisions: Vec<&PersistentVolumeClaim> = Vec::new();
    for one in &unbound {
        match world.storage.node_of(one) {
            Some(at) if at != node.metadata.name => return Err((true, false)),
            Some(_) => provisions.push(one),
            None => {}
        }
    }
    unbound.retain(|one| world.storage.node_of(one).is_none());
    unbound.sort_by_key(|one| requested(one));
    let (mut bindings, mut taken) = (BTreeMap::new(), Vec::new());
    for one in unbound {
        match find(world, one, node, &taken) {
            Some(volume) => {
                taken.push(volume.metadata.name.clone());
                bindings.insert(key(one), volume.metadata.name.clone());
            }
            None => provisions.push(one),
        }
    }
    for one in &provisions {
        provision(world, one, node)?;
    }
    Ok((bindings, provisions.into_iter().map(key).collect()))
}

/// Errors: (no provisioner for this node, not enough space).
fn provision(
    world: &World,
    claim: &PersistentVolumeClaim,
    node: &Node,
) -> Result<(), (bool, bool)> {
    let class = &world.storage.classes[claim.class()];
    let labels = &node.metadata.labels;
    let allowed = class.allowed_topologies.is_empty()
        || class.allowed_topologies.iter().any(|term| {
            let mut all = term.match_label_expressions.iter();
            !term.match_label_expressions.is_empty()
                && all.all(|one| labels.get(&one.key).is_some_and(|v| one.values.contains(v)))
        });
    if class.provisioner == "kubernetes.io/no-provisioner" || !allowed {
        return Err((true, false));
    }
    let driver = world.storage.drivers.get(&class.provisioner);
    let reports = driver.is_some_and(|driver| driver.spec.storage_capacity);
    let room = world.storage.capacities.values().any(|capacity| {
        let size = capacity.maximum_volume_size.as_ref();
        let size = size.or(capacity.capacity.as_ref());
        capacity.storage_class_name == class.metadata.name
            && size.is_some_and(|size| quantity("storage", size) >= requested(claim))
            && picks(capacity.node_topology.as_ref(), labels)
    });
    let asks = claim.spec.resources.requests.contains("storage");
    match asks && reports && !room {
        true => Err((false, true)),
        false => Ok(()),
    }
}

fn binding(world: &World, pod: &Pod, node: &Node) -> Vec<String> {
    let (mut conflict, mut missing) = (false, false);
    for (name, _) in claim_names(pod) {
        let Some(one) = claim(world, pod, &name).filter(|one| is_bound(one)) else {
            continue;
        };
        match world.storage.volumes.get(&one.spec.volume_name) {
            None => missing = true,
            Some(volume) => conflict = !reaches(world, volume, node),
        }
        if conflict || missing {
            break;
        }
    }
    let (no_volume, no_space) = bind(world, pod, node).err().unwrap_or_default();
    let reasons = [
        (
            conflict,
            "node(s) didn't match PersistentVolume's node affinity",
        ),
        (
            no_volume,
            "node(s) didn't find available persistent volumes to bind",
        ),
        (no_space, "node(s) did not have enough free storage"),
        (
            missing,
            "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
        ),
    ];
    let reasons = reasons.into_iter().filter(|(applies, _)| *applies);
    reasons.map(|(_, text)| text.to_owned()).collect()
}

fn elsewhere(world: &World, pod: &Pod, node: &Node) -> bool {
    let labels = &node.metadata.labels;
    let keys = [
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
    ];
    if !keys.iter().any(|key| labels.contains(key)) {
        return false;
    }
    claim_names(pod).iter().any(|(name, ephemeral)| {
        let one = claim(world, pod, name);
        let volume = one.and_then(|one| world.storage.volumes.get(&one.spec.volume_name));
        let wrong = |volume: &PersistentVolume| {
            keys.iter().any(|key| {
                let Some(zones) = volume.metadata.labels.get(key) else {
                    return false;
                };
                let zones: Vec<&str> = zones.split("__").map(str::trim).collect();
                if zones.contains(&"") {
                    return false;
                }
                let current = key.replace("failure-domain.beta", "topology");
                let own = labels.get(key).or_else(|| labels.get(&current));
                !own.is_some_and(|own| zones.contains(&own.as_str()))
            })
        };
        !ephemeral && volume.is_some_and(wrong)
    })
}
