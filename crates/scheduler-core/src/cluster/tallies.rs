//! Counts by node that rules between pods are made of.
//!
//! A *predicate* (some rule's selector and namespaces) counts the placed pods that match it; a *term* counts the placed pods that
//! bring it along. Both are kept per node, so that a relabelled node costs nothing here: domains are summed by whoever asks.
//!
//! Invariant: a predicate's count on a node is the number of pods placed there whose identity matches it.

use hashbrown::HashMap;

use super::{Change, Cluster, IdentityId, KeyId, NodeId, SpecId};
use crate::intern::Interner;
use crate::labels::Selector;
use crate::objects::Text;
use crate::spec::{Identity, Term};

pub type PredicateId = u32;
pub type TermId = u32;

/// Which namespaces and pods a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Sorted; the owner's own namespace already filled in.
    pub namespaces: Vec<Text>,
    pub namespace_selector: Selector,
    pub selector: Selector,
}

impl Scope {
    pub fn of(term: &Term, own_namespace: &Text) -> Self {
        Self {
            namespaces: match term.own_namespace {
                true => vec![own_namespace.clone()],
                false => term.namespaces.clone(),
            },
            namespace_selector: term.namespace_selector.clone(),
            selector: term.selector.clone(),
        }
    }

    /// Seen from the pod that has the rule: a namespace that is not known is in no selector but that of everything.
    pub fn selects(&self, cluster: &Cluster, identity: &Identity) -> bool {
        self.matches(cluster, identity, false)
    }

    /// Seen from a pod that comes later: the labels of a namespace that is not known count as none.
    pub fn catches(&self, cluster: &Cluster, identity: &Identity) -> bool {
        self.matches(cluster, identity, true)
    }

    fn matches(&self, cluster: &Cluster, identity: &Identity, unknown_is_empty: bool) -> bool {
        self.selector.matches(&identity.labels)
            && (self.namespaces.contains(&identity.namespace)
                || self.namespace_selector.is_empty()
                || match cluster.namespace_labels(&identity.namespace) {
                    Some(labels) => self.namespace_selector.matches(labels),
                    None => {
                        unknown_is_empty && self.namespace_selector.matches(&Default::default())
                    }
                })
    }

    fn depends_on_labels(&self) -> bool {
        self.namespace_selector != Selector::Nothing && !self.namespace_selector.is_empty()
    }
}

/// Pods that all of the scopes select.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Predicate {
    pub scopes: Vec<Scope>,
    /// Spreading leaves terminating pods out; affinity counts them.
    pub terminating: bool,
}

