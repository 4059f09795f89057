//! What a pod's claims come down to: a value that pods share whose claims look alike, so that they form one class.
//!
//! Names of claims and volumes are not in it: a bound volume counts by its affinity and zones, a claim without a volume by what it
//! wants, and what will be attached by the number for each driver, as long as nobody else has it attached. It is worked out anew for
//! each decision (a few look-ups for each claim), so nothing has to tell classes when a claim or a bound volume changes.

use crate::cluster::volumes::{Claim, Migrated, Volume, claim_key, index, pools};
use crate::cluster::{Cluster, KeyId, NodeId};
use crate::labels::{Labels, Selector};
use crate::objects::{NodeSelector, Text};
use crate::plugins::{node_volume_limits, volume_binding, volume_restrictions, volume_zone};
use crate::profile::Profile;
use crate::spec::{ClaimUse, Identity, Spec};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VolumePlan {
    /// Of classes and drivers, which are read when a node is looked at; 0 without claims.
    pub epoch: u64,
    /// Volumes of bound claims, in the pod's order.
    pub bound: Vec<Bound>,
    /// Claims that are to be provisioned on a node that was chosen before.
    pub selected: Vec<(Text, WantedClaim)>,
    /// Claims that wait for a first consumer, by size.
    pub wanted: Vec<WantedClaim>,
    pub zones: Vec<volume_zone::Zone>,
    /// ReadWriteOncePod claims that a placed pod uses.
    pub exclusive: Vec<Text>,
    pub attach: Vec<Attach>,
    /// Only these nodes can do; for finding them fast.
    pub narrow: Narrow,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    Volume {
        affinity: Option<NodeSelector>,
        migrated: Option<Migrated>,
    },
    Missing,
}

/// What a claim asks of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WantedClaim {
    pub class: Text,
    pub bytes: Option<i64>,
    pub block: bool,
    pub modes: u8,
    pub selector: Option<Selector>,
    pub attributes_class: Text,
    /// There is a volume that is meant for it, with this affinity: no other is looked at, but one may be made elsewhere.
    pub meant: Option<Option<NodeSelector>>,
}

/// Volumes of one driver that the pod brings to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attach {
    pub driver: Text,
    /// Those that nobody else has attached anywhere.
    pub fresh: usize,
    /// The others, by handle.
    pub handles: Vec<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Narrow {
    #[default]
    All,
    Node(Text),
    Labels(Vec<(KeyId, Text)>),
}

impl Narrow {
    /// `None`: all nodes.
    pub fn nodes(&self, cluster: &Cluster) -> Option<Vec<NodeId>> {
        let mut nodes: Vec<NodeId> = match self {
            Self::All => return None,
            Self::Node(name) => cluster.nodes.id(name).into_iter().collect(),
            Self::Labels(labels) => labels
                .iter()
                .flat_map(|(key, value)| cluster.key(*key).members_of(value))
                .copied()
                .collect(),
        };
        nodes.sort_unstable();
        nodes.dedup();
        Some(nodes)
    }
}

/// A claim that wants a volume, by name.
pub struct Named {
    pub key: Text,
    pub wanted: WantedClaim,
    /// The volume that is meant for it.
    pub meant: Option<Text>,
}

/// What a claim that waits for a first consumer gets on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// The volume that is meant for it.
    Meant,
    Volume(Text),
    Provisioned,
}

/// Reasons against a node, upstream's names in its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conflicts {
    pub node: bool,
    pub bind: bool,
    pub space: bool,
    pub missing: bool,
}

/// Why no node at all will do (upstream: a PreFilter that says UnschedulableAndUnresolvable).
pub fn rejection(
    cluster: &Cluster,
    profile: &Profile,
    identity: &Identity,
    spec: &Spec,
) -> Option<(&'static str, String)> {
    let namespace = &identity.namespace;
    let claim = |one: &ClaimUse| cluster.volumes.claim(&claim_key(namespace, &one.name));
    if profile.filters(volume_restrictions::NAME) {
        let mut direct = spec.claims.iter().filter(|one| one.owner.is_none());
        if let Some(one) = direct.find(|one| claim(one).is_none()) {
            return Some((volume_restrictions::NAME, not_found(&one.name)));
        }
    }
    if profile.filters(volume_binding::NAME)
        && let Some(why) = binding_rejection(cluster, namespace, spec)
    {
        return Some((volume_binding::NAME, why));
    }
    if profile.filters(volume_zone::NAME)
        && let Some(why) = volume_zone::rejection(cluster, namespace, spec)
    {
        return Some((volume_zone::NAME, why));
    }
    None
}

