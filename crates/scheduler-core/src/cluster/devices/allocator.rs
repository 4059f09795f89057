//! Choosing devices for a pod's claims on one node: upstream's search, which takes the first combination that satisfies everything.
//!
//! Requests are tried in order, each with every device in the order of [`super::pools`], going back when what follows cannot be
//! satisfied. Invariant: when the search ends without success, nothing is left taken. It is bounded by a number of steps, where
//! upstream has a timeout.

use fluyt_api::quantity::Quantity;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::constraints::{self, Constraint};
use super::demand::{Choice, Demand, MAX_RESULTS, OpenClaim, Request, Wanted, alternative_score};
use super::objects::Device;
use super::pools::{Place, Pool, consumed};
use super::{Devices, Slice};
use crate::objects::Text;

/// Attempts to choose a device before a node is given up.
const MAX_STEPS: usize = 1_000_000;

/// Stands in an error for the `n`-th claim that is to be allocated, whose name a demand does not know.
pub fn placeholder(claim: usize) -> String {
    format!("\u{1}{claim}\u{1}")
}

/// Why the claims cannot be had on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not enough devices that match.
    TooFew,
    /// There might have been, but for pools that contradict themselves.
    InvalidPools,
    /// An allocated claim's devices cannot be used there.
    Elsewhere,
    /// Something is wrong with a claim, a class or a device. Claims are named by [`placeholder`]s.
    Failed(Text),
}

/// One device for one claim.
#[derive(Clone)]
pub(super) struct Pick<'a> {
    pub request: usize,
    pub choice: usize,
    pub slice: &'a Slice,
    pub device: &'a Device,
}

/// The devices of each open claim.
pub(super) type Picks<'a> = Vec<Vec<Pick<'a>>>;

impl Devices {
    /// Devices for every open claim of the demand, if the demand can be met on this node.
    pub(super) fn choose<'a>(
        &'a self,
        place: Place<'a>,
        demand: &'a Demand,
    ) -> Result<Picks<'a>, Refusal> {
        let claims: Vec<&OpenClaim> = demand.open().collect();
        let mut picks = Vec::new();
        if !claims.is_empty() {
            picks = Search::new(self, place, claims)
                .and_then(Search::run)
                .map_err(Refusal::Failed)??;
        }
        let elsewhere = demand.claims.iter().any(|claim| match claim {
            Wanted::Allocated { nodes, .. } => {
                nodes.as_ref().is_some_and(|nodes| !place.matches(nodes))
            }
            Wanted::Open(_) => false,
        });
        match elsewhere {
            true => Err(Refusal::Elsewhere),
            false => Ok(picks),
        }
    }

    /// Whether the demand can be met on this node.
    pub fn fits(&self, place: Place<'_>, demand: &Demand) -> Result<(), Refusal> {
        self.choose(place, demand).map(drop)
    }

    /// The more of the preferred alternatives, the better; 0 where the demand cannot be met.
    pub fn score(&self, place: Place<'_>, demand: &Demand) -> i64 {
        let Ok(picks) = self.choose(place, demand) else {
            return 0;
        };
        let mut score = 0;
        for (claim, picks) in demand.open().zip(&picks) {
            for (index, request) in claim.requests.iter().enumerate() {
                let own = picks.iter().find(|pick| pick.request == index);
                if let Some(pick) = own.filter(|_| request.prioritized) {
                    score += alternative_score(pick.choice);
                }
            }
        }
        let allocated = demand.claims.iter().map(|claim| match claim {
            Wanted::Allocated { score, .. } => *score,
            Wanted::Open(_) => 0,
        });
        score + allocated.sum::<i64>()
    }
}

enum Step {
    Done,
    No,
    /// No, because the results would be more than a claim can hold: fewer devices in an alternative may do.
    TooMany,
}

/// Where the search for the next device of a request goes on: pool, slice, device.
type Start = (usize, usize, usize);

#[derive(Clone, Copy)]
struct At {
    claim: usize,
    request: usize,
    choice: Option<usize>,
    device: usize,
}

impl At {
    const fn claim(claim: usize) -> Self {
        Self {
            claim,
            request: 0,
            choice: None,
            device: 0,
        }
    }
}

