//! The sums over topology domains that a class needs, kept by difference.
//!
//! Invariant: `sums[d]` is the total of `seen[n].value` over the nodes n with `seen[n].domain == d`.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, NO_DOMAIN, NodeId};
use crate::plan::{Eligibility, Feature, FeatureKind};
use crate::plugins::{node_affinity, taint_toleration};
use crate::spec::Spec;

#[derive(Default)]
pub(crate) struct FeatureState {
    sums: Vec<i64>,
    seen: Vec<Seen>,
    /// For hard spreading: eligible nodes by domain, and how many domains have which sum.
    eligible: Vec<u32>,
    histogram: BTreeMap<i64, u32>,
    domains: usize,
    /// Over all domains.
    pub total: i64,
}

/// What a node last contributed.
#[derive(Clone, Copy)]
struct Seen {
    domain: u32,
    value: i64,
}

const UNSEEN: Seen = Seen {
    domain: NO_DOMAIN,
    value: 0,
};

impl FeatureState {
    pub fn sum(&self, domain: u32) -> i64 {
        self.sums.get(domain as usize).copied().unwrap_or(0)
    }

    /// The least sum of an eligible domain, and how many such domains there are.
    pub fn least(&self) -> (i64, usize) {
        let least = self.histogram.first_key_value().map_or(0, |(sum, _)| *sum);
        (least, self.domains)
    }

    /// What the node itself contributes; for features that are per node.
    pub fn own(&self, node: NodeId) -> i64 {
        self.seen.get(node as usize).map_or(0, |seen| seen.value)
    }

    /// Looks at a node again; the domains whose sums changed are added to `changed`.
    pub fn refresh(
        &mut self,
        cluster: &Cluster,
        spec: &Spec,
        feature: &Feature,
        node: NodeId,
        object_changed: bool,
        changed: &mut Vec<u32>,
    ) {
        let row = node as usize;
        if self.seen.len() <= row {
            self.seen.resize(row + 1, UNSEEN);
        }
        let old = self.seen[row];
        let domain = match object_changed {
            false => old.domain,
            true => {
                let domain = cluster.key(feature.key).domain(node);
                let counts = domain != NO_DOMAIN
                    && feature
                        .eligibility
                        .as_ref()
                        .is_none_or(|rule| is_eligible(cluster, spec, rule, node));
                if counts { domain } else { NO_DOMAIN }
            }
        };
        let value = match domain {
            NO_DOMAIN => 0,
            _ => feature
                .sources
                .iter()
                .map(|(source, weight)| weight * cluster.tallies.on(*source, node))
                .sum(),
        };
        if old.domain == domain && old.value == value {
            return;
        }
        self.seen[row] = Seen { domain, value };
        if feature.kind == FeatureKind::PerNode {
            return;
        }
        let spread = feature.kind == FeatureKind::Spread;
        if old.domain == domain {
            self.adjust(domain, value - old.value, 0, spread, changed);
        } else {
            self.adjust(old.domain, -old.value, -1, spread, changed);
            self.adjust(domain, value, 1, spread, changed);
        }
    }

    fn adjust(
        &mut self,
        domain: u32,
        difference: i64,
        nodes: i32,
        spread: bool,
        changed: &mut Vec<u32>,
    ) {
        if domain == NO_DOMAIN {
            return;
        }
        let at = domain as usize;
        if self.sums.len() <= at {
            self.sums.resize(at + 1, 0);
        }
        if spread {
            if self.eligible.len() <= at {
                self.eligible.resize(at + 1, 0);
            }
            self.count_domain(at, false);
            self.eligible[at] = self.eligible[at].saturating_add_signed(nodes);
        }
        self.sums[at] += difference;
        self.total += difference;
        if spread {
            self.count_domain(at, true);
        }
        if difference != 0 {
            changed.push(domain);
        }
    }

    /// Takes an eligible domain out of the histogram, or puts it back in.
    fn count_domain(&mut self, at: usize, present: bool) {
        if self.eligible[at] == 0 {
            return;
        }
        let count = self.histogram.entry(self.sums[at]).or_insert(0);
        if present {
            *count += 1;
            self.domains += 1;
        } else {
            *count -= 1;
            self.domains -= 1;
            if *count == 0 {
                self.histogram.remove(&self.sums[at]);
            }
        }
    }
}

fn is_eligible(cluster: &Cluster, spec: &Spec, rule: &Eligibility, node: NodeId) -> bool {
    let entry = cluster.nodes.entry(node);
    rule.keys
        .iter()
        .all(|key| cluster.key(*key).domain(node) != NO_DOMAIN)
        && (!rule.affinity || node_affinity::matches(spec, &entry.name, &entry.facts.labels))
        && (!rule.taints
            || !taint_toleration::is_untolerated(&entry.facts.taints, &spec.tolerations))
}