pub fn not_found(claim: &str) -> String {
    format!("persistentvolumeclaim \"{claim}\" not found")
}

fn binding_rejection(cluster: &Cluster, namespace: &str, spec: &Spec) -> Option<String> {
    let claim = |one: &ClaimUse| cluster.volumes.claim(&claim_key(namespace, &one.name));
    let claim_of = |one: &ClaimUse| match claim(one) {
        Some(claim) => unusable(one, claim, namespace),
        None if one.owner.is_some() => Some(format!(
            "waiting for ephemeral volume controller to create the persistentvolumeclaim \"{}\"",
            one.name
        )),
        None => Some(not_found(&one.name)),
    };
    if let Some(why) = spec.claims.iter().find_map(claim_of) {
        return Some(why);
    }
    let mut claims = spec.claims.iter().filter_map(claim);
    let unbound = claims.any(|claim| !claim.is_bound() && !waits(cluster, claim));
    unbound.then(|| "pod has unbound immediate PersistentVolumeClaims".to_owned())
}

fn unusable(one: &ClaimUse, claim: &Claim, namespace: &str) -> Option<String> {
    let name = &one.name;
    if claim.lost {
        let volume = &claim.volume_name;
        return Some(format!(
            "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\""
        ));
    }
    if claim.deleting {
        return Some(format!("persistentvolumeclaim \"{name}\" is being deleted"));
    }
    match &one.owner {
        Some((pod, uid)) if claim.owner.as_ref() != Some(uid) => Some(format!(
            "PVC {namespace}/{name} was not created for pod {namespace}/{pod} (pod is not owner)"
        )),
        _ => None,
    }
}

/// The claim is unbound and waits for a pod to be placed.
pub fn waits(cluster: &Cluster, claim: &Claim) -> bool {
    claim.volume_name.is_empty()
        && cluster
            .volumes
            .class(&claim.class)
            .is_some_and(|class| class.waits)
}

/// The claims of a pod that want a volume: those with a node that was chosen before, and the others by size. A claim that the pod
/// names twice counts once; upstream would give it two volumes, of which its controller then takes one back.
pub fn named(cluster: &Cluster, namespace: &str, spec: &Spec) -> (Vec<(Text, Named)>, Vec<Named>) {
    let (mut selected, mut wanted) = (Vec::new(), Vec::new());
    for (at, one) in spec.claims.iter().enumerate() {
        let key = claim_key(namespace, &one.name);
        let Some(claim) = cluster.volumes.claim(&key) else {
            continue;
        };
        let mut before = spec.claims[..at].iter();
        if before.any(|other| other.name == one.name) || claim.is_bound() || !waits(cluster, claim)
        {
            continue;
        }
        let mut named = Named::of(key, claim);
        match claim.node() {
            Some(node) => selected.push((node.clone(), named)),
            None => {
                named.find_meant(cluster, claim);
                wanted.push(named);
            }
        }
    }
    wanted.sort_by_key(|one| one.wanted.bytes.unwrap_or(0));
    (selected, wanted)
}

impl Named {
    fn of(key: Text, claim: &Claim) -> Self {
        Self {
            key,
            wanted: WantedClaim {
                class: claim.class.clone(),
                bytes: claim.requested,
                block: claim.block,
                modes: claim.modes,
                selector: claim.selector.clone(),
                attributes_class: claim.attributes_class.clone(),
                meant: None,
            },
            meant: None,
        }
    }

    fn find_meant(&mut self, cluster: &Cluster, claim: &Claim) {
        let meant = cluster.volumes.claimed_by(&self.key).find(|volume| {
            volume.is_for(claim)
                && volume.class == claim.class
                && volume.offer.holds(&self.wanted)
                && !volume.deleting
        });
        if let Some(volume) = meant {
            self.wanted.meant = Some(volume.offer.affinity.clone());
            self.meant = Some(volume.name.clone());
        }
    }
}