#[derive(Clone, Copy)]
struct Candidate<'a> {
    pool: usize,
    slice: &'a Slice,
    index: u32,
    device: &'a Device,
}

struct Search<'a> {
    devices: &'a Devices,
    place: Place<'a>,
    claims: Vec<&'a OpenClaim>,
    pools: Vec<Pool<'a>>,
    /// For choices that want all devices: which these are.
    all: HashMap<(usize, usize, usize), Vec<Candidate<'a>>>,
    constraints: Vec<Vec<Constraint<'a>>>,
    picks: Picks<'a>,
    /// By pool and name: the claims that a device is chosen for.
    taken: HashMap<(usize, &'a str), SmallVec<[usize; 1]>>,
    steps: usize,
}

impl<'a> Search<'a> {
    fn new(
        devices: &'a Devices,
        place: Place<'a>,
        claims: Vec<&'a OpenClaim>,
    ) -> Result<Self, Text> {
        let mut search = Self {
            devices,
            place,
            pools: devices.pools_at(place),
            all: HashMap::new(),
            constraints: claims
                .iter()
                .map(|claim| constraints::of(&claim.constraints))
                .collect(),
            picks: claims.iter().map(|_| Vec::new()).collect(),
            taken: HashMap::new(),
            claims,
            steps: 0,
        };
        for claim in 0..search.claims.len() {
            search.count_all(claim)?;
        }
        Ok(search)
    }

