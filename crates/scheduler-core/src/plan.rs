//! What a pod's placement depends on beyond its node: the sums over topology domains that its rules, and the rules of placed pods
//! about it, come down to.
//!
//! Two pods with equal plans get equal answers from every plugin, so a plan is the signature of a class. It holds ids only; whoever
//! keeps one keeps the references of its predicates and its spec too.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::devices::Demand;
use crate::cluster::{Cluster, KeyId, Predicate, PredicateId, Scope, Source, SpecId, TermKind};
use crate::labels::Selector;
use crate::objects::{Text, TopologySpreadConstraint};
use crate::profile::Profile;
use crate::spec::{Identity, Spec, Term};
use crate::volumes::{self, VolumePlan};

pub const HOSTNAME: &str = "kubernetes.io/hostname";

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    pub profile: usize,
    pub spec: SpecId,
    /// The pod's labels that plugins of the profile read.
    pub labels: Vec<(Text, Text)>,
    pub features: Vec<Feature>,
    /// DoNotSchedule spread constraints.
    pub hard: Vec<Hard>,
    /// ScheduleAnyway spread constraints.
    pub soft: Vec<Soft>,
    /// Nodes that lack one of the soft constraints' keys are not scored (all but the system's own default constraints).
    pub soft_needs_all_keys: bool,
    /// Features of required affinity, one for each term; all count the pods that match every term.
    pub affinity: Vec<usize>,
    /// The pod matches its own affinity terms: it may be the first of its kind.
    pub affinity_self: bool,
    pub anti_affinity: Vec<usize>,
    /// Placed pods' anti-affinity against this pod.
    pub existing_anti_affinity: Vec<usize>,
    /// Preferred (anti-)affinity of this pod and of placed pods about it.
    pub preferred: Vec<usize>,
    pub volumes: VolumePlan,
    /// What the pod's resource claims demand.
    pub demand: Option<Arc<Demand>>,
}

impl Plan {
    /// Where other pods are decides whether a node does: more of them may let this one in.
    pub fn filters_between_pods(&self) -> bool {
        let rules = [
            &self.affinity,
            &self.anti_affinity,
            &self.existing_anti_affinity,
        ];
        !self.hard.is_empty() || rules.iter().any(|features| !features.is_empty())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hard {
    pub feature: usize,
    pub max_skew: i64,
    pub min_domains: usize,
    pub self_match: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Soft {
    pub feature: usize,
    pub max_skew: i64,
    /// The hostname key counts each node for itself.
    pub per_node: bool,
}

/// A sum of tallies over the nodes of a topology domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Feature {
    pub key: KeyId,
    /// With weights; a pod may count for several.
    pub sources: Vec<(Source, i64)>,
    pub kind: FeatureKind,
    pub eligibility: Option<Eligibility>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FeatureKind {
    /// The sum itself matters.
    Sum,
    /// Only whether it is above zero matters.
    Flag,
    /// The sum matters, and so does the least sum of all eligible domains.
    Spread,
    /// Each node is its own domain, provided it has the key.
    PerNode,
}

/// Which nodes count for a spread constraint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Eligibility {
    /// nodeAffinityPolicy: Honor.
    pub affinity: bool,
    /// nodeTaintsPolicy: Honor.
    pub taints: bool,
    /// A node must have all of these.
    pub keys: Vec<KeyId>,
}

/// The plan of a pod, with a reference to every predicate in it (see [`Plan::predicates`]). `class_spec`: the pod's spec without
/// its claims (see [`Cluster::acquire_class_spec`]).
pub fn build(
    cluster: &mut Cluster,
    profiles: &[Profile],
    profile: usize,
    spec_id: SpecId,
    class_spec: SpecId,
    identity: &Identity,
) -> Plan {
    let spec = cluster.spec(spec_id).clone();
    let volumes = match spec.has_volumes() {
        true => volumes::plan(cluster, &profiles[profile], identity, &spec),
        false => VolumePlan::default(),
    };
    let mut builder = Builder {
        cluster,
        profile: &profiles[profile],
        spec: &spec,
        identity,
        plan: Plan {
            profile,
            spec: class_spec,
            volumes,
            labels: labels_read(&profiles[profile], identity),
            ..Plan::default()
        },
    };
    if builder.profile.is_enabled("PodTopologySpread") {
        builder.spreading();
    }
    if builder.profile.is_enabled("InterPodAffinity") {
        builder.affinity();
    }
    builder.plan
}

fn labels_read(profile: &Profile, identity: &Identity) -> Vec<(Text, Text)> {
    let keys = profile.plugins().flat_map(|plugin| plugin.reads_labels());
    let pair = |key: &Text| Some((key.clone(), identity.labels.get(key)?.clone()));
    keys.filter_map(pair).collect()
}

impl Plan {
    /// Every predicate, as often as it is referenced.
    pub fn predicates(&self) -> impl Iterator<Item = PredicateId> {
        let sources = self.features.iter().flat_map(|feature| &feature.sources);
        sources.filter_map(|(source, _)| match source {
            Source::Predicate(id) => Some(*id),
            Source::Term(_) => None,
        })
    }
}

struct Builder<'a> {
    cluster: &'a mut Cluster,
    profile: &'a Profile,
    spec: &'a Spec,
    identity: &'a Identity,
    plan: Plan,
}

/// A spread constraint with its selector worked out for this pod.
struct Constraint {
    source: TopologySpreadConstraint,
    key: KeyId,
    selector: Selector,
}

impl Builder<'_> {
    fn feature(&mut self, feature: Feature) -> usize {
        self.plan.features.push(feature);
        self.plan.features.len() - 1
    }