/// The plan of a pod's volumes.
pub fn plan(
    cluster: &mut Cluster,
    profile: &Profile,
    identity: &Identity,
    spec: &Spec,
) -> VolumePlan {
    let mut plan = VolumePlan::default();
    let namespace = &identity.namespace;
    if profile.filters(node_volume_limits::NAME) {
        plan.attach = attach(cluster, namespace, spec);
    }
    if spec.claims.is_empty() {
        return plan;
    }
    if profile.filters(volume_binding::NAME) {
        plan_binding(cluster, namespace, spec, &mut plan);
        plan.narrow = plan.narrowest(cluster);
    }
    if profile.filters(volume_zone::NAME) {
        plan.zones = volume_zone::zones(cluster, namespace, spec);
    }
    if profile.filters(volume_restrictions::NAME) {
        plan.exclusive = volume_restrictions::exclusive(cluster, namespace, spec);
    }
    plan.epoch = cluster.volumes.epoch();
    plan
}

fn plan_binding(cluster: &mut Cluster, namespace: &str, spec: &Spec, plan: &mut VolumePlan) {
    for one in &spec.claims {
        let claim = cluster.volumes.claim(&claim_key(namespace, &one.name));
        let Some(claim) = claim.filter(|claim| claim.is_bound()) else {
            continue;
        };
        let volume = cluster.volumes.volume(&claim.volume_name);
        let bound = volume.map_or(Bound::Missing, Bound::of);
        if plan.bound.last() != Some(&bound) {
            plan.bound.push(bound);
        }
    }
    let (selected, wanted) = named(cluster, namespace, spec);
    let selected = selected.into_iter().map(|(node, one)| (node, one.wanted));
    plan.selected = selected.collect();
    plan.wanted = wanted.into_iter().map(|one| one.wanted).collect();
    cluster.volumes.want(plan.wanted.len());
}

impl Bound {
    fn of(volume: &Volume) -> Self {
        Self::Volume {
            affinity: volume.offer.affinity.clone(),
            migrated: volume
                .migrated
                .clone()
                .filter(|migrated| migrated.affinity != volume.offer.affinity),
        }
    }
}

fn attach(cluster: &Cluster, namespace: &str, spec: &Spec) -> Vec<Attach> {
    let mut seen: Vec<(Text, Text, bool)> = Vec::new();
    for one in &spec.claims {
        let key = claim_key(namespace, &one.name);
        if let Some((handle, alone)) = cluster.volumes.attached.handle(&key) {
            seen.push((handle.driver.clone(), handle.handle.clone(), alone));
        }
    }
    let inline = spec.attached.iter();
    seen.extend(inline.map(|(driver, handle)| (driver.clone(), handle.clone(), false)));
    seen.sort_unstable();
    seen.dedup_by(|a, b| a.0 == b.0 && a.1 == b.1);
    let mut all: Vec<Attach> = Vec::new();
    for (driver, handle, alone) in seen {
        if all.last().is_none_or(|last| last.driver != driver) {
            all.push(Attach {
                driver,
                ..Attach::default()
            });
        }
        if let Some(last) = all.last_mut() {
            match alone {
                true => last.fresh += 1,
                false => last.handles.push(handle),
            }
        }
    }
    all
}

impl VolumePlan {
    /// The binding plugin has something to say.
    pub fn binds(&self) -> bool {
        !(self.bound.is_empty() && self.selected.is_empty() && self.wanted.is_empty())
    }