    fn run(mut self) -> Result<Result<Picks<'a>, Refusal>, Text> {
        match self.one(At::claim(0), (0, 0, 0))? {
            Step::Done => Ok(Ok(self.picks)),
            _ if self.pools.iter().any(|pool| pool.invalid) => Ok(Err(Refusal::InvalidPools)),
            _ => Ok(Err(Refusal::TooFew)),
        }
    }

    fn request(&self, claim: usize, request: usize) -> Option<&'a Request> {
        self.claims[claim].requests.get(request)
    }

    /// Finds the devices of the choices that want all of them.
    fn count_all(&mut self, claim: usize) -> Result<(), Text> {
        let mut least = 0;
        for (at, request) in self.claims[claim].requests.iter().enumerate() {
            let mut fewest = usize::MAX;
            for (index, choice) in request.choices.iter().enumerate() {
                let mut count = choice.count;
                if choice.all {
                    let all = self.all_devices(claim, choice)?;
                    count = all.len();
                    self.all.insert((claim, at, index), all);
                }
                fewest = fewest.min(count);
            }
            least = fewest.saturating_add(least);
        }
        match least > MAX_RESULTS {
            true => Err(compact_str::format_compact!(
                "claim {}: number of requested devices {least} exceeds the claim limit of {MAX_RESULTS}",
                placeholder(claim)
            )),
            false => Ok(()),
        }
    }

    fn all_devices(&self, claim: usize, choice: &Choice) -> Result<Vec<Candidate<'a>>, Text> {
        let mut all = Vec::new();
        for (at, pool) in self.pools.iter().enumerate() {
            let what = match (pool.incomplete, pool.invalid) {
                (true, _) => "being updated",
                (_, true) => "invalid",
                _ => "",
            };
            if !what.is_empty() {
                return Err(compact_str::format_compact!(
                    "claim {}, request {}: asks for all devices, but resource pool {} is currently {what}",
                    placeholder(claim),
                    choice.name,
                    pool.id
                ));
            }
            for slice in &pool.slices {
                for (index, device) in slice.devices().enumerate() {
                    let candidate = Candidate {
                        pool: at,
                        slice,
                        index: index as u32,
                        device,
                    };
                    if self.is_selectable(claim, choice, &candidate)? {
                        all.push(candidate);
                    }
                }
            }
        }
        Ok(all)
    }

    /// Finds a device for one place in one request, and then for all that follow.
    fn one(&mut self, at: At, start: Start) -> Result<Step, Text> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(compact_str::format_compact!(
                "node {}: timed out trying to allocate devices",
                self.place.name
            ));
        }
        if at.claim >= self.claims.len() {
            return Ok(Step::Done);
        }
        let Some(request) = self.request(at.claim, at.request) else {
            return Ok(match self.one(At::claim(at.claim + 1), (0, 0, 0))? {
                Step::TooMany => Step::No,
                step => step,
            });
        };
        let index = match at.choice {
            None if request.prioritized => return self.alternatives(at, request),
            choice => choice.unwrap_or(0),
        };
        let choice = &request.choices[index];
        let all = self.all.get(&(at.claim, at.request, index));
        let wanted = match choice.all {
            true => all.map_or(0, Vec::len),
            false => choice.count,
        };
        if choice.all && wanted == 0 {
            return Ok(Step::No);
        }
        if at.device >= wanted {
            let next = At {
                request: at.request + 1,
                ..At::claim(at.claim)
            };
            return self.one(next, (0, 0, 0));
        }
        if self.picks[at.claim]
            .len()
            .saturating_add(wanted - at.device)
            > MAX_RESULTS
        {
            return Ok(Step::TooMany);
        }
        let at = At {
            choice: Some(index),
            ..at
        };
        match all.and_then(|all| all.get(at.device)).copied() {
            Some(candidate) => self.take(at, choice, candidate, true, (0, 0, 0)),
            None => self.any(at, choice, start),
        }
    }

    fn alternatives(&mut self, at: At, request: &'a Request) -> Result<Step, Text> {
        let mut exceeded = true;
        for choice in 0..request.choices.len() {
            let at = At {
                choice: Some(choice),
                ..at
            };
            match self.one(at, (0, 0, 0))? {
                Step::Done => return Ok(Step::Done),
                Step::No => exceeded = false,
                Step::TooMany => {}
            }
        }
        Ok(match exceeded {
            true => Step::TooMany,
            false => Step::No,
        })
    }

    /// Tries every device from `start` on: within a request their order does not matter.
    fn any(&mut self, at: At, choice: &'a Choice, start: Start) -> Result<Step, Text> {
        for pool in start.0..self.pools.len() {
            if !self.pools[pool].is_usable() {
                continue;
            }
            let first = if pool == start.0 { start.1 } else { 0 };
            for number in first..self.pools[pool].slices.len() {
                let slice = self.pools[pool].slices[number];
                let skip = match (pool, number) == (start.0, start.1) {
                    true => start.2,
                    false => 0,
                };
                for (index, device) in slice.devices().enumerate().skip(skip) {
                    let candidate = Candidate {
                        pool,
                        slice,
                        index: index as u32,
                        device,
                    };
                    if self.is_taken(at.claim, choice, &candidate)
                        || !self.is_selectable(at.claim, choice, &candidate)?
                    {
                        continue;
                    }
                    let next = (pool, number, index + 1);
                    match self.take(at, choice, candidate, false, next)? {
                        Step::No => {}
                        step => return Ok(step),
                    }
                }
            }
        }
        Ok(Step::No)
    }

    /// Takes the device and goes on; gives it back unless all that follows succeeds.
    fn take(
        &mut self,
        at: At,
        choice: &'a Choice,
        candidate: Candidate<'a>,
        must: bool,
        next: Start,
    ) -> Result<Step, Text> {
        if self.is_taken(at.claim, choice, &candidate)
            || !self.has_counters(&candidate)
            || !is_tolerated(choice, candidate.device)
            || !self.constrain(at, choice, &candidate, must)?
        {
            return Ok(Step::No);
        }
        let key = (candidate.pool, candidate.device.name.as_str());
        self.taken.entry(key).or_default().push(at.claim);
        self.count(&candidate, true);
        self.picks[at.claim].push(Pick {
            request: at.request,
            choice: at.choice.unwrap_or(0),
            slice: candidate.slice,
            device: candidate.device,
        });
        let following = At {
            device: at.device + 1,
            ..at
        };
        let step = self.one(following, next)?;
        if !matches!(step, Step::Done) {
            self.picks[at.claim].pop();
            self.count(&candidate, false);
            if let Some(claims) = self.taken.get_mut(&key) {
                claims.pop();
            }
            self.release(at, choice);
        }
        Ok(step)
    }

    /// Administrative access shares devices, but has each only once in a claim.
    fn is_taken(&self, claim: usize, choice: &Choice, candidate: &Candidate<'a>) -> bool {
        let name = candidate.device.name.as_str();
        let taken = self.taken.get(&(candidate.pool, name));
        match choice.admin_access.unwrap_or(false) {
            true => taken.is_some_and(|claims| claims.contains(&claim)),
            false => {
                self.pools[candidate.pool].is_used(name)
                    || taken.is_some_and(|claims| !claims.is_empty())
            }
        }
    }

    fn is_selectable(
        &self,
        claim: usize,
        choice: &Choice,
        candidate: &Candidate<'a>,
    ) -> Result<bool, Text> {
        let (slice, device) = (candidate.slice, candidate.device);
        // Neither kind of device can be prepared: as upstream with these features off.
        if !device.binding_conditions.is_empty() || device.allow_multiple_allocations == Some(true)
        {
            return Ok(false);
        }
        let key = (slice.serial, candidate.index);
        let driver = &slice.object.spec.driver;
        let expressions = &self.devices.expressions;
        let of_class = choice.class_selectors.iter().enumerate();
        let of_claim = choice.selectors.iter().enumerate();
        let selectors = of_class
            .map(|one| (one, true))
            .chain(of_claim.map(|one| (one, false)));
        for ((at, source), is_of_class) in selectors {
            match expressions.matches(source, key, driver, device) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) => {
                    let whose = match is_of_class {
                        true => compact_str::format_compact!("class {}", choice.class),
                        false => compact_str::format_compact!("claim {}", placeholder(claim)),
                    };
                    return Err(compact_str::format_compact!(
                        "{whose}: selector #{at}: CEL runtime error: {why}"
                    ));
                }
            }
        }
        let own = slice.object.spec.per_device_node_selection.unwrap_or(false);
        Ok(!own || self.place.reaches(device))
    }

    /// The pool's counters can bear the device too.
    fn has_counters(&self, candidate: &Candidate<'a>) -> bool {
        if candidate.device.consumes_counters.is_empty() {
            return true;
        }
        let counters = &self.pools[candidate.pool].counters;
        let mut left = counters.clone();
        for (key, amount) in consumed(candidate.device) {
            if let Some(one) = left.get_mut(&key) {
                *one = one.sub(amount);
            }
        }
        !left.values().any(Quantity::is_negative)
    }

    fn count(&mut self, candidate: &Candidate<'a>, taken: bool) {
        let counters = &mut self.pools[candidate.pool].counters;
        for (key, amount) in consumed(candidate.device) {
            if let Some(one) = counters.get_mut(&key) {
                *one = match taken {
                    true => one.sub(amount),
                    false => one.add(amount),
                };
            }
        }
    }

    fn constrain(
        &mut self,
        at: At,
        choice: &Choice,
        candidate: &Candidate<'a>,
        must: bool,
    ) -> Result<bool, Text> {
        let driver = &candidate.slice.object.spec.driver;
        let request = &self.claims[at.claim].requests[at.request];
        let constraints = &mut self.constraints[at.claim];
        for index in 0..constraints.len() {
            if constraints[index].add(request, choice, driver, candidate.device) {
                continue;
            }
            for constraint in &mut constraints[..index] {
                constraint.remove(request, choice);
            }
            if must {
                return Err(compact_str::format_compact!(
                    "claim {}, request {}: cannot add device {}/{} because a claim constraint would not be satisfied",
                    placeholder(at.claim),
                    choice.name,
                    self.pools[candidate.pool].id,
                    candidate.device.name
                ));
            }
            return Ok(false);
        }
        Ok(true)
    }

    fn release(&mut self, at: At, choice: &Choice) {
        let request = &self.claims[at.claim].requests[at.request];
        for constraint in &mut self.constraints[at.claim] {
            constraint.remove(request, choice);
        }
    }
}

fn is_tolerated(choice: &Choice, device: &Device) -> bool {
    let mut taints = device.taints.iter().filter(|taint| taint.forbids());
    taints.all(|taint| choice.tolerations.iter().any(|one| one.tolerates(taint)))
}