    fn spreading(&mut self) {
        let explicit = !self.spec.spread.is_empty();
        let hard = self.constraints("DoNotSchedule");
        let soft = self.constraints("ScheduleAnyway");
        let hard_keys: Vec<KeyId> = hard.iter().map(|one| one.key).collect();
        for constraint in &hard {
            let feature = self.spread_feature(constraint, &hard_keys, FeatureKind::Spread);
            self.plan.hard.push(Hard {
                feature,
                max_skew: i64::from(constraint.source.max_skew),
                min_domains: constraint.source.min_domains.unwrap_or(1).max(0) as usize,
                self_match: constraint.selector.matches(&self.identity.labels),
            });
        }
        self.plan.soft_needs_all_keys = explicit || !self.profile.system_default_spread;
        let soft_keys: Vec<KeyId> = match self.plan.soft_needs_all_keys {
            true => soft.iter().map(|one| one.key).collect(),
            false => Vec::new(),
        };
        for constraint in &soft {
            let per_node = constraint.source.topology_key == HOSTNAME;
            let kind = match per_node {
                true => FeatureKind::PerNode,
                false => FeatureKind::Sum,
            };
            let feature = self.spread_feature(constraint, &soft_keys, kind);
            self.plan.soft.push(Soft {
                feature,
                max_skew: i64::from(constraint.source.max_skew),
                per_node,
            });
        }
    }

    /// The pod's own constraints with this action, or else the profile's defaults.
    fn constraints(&mut self, action: &str) -> Vec<Constraint> {
        let explicit = !self.spec.spread.is_empty();
        let (list, default_selector) = match explicit {
            true => (&self.spec.spread, None),
            false => {
                let list = &self.profile.default_spread;
                if list.iter().all(|one| one.when_unsatisfiable != action) {
                    return Vec::new();
                }
                let selector = self.cluster.default_selector(self.identity);
                if selector.is_empty() {
                    return Vec::new();
                }
                (list, Some(selector))
            }
        };
        let mut constraints = Vec::new();
        for source in list.iter().filter(|one| one.when_unsatisfiable == action) {
            let selector = match &default_selector {
                Some(selector) => selector.clone(),
                None => own_selector(source, self.identity),
            };
            constraints.push(Constraint {
                key: self.cluster.intern_key(&source.topology_key),
                source: source.clone(),
                selector,
            });
        }
        constraints
    }

    fn spread_feature(
        &mut self,
        constraint: &Constraint,
        keys: &[KeyId],
        kind: FeatureKind,
    ) -> usize {
        // Upstream counts nothing for the empty selector, though the pod itself matches it.
        let counts = !constraint.selector.is_empty() && constraint.selector != Selector::Nothing;
        let scope = Scope {
            namespaces: vec![self.identity.namespace.clone()],
            namespace_selector: Selector::Nothing,
            selector: constraint.selector.clone(),
        };
        let sources = match counts {
            true => vec![(self.predicate(vec![scope], false), 1)],
            false => Vec::new(),
        };
        let policy = |policy: &Option<Text>, default: bool| {
            policy.as_ref().map_or(default, |policy| policy == "Honor")
        };
        let eligibility = match kind {
            FeatureKind::PerNode => None,
            _ => Some(Eligibility {
                affinity: policy(&constraint.source.node_affinity_policy, true),
                taints: policy(&constraint.source.node_taints_policy, false),
                keys: keys.to_vec(),
            }),
        };
        self.feature(Feature {
            key: constraint.key,
            sources,
            kind,
            eligibility,
        })
    }