    /// The smallest set of nodes outside which nothing can do.
    fn narrowest(&self, cluster: &mut Cluster) -> Narrow {
        if let Some((node, _)) = self.selected.first() {
            return Narrow::Node(node.clone());
        }
        let bound = self.bound.iter().filter_map(|bound| match bound {
            Bound::Volume {
                affinity: Some(affinity),
                migrated: None,
            } => Some(affinity),
            _ => None,
        });
        let mut best: Option<(usize, Vec<(KeyId, Text)>)> = None;
        for pairs in bound.filter_map(|affinity| index::needed_by_affinity(Some(affinity))) {
            let mut labels = Vec::new();
            let mut nodes = 0;
            for (key, value) in pairs {
                let key = cluster.intern_key(&key);
                nodes += cluster.key(key).members_of(&value).len();
                labels.push((key, value));
            }
            if best.as_ref().is_none_or(|(most, _)| nodes < *most) {
                best = Some((nodes, labels));
            }
        }
        best.map_or(Narrow::All, |(_, labels)| Narrow::Labels(labels))
    }

    /// What speaks against a node.
    pub fn conflicts(&self, cluster: &Cluster, node: NodeId) -> Conflicts {
        let entry = cluster.nodes.entry(node);
        let labels = &entry.facts.labels;
        let mut conflicts = Conflicts::default();
        let csi_node = cluster.volumes.csi_node(&entry.name);
        for bound in &self.bound {
            let Bound::Volume { affinity, migrated } = bound else {
                conflicts.missing = true;
                break;
            };
            let there = migrated.as_ref().filter(|migrated| {
                csi_node.is_some_and(|csi_node| csi_node.migrated.contains(&migrated.plugin))
            });
            let affinity = there.map_or(affinity, |migrated| &migrated.affinity);
            if !pools::affinity_matches(affinity.as_ref(), labels) {
                conflicts.node = true;
                break;
            }
        }
        if self.selected.iter().any(|(name, _)| *name != entry.name) {
            conflicts.bind = true;
            return conflicts;
        }
        let selected = self.selected.iter().map(|(_, wanted)| wanted);
        match give(cluster, selected, self.wanted.iter(), labels) {
            Ok(_) => conflicts,
            Err(why) => Conflicts {
                bind: why.bind,
                space: why.space,
                ..conflicts
            },
        }
    }
}

/// What each of the wanted claims gets on a node with these labels, in their order.
pub fn give<'a>(
    cluster: &Cluster,
    selected: impl Iterator<Item = &'a WantedClaim>,
    wanted: impl Iterator<Item = &'a WantedClaim>,
    labels: &Labels,
) -> Result<Vec<Given>, Conflicts> {
    let mut given = Vec::new();
    let mut taken: Vec<Text> = Vec::new();
    let mut provisions: Vec<&WantedClaim> = selected.collect();
    for one in wanted {
        let found = match &one.meant {
            Some(affinity) => {
                pools::affinity_matches(affinity.as_ref(), labels).then_some(Given::Meant)
            }
            None => {
                let name = cluster.volumes.pools().smallest(one, labels, &taken);
                taken.extend(name.clone());
                name.map(Given::Volume)
            }
        };
        given.push(found.unwrap_or_else(|| {
            provisions.push(one);
            Given::Provisioned
        }));
    }
    for one in provisions {
        check_provision(cluster, one, labels)?;
    }
    Ok(given)
}

/// Whether the claim's class makes volumes for nodes with these labels, and has room for this one.
fn check_provision(
    cluster: &Cluster,
    claim: &WantedClaim,
    labels: &Labels,
) -> Result<(), Conflicts> {
    let bind = Conflicts {
        bind: true,
        ..Conflicts::default()
    };
    let class = cluster.volumes.class(&claim.class).ok_or(bind)?;
    if class.provisioner.is_empty() || class.provisioner == "kubernetes.io/no-provisioner" {
        return Err(bind);
    }
    let allowed = class.topologies.is_empty()
        || class.topologies.iter().any(|term| {
            !term.match_label_expressions.is_empty()
                && term.match_label_expressions.iter().all(|one| {
                    labels
                        .get(&one.key)
                        .is_some_and(|value| one.values.contains(value))
                })
        });
    if !allowed {
        return Err(bind);
    }
    let enough = match claim.bytes {
        Some(bytes) if cluster.volumes.reports_capacity(&class.provisioner) => {
            let capacities = &cluster.volumes.capacities;
            capacities.suffice(&claim.class, bytes, labels)
        }
        _ => true,
    };
    match enough {
        true => Ok(()),
        false => Err(Conflicts {
            space: true,
            ..Conflicts::default()
        }),
    }
}