impl Predicate {
    pub fn matches(&self, cluster: &Cluster, identity: &Identity) -> bool {
        self.scopes
            .iter()
            .all(|scope| scope.selects(cluster, identity))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TermKind {
    Affinity,
    AntiAffinity,
    /// With its weight.
    PreferredAffinity(i64),
    PreferredAntiAffinity(i64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeldTerm {
    pub kind: TermKind,
    pub key: KeyId,
    pub scope: Scope,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    Predicate(PredicateId),
    Term(TermId),
}

type Counts = HashMap<NodeId, u32>;

#[derive(Default)]
pub struct Tallies {
    predicates: Interner<Predicate>,
    predicate_counts: Vec<Counts>,
    terms: Interner<HeldTerm>,
    term_counts: Vec<Counts>,
    /// Rises when a term comes or goes.
    terms_version: u64,
}

impl Tallies {
    pub fn counts(&self, source: Source) -> &Counts {
        match source {
            Source::Predicate(id) => &self.predicate_counts[id as usize],
            Source::Term(id) => &self.term_counts[id as usize],
        }
    }

    pub fn on(&self, source: Source, node: NodeId) -> i64 {
        self.counts(source)
            .get(&node)
            .map_or(0, |count| i64::from(*count))
    }

    pub(super) fn count(&mut self, id: PredicateId, node: NodeId, terminating: bool, sign: i64) {
        if !terminating || self.predicates.get(id).terminating {
            adjust(&mut self.predicate_counts[id as usize], node, sign);
        }
    }

    pub(super) fn hold(&mut self, id: TermId, node: NodeId, sign: i64) {
        adjust(&mut self.term_counts[id as usize], node, sign);
    }

    pub(super) fn release_term(&mut self, id: TermId) {
        if self.terms.release(id).is_some() {
            self.terms_version += 1;
        }
    }

    pub fn terms_version(&self) -> u64 {
        self.terms_version
    }
}

fn adjust(counts: &mut Counts, node: NodeId, sign: i64) {
    if sign > 0 {
        *counts.entry(node).or_insert(0) += 1;
    } else if let hashbrown::hash_map::Entry::Occupied(mut entry) = counts.entry(node) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

impl Cluster {
    /// The predicate's id with one more reference; a new one is counted over all placed pods.
    pub fn acquire_predicate(&mut self, predicate: Predicate) -> PredicateId {
        let (id, new) = self.tallies.predicates.acquire(predicate);
        if !new {
            return id;
        }
        let capacity = self.tallies.predicates.capacity();
        self.tallies
            .predicate_counts
            .resize_with(capacity, Counts::new);
        let predicate = self.tallies.predicates.get(id).clone();
        let matching: Vec<IdentityId> = self
            .identities
            .iter()
            .filter(|(_, identity)| predicate.matches(self, identity))
            .map(|(identity, _)| identity)
            .collect();
        for identity in matching {
            self.matches[identity as usize].push(id);
        }
        let mut counts = Counts::new();
        for (_, pod) in self.pods.iter() {
            let Some(node) = pod.node else { continue };
            let (_, identity) = **self.shapes.get(pod.shape);
            let counted = !pod.terminating || predicate.terminating;
            if counted && self.matches[identity as usize].last() == Some(&id) {
                adjust(&mut counts, node, 1);
            }
        }
        self.tallies.predicate_counts[id as usize] = counts;
        id
    }

    pub fn release_predicate(&mut self, id: PredicateId) {
        if self.tallies.predicates.release(id).is_none() {
            return;
        }
        self.tallies.predicate_counts[id as usize] = Counts::new();
        for matches in &mut self.matches {
            matches.retain(|own| *own != id);
        }
    }

    pub(super) fn matching_predicates(&self, identity: IdentityId) -> Vec<PredicateId> {
        let identity = self.identities.get(identity);
        self.tallies
            .predicates
            .iter()
            .filter(|(_, predicate)| predicate.matches(self, identity))
            .map(|(id, _)| id)
            .collect()
    }

    /// The terms of a spec as its pods bring them to a node.
    pub(super) fn acquire_terms(&mut self, spec: SpecId, namespace: &Text) -> Vec<TermId> {
        let spec = self.specs.get(spec).clone();
        let required = |kind: TermKind, terms: &[Term]| {
            terms
                .iter()
                .map(|term| (kind, term.clone()))
                .collect::<Vec<_>>()
        };
        let weighted = |kind: fn(i64) -> TermKind, terms: &[(i64, Term)]| {
            terms
                .iter()
                .map(|(weight, term)| (kind(*weight), term.clone()))
                .collect::<Vec<_>>()
        };
        let mut all = required(TermKind::Affinity, &spec.affinity);
        all.extend(required(TermKind::AntiAffinity, &spec.anti_affinity));
        all.extend(weighted(
            TermKind::PreferredAffinity,
            &spec.preferred_affinity,
        ));
        all.extend(weighted(
            TermKind::PreferredAntiAffinity,
            &spec.preferred_anti_affinity,
        ));
        all.into_iter()
            .map(|(kind, term)| self.acquire_term(kind, &term, namespace))
            .collect()
    }

    fn acquire_term(&mut self, kind: TermKind, term: &Term, namespace: &Text) -> TermId {
        let held = HeldTerm {
            kind,
            key: self.intern_key(&term.topology_key),
            scope: Scope::of(term, namespace),
        };
        let (id, new) = self.tallies.terms.acquire(held);
        if new {
            let capacity = self.tallies.terms.capacity();
            self.tallies.term_counts.resize_with(capacity, Counts::new);
            self.tallies.terms_version += 1;
        }
        id
    }

    /// Terms held by pods that are about a pod of this identity, by id.
    pub fn terms_about(&self, identity: &Identity) -> Vec<(TermId, TermKind, KeyId)> {
        self.tallies
            .terms
            .iter()
            .filter(|(_, term)| term.scope.catches(self, identity))
            .map(|(id, term)| (id, term.kind, term.key))
            .collect()
    }

    /// A namespace's labels changed: what its pods match may have, too.
    pub(super) fn recount_namespace(&mut self, namespace: &Text) {
        let depends = |predicate: &Predicate| predicate.scopes.iter().any(Scope::depends_on_labels);
        if !self.tallies.predicates.iter().any(|(_, one)| depends(one)) {
            return;
        }
        let identities: Vec<IdentityId> = self
            .identities
            .iter()
            .filter(|(_, identity)| identity.namespace == *namespace)
            .map(|(id, _)| id)
            .collect();
        let mut changed: HashMap<IdentityId, (Vec<PredicateId>, Vec<PredicateId>)> = HashMap::new();
        for id in identities {
            let new = self.matching_predicates(id);
            let old = std::mem::replace(&mut self.matches[id as usize], new.clone());
            changed.insert(id, (old, new));
        }
        let placed: Vec<(NodeId, IdentityId, bool)> = self
            .pods
            .iter()
            .filter_map(|(_, pod)| {
                let identity = self.shape(pod.shape).1;
                changed.contains_key(&identity).then_some(())?;
                Some((pod.node?, identity, pod.terminating))
            })
            .collect();
        for (node, identity, terminating) in placed {
            let (old, new) = &changed[&identity];
            for &id in old {
                self.tallies.count(id, node, terminating, -1);
            }
            for &id in new {
                self.tallies.count(id, node, terminating, 1);
            }
            self.note(node, Change::Pods);
        }
    }
}