    fn predicate(&mut self, scopes: Vec<Scope>, terminating: bool) -> Source {
        let predicate = Predicate {
            scopes,
            terminating,
        };
        Source::Predicate(self.cluster.acquire_predicate(predicate))
    }

    fn scope(&self, term: &Term) -> Scope {
        Scope::of(term, &self.identity.namespace)
    }

    fn affinity(&mut self) {
        let spec = self.spec;
        if !spec.affinity.is_empty() {
            let scopes: Vec<Scope> = spec.affinity.iter().map(|term| self.scope(term)).collect();
            self.plan.affinity_self = scopes
                .iter()
                .all(|scope| scope.selects(self.cluster, self.identity));
            for term in &spec.affinity {
                let source = self.predicate(scopes.clone(), true);
                let key = self.cluster.intern_key(&term.topology_key);
                let feature = self.plain_feature(key, vec![(source, 1)], FeatureKind::Flag);
                self.plan.affinity.push(feature);
            }
        }
        let mut anti: BTreeMap<KeyId, Vec<(Source, i64)>> = BTreeMap::new();
        for term in &spec.anti_affinity {
            let source = self.predicate(vec![self.scope(term)], true);
            let key = self.cluster.intern_key(&term.topology_key);
            anti.entry(key).or_default().push((source, 1));
        }
        for (key, sources) in anti {
            let feature = self.plain_feature(key, sources, FeatureKind::Flag);
            self.plan.anti_affinity.push(feature);
        }
        self.affinity_of_others();
    }

    fn affinity_of_others(&mut self) {
        let spec = self.spec;
        let mut preferred: BTreeMap<KeyId, Vec<(Source, i64)>> = BTreeMap::new();
        let mut anti: BTreeMap<KeyId, Vec<(Source, i64)>> = BTreeMap::new();
        let own = spec.preferred_affinity.iter().map(|(w, term)| (*w, term));
        let own_anti = spec.preferred_anti_affinity.iter();
        for (weight, term) in own.chain(own_anti.map(|(w, term)| (-*w, term))) {
            let source = self.predicate(vec![self.scope(term)], true);
            let key = self.cluster.intern_key(&term.topology_key);
            preferred.entry(key).or_default().push((source, weight));
        }
        let ignore_others = self.profile.ignore_preferred_terms_of_existing_pods
            && spec.preferred_affinity.is_empty()
            && spec.preferred_anti_affinity.is_empty();
        for (id, kind, key) in self.cluster.terms_about(self.identity) {
            let weight = match kind {
                TermKind::AntiAffinity => {
                    anti.entry(key).or_default().push((Source::Term(id), 1));
                    continue;
                }
                TermKind::Affinity => self.profile.hard_pod_affinity_weight,
                TermKind::PreferredAffinity(weight) => weight,
                TermKind::PreferredAntiAffinity(weight) => -weight,
            };
            if weight != 0 && !ignore_others {
                preferred
                    .entry(key)
                    .or_default()
                    .push((Source::Term(id), weight));
            }
        }
        for (key, sources) in anti {
            let feature = self.plain_feature(key, sources, FeatureKind::Flag);
            self.plan.existing_anti_affinity.push(feature);
        }
        for (key, sources) in preferred {
            let feature = self.plain_feature(key, sources, FeatureKind::Sum);
            self.plan.preferred.push(feature);
        }
    }

    fn plain_feature(
        &mut self,
        key: KeyId,
        sources: Vec<(Source, i64)>,
        kind: FeatureKind,
    ) -> usize {
        self.feature(Feature {
            key,
            sources,
            kind,
            eligibility: None,
        })
    }
}

/// The constraint's selector with the pod's values of matchLabelKeys.
pub fn own_selector(constraint: &TopologySpreadConstraint, identity: &Identity) -> Selector {
    let selector = Selector::new(constraint.label_selector.as_ref());
    let pairs = constraint.match_label_keys.iter().filter_map(|key| {
        let value = identity.labels.get(key)?;
        Some((key.clone(), value.clone()))
    });
    let extra = Selector::from_labels(&pairs.collect());
    selector.and(&extra)
}
