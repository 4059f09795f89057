//! Devices for claims by brute force: every combination, on every node, every time.

use std::collections::{BTreeMap, BTreeSet};

/// The devices of a claim, each with whether administrators share it, and the node that they bind the claim to.
pub type Allocated = (Vec<(Id, bool)>, Option<String>);

/// A device by pool and name.
pub type Id = (String, String);

#[derive(Clone, Debug)]
pub struct Device {
    pub name: String,
    pub size: i64,
    pub numa: Option<i64>,
    pub tainted: bool,
}

/// A pool in one slice; without a node it is everywhere.
#[derive(Clone, Debug)]
pub struct Pool {
    pub node: Option<String>,
    pub devices: Vec<Device>,
}

#[derive(Clone, Debug)]
pub struct Choice {
    /// A number of devices; `None`: all that match.
    pub count: Option<usize>,
    pub at_least: i64,
    pub admin: bool,
    pub tolerates: bool,
}

#[derive(Clone, Debug)]
pub struct Claim {
    /// For each request its alternatives.
    pub requests: Vec<Vec<Choice>>,
    /// All devices have the same value of `numa`.
    pub same_numa: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Devices {
    pub pools: BTreeMap<String, Pool>,
    /// Who has what, by claim.
    pub allocated: BTreeMap<String, Allocated>,
}

impl Devices {
    fn used(&self) -> BTreeSet<&Id> {
        let devices = self.allocated.values().flat_map(|(devices, _)| devices);
        let own = devices.filter(|(_, admin)| !admin);
        own.map(|(id, _)| id).collect()
    }

    fn matching(&self, node: &str, choice: &Choice) -> Vec<(Id, &Device)> {
        let mut found = Vec::new();
        for (name, pool) in &self.pools {
            if pool.node.as_deref().is_none_or(|own| own == node) {
                let devices = pool.devices.iter();
                let matching = devices.filter(|device| device.size >= choice.at_least);
                found.extend(matching.map(|one| ((name.clone(), one.name.clone()), one)));
            }
        }
        found
    }

    /// Whether the claims that are still open can all have devices on this node, and those that are not can be used there.
    pub fn fits(&self, node: &str, claims: &[(String, Claim)]) -> bool {
        let here = |name: &String| match self.allocated.get(name) {
            Some((_, Some(own))) => own == node,
            _ => true,
        };
        let open: Vec<&Claim> = claims
            .iter()
            .filter(|(name, _)| !self.allocated.contains_key(name))
            .map(|(_, claim)| claim)
            .collect();
        claims.iter().all(|(name, _)| here(name)) && self.satisfied(node, &open, 0, 0, &[])
    }

    /// `chosen`: for each device so far the claim, and whether it is shared.
    fn satisfied(
        &self,
        node: &str,
        claims: &[&Claim],
        claim: usize,
        request: usize,
        chosen: &[(Id, usize, bool, Option<i64>)],
    ) -> bool {
        let Some(current) = claims.get(claim) else {
            return self.is_allowed(claims, chosen);
        };
        let Some(choices) = current.requests.get(request) else {
            return self.satisfied(node, claims, claim + 1, 0, chosen);
        };
        for choice in choices {
            let matching = self.matching(node, choice);
            let subsets = match choice.count {
                Some(count) => subsets(matching.len(), count),
                None if matching.is_empty() => Vec::new(),
                None => vec![(0..matching.len()).collect()],
            };
            for subset in subsets {
                let mut chosen = chosen.to_vec();
                let mut tolerated = true;
                for at in subset {
                    let (id, device) = &matching[at];
                    tolerated &= choice.tolerates || !device.tainted;
                    chosen.push((id.clone(), claim, choice.admin, device.numa));
                }
                if tolerated && self.satisfied(node, claims, claim, request + 1, &chosen) {
                    return true;
                }
            }
        }
        false
    }

    fn is_allowed(&self, claims: &[&Claim], chosen: &[(Id, usize, bool, Option<i64>)]) -> bool {
        let used = self.used();
        for (at, (id, claim, admin, numa)) in chosen.iter().enumerate() {
            if !admin && used.contains(id) {
                return false;
            }
            // Requests are served in order: who comes first has a device for himself, except that administrators of other claims
            // may join.
            let clash = chosen[..at]
                .iter()
                .any(|(other, of, ..)| other == id && (!admin || of == claim));
            if clash {
                return false;
            }
            if claims[*claim].same_numa {
                let mut own = chosen.iter().filter(|(_, of, ..)| of == claim);
                if numa.is_none() || own.any(|(.., other)| other != numa) {
                    return false;
                }
            }
        }
        true
    }
}

fn subsets(of: usize, size: usize) -> Vec<Vec<usize>> {
    let all = 0..1_usize << of;
    all.filter(|bits| bits.count_ones() as usize == size)
        .map(|bits| (0..of).filter(|at| bits >> at & 1 == 1).collect())
        .collect()
}
