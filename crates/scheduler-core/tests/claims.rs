//! Resource claims against a brute-force search: random pools, claims and events; after every decision the feasible nodes are the
//! same, and at no time do two claims have one device.

#![allow(clippy::unwrap_used)]

mod naive;

use std::collections::BTreeMap;
use std::time::Duration;

use fluyt_scheduler_core::core::{Core, Decision, Outcome};
use fluyt_scheduler_core::objects::{Node, Pod};
use fluyt_scheduler_core::profile::Profile;
use fluyt_scheduler_core::queue::Backoff;
use naive::devices::{Choice, Claim, Device, Devices, Pool};
use proptest::prelude::*;
use serde_json::{Value, json};

const DRIVER: &str = "d.example.com";

#[derive(Clone, Debug)]
enum Step {
    Node(u8),
    RemoveNode(u8),
    Pool {
        name: u8,
        node: u8,
        devices: Vec<[u8; 3]>,
    },
    RemovePool(u8),
    Pod {
        name: u8,
        claims: Vec<Vec<[u8; 4]>>,
        constraint: u8,
    },
    Schedule,
    /// The claims are written, then the pod is bound.
    Confirm(u8),
    /// The claims are written, but the pod is not bound, or not even the claims.
    Fail {
        name: u8,
        written: bool,
    },
    Delete(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let device = prop::array::uniform3(0_u8..6);
    let request = prop::array::uniform4(0_u8..6);
    let claim = prop::collection::vec(request, 1..3);
    prop_oneof![
        2 => (0_u8..3).prop_map(Step::Node),
        1 => (0_u8..3).prop_map(Step::RemoveNode),
        4 => (0_u8..5, 0_u8..4, prop::collection::vec(device, 0..4)).prop_map(|(name, node, devices)| Step::Pool { name, node, devices }),
        1 => (0_u8..5).prop_map(Step::RemovePool),
        5 => (0_u8..8, prop::collection::vec(claim, 1..3), 0_u8..6).prop_map(|(name, claims, constraint)| Step::Pod { name, claims, constraint }),
        8 => Just(Step::Schedule),
        2 => (0_u8..8).prop_map(Step::Confirm),
        2 => (0_u8..8, any::<bool>()).prop_map(|(name, written)| Step::Fail { name, written }),
        2 => (0_u8..8).prop_map(Step::Delete),
    ]
}

struct Known {
    pod: Pod,
    claims: Vec<(String, Claim, Value)>,
}

struct Test {
    core: Core,
    naive: Devices,
    nodes: BTreeMap<String, ()>,
    pods: BTreeMap<u8, Known>,
    /// Decided, not answered.
    in_flight: BTreeMap<u8, Decision>,
    time: Duration,
    serial: u64,
}

fn choice([count, size, special, _]: [u8; 4]) -> Choice {
    Choice {
        count: (count < 5).then_some(1 + usize::from(count % 2)),
        at_least: i64::from(size % 3),
        admin: special == 5,
        tolerates: special % 2 == 1,
    }
}

fn ask(name: &str, choice: &Choice) -> Value {
    let size = format!("device.attributes['{DRIVER}'].size >= {}", choice.at_least);
    let mut ask = json!({"name": name, "deviceClassName": "any", "selectors": [{"cel": {"expression": size}}]});
    match choice.count {
        Some(count) => ask["count"] = json!(count),
        None => ask["allocationMode"] = json!("All"),
    }
    if choice.admin {
        ask["adminAccess"] = json!(true);
    }
    if choice.tolerates {
        ask["tolerations"] = json!([{"operator": "Exists"}]);
    }
    ask
}

fn claim_of(requests: &[[u8; 4]], constraint: u8) -> (Claim, Value) {
    let mut claim = Claim {
        requests: Vec::new(),
        same_numa: constraint == 5,
    };
    let mut list = Vec::new();
    for (at, shape) in requests.iter().enumerate() {
        let mut own = vec![choice(*shape)];
        if claim.same_numa && own[0].count.is_none() {
            // All devices with a constraint that they violate is an error, not an answer.
            own[0].count = Some(1);
        }
        let name = format!("r{at}");
        if shape[3] == 5 {
            own[0].admin = false;
            let fewer = Choice {
                count: Some(1),
                at_least: 0,
                ..own[0].clone()
            };
            own.push(fewer);
            let asks: Vec<Value> = own
                .iter()
                .zip(["a", "b"])
                .map(|(one, name)| ask(name, one))
                .collect();
            list.push(json!({"name": name, "firstAvailable": asks}));
        } else {
            list.push(json!({"name": name, "exactly": ask("", &own[0])}));
        }
        claim.requests.push(own);
    }
    let mut devices = json!({"requests": list});
    if claim.same_numa {
        devices["constraints"] = json!([{"matchAttribute": format!("{DRIVER}/numa")}]);
    }
    (claim, devices)
}

impl Test {
    fn new() -> Self {
        let mut profile = Profile::default();
        profile.set_filter("DefaultPreemption", false);
        let backoff = Backoff {
            initial: Duration::ZERO,
            maximum: Duration::ZERO,
        };
        let mut core = Core::new(vec![profile], backoff);
        let class = json!({"metadata": {"name": "any"}, "spec": {}});
        core.apply_device_class(serde_json::from_value(class).unwrap(), Duration::ZERO);
        Self {
            core,
            naive: Devices::default(),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            time: Duration::ZERO,
            serial: 0,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.time += Duration::from_secs(301);
        self.serial += 1;
        match step {
            Step::Node(name) => {
                let name = format!("n{name}");
                let node = json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": "64", "memory": "64Gi", "pods": "110"}}});
                let node: Node = serde_json::from_value(node).unwrap();
                self.core.apply_node(&node, self.time);
                self.nodes.insert(name, ());
            }
            Step::RemoveNode(name) => {
                let name = format!("n{name}");
                self.core.delete_node(&name.as_str().into(), self.time);
                self.nodes.remove(&name);
            }
            Step::Pool {
                name,
                node,
                devices,
            } => self.pool(*name, *node, devices),
            Step::RemovePool(name) => {
                let name = format!("p{name}");
                self.core.delete_slice(&name.as_str().into(), self.time);
                self.naive.pools.remove(&name);
            }
            Step::Pod {
                name,
                claims,
                constraint,
            } => self.pod(*name, claims, *constraint),
            Step::Schedule => return self.schedule(),
            Step::Confirm(name) => {
                if let Some(decision) = self.in_flight.remove(name) {
                    self.write(*name, &decision, true);
                    self.core.bound(&decision.pod, self.time);
                    // It may have been deleted meanwhile.
                    if let Some(known) = self.pods.get_mut(name) {
                        known.pod.spec.node_name = decision.node;
                        self.core.apply_pod(&known.pod, self.time);
                    }
                }
            }
            Step::Fail { name, written } => {
                if let Some(decision) = self.in_flight.remove(name) {
                    self.write(*name, &decision, *written);
                    self.core.bind_failed(&decision.pod, self.time);
                }
            }
            Step::Delete(name) => self.delete(*name),
        }
        Ok(())
    }

    fn pool(&mut self, name: u8, node: u8, shapes: &[[u8; 3]]) {
        let name = format!("p{name}");
        let device = |(at, [size, numa, taint]): (usize, &[u8; 3])| Device {
            name: format!("d{at}"),
            size: i64::from(size % 3),
            numa: (*numa < 5).then_some(i64::from(numa % 2)),
            tainted: *taint == 5,
        };
        let pool = Pool {
            node: (node < 3).then(|| format!("n{node}")),
            devices: shapes.iter().enumerate().map(device).collect(),
        };
        let one = |device: &Device| {
            let mut one =
                json!({"name": device.name, "attributes": {"size": {"int": device.size}}});
            if let Some(numa) = device.numa {
                one["attributes"]["numa"] = json!({"int": numa});
            }
            if device.tainted {
                one["taints"] = json!([{"key": "k", "effect": "NoSchedule"}]);
            }
            one
        };
        let devices: Vec<Value> = pool.devices.iter().map(one).collect();
        let mut spec = json!({"driver": DRIVER, "pool": {"name": name, "generation": 1, "resourceSliceCount": 1}, "devices": devices});
        match &pool.node {
            Some(node) => spec["nodeName"] = json!(node),
            None => spec["allNodes"] = json!(true),
        }
        let slice = json!({"metadata": {"name": name}, "spec": spec});
        self.core
            .apply_slice(serde_json::from_value(slice).unwrap(), self.time);
        self.naive.pools.insert(name, pool);
    }

    fn pod(&mut self, name: u8, shapes: &[Vec<[u8; 4]>], constraint: u8) {
        if self.pods.contains_key(&name) || self.in_flight.contains_key(&name) {
            return;
        }
        let mut claims = Vec::new();
        let mut names = Vec::new();
        for (at, shape) in shapes.iter().enumerate() {
            let key = format!("c{name}-{at}");
            let (claim, devices) = claim_of(shape, constraint);
            names.push(json!({"name": format!("x{at}"), "resourceClaimName": key}));
            claims.push((key, claim, devices));
        }
        let pod = json!({"metadata": {"name": format!("p{name}"), "namespace": "ns", "uid": self.serial.to_string()},
                         "spec": {"schedulerName": "default-scheduler", "containers": [{"image": "a"}], "resourceClaims": names}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.core.apply_pod(&pod, self.time);
        for (key, _, devices) in &claims {
            self.apply_claim(key, devices, json!({}));
        }
        self.pods.insert(name, Known { pod, claims });
    }

    fn apply_claim(&mut self, key: &str, devices: &Value, status: Value) {
        self.serial += 1;
        let claim = json!({"metadata": {"name": key, "namespace": "ns", "uid": key, "resourceVersion": self.serial.to_string()},
                           "spec": {"devices": devices}, "status": status});
        let claim = serde_json::from_value(claim).unwrap();
        self.core.apply_resource_claim(claim, self.time);
    }

    /// What the shell writes, or does not: then the naive allocation made for the decision is forgotten.
    fn write(&mut self, name: u8, decision: &Decision, written: bool) {
        for claim in &decision.claims {
            let Some(allocation) = &claim.allocation else {
                continue;
            };
            let key = claim.name.to_string();
            let known = self
                .pods
                .get(&name)
                .and_then(|known| known.claims.iter().find(|(own, ..)| *own == key).cloned());
            match known {
                Some((_, _, devices)) if written => {
                    self.apply_claim(&key, &devices, json!({"allocation": **allocation}));
                }
                _ => drop(self.naive.allocated.remove(&key)),
            }
        }
    }

    fn delete(&mut self, name: u8) {
        let Some(known) = self.pods.remove(&name) else {
            return;
        };
        self.core.delete_pod(&known.pod.key(), self.time);
        for (key, ..) in &known.claims {
            self.core
                .delete_resource_claim(&format!("ns/{key}"), self.time);
            // What is being written stays reserved until the answer.
            let pending = self.in_flight.get(&name).is_some_and(|decision| {
                let mut claims = decision.claims.iter();
                claims.any(|claim| claim.name == *key && claim.allocation.is_some())
            });
            if !pending {
                self.naive.allocated.remove(key);
            }
        }
    }

    fn feasible(&self, known: &Known) -> Vec<String> {
        let claims: Vec<(String, Claim)> = known
            .claims
            .iter()
            .map(|(key, claim, _)| (key.clone(), claim.clone()))
            .collect();
        let nodes = self.nodes.keys();
        nodes
            .filter(|node| self.naive.fits(node, &claims))
            .cloned()
            .collect()
    }

    /// An explanation of any pod counts the same nodes as the search does, taking its own devices as its own.
    fn explain(&mut self) -> Result<(), TestCaseError> {
        let names: Vec<u8> = self.pods.keys().copied().collect();
        for name in names {
            let known = &self.pods[&name];
            let key = known.pod.key();
            let why = self.core.why(&key, self.time).unwrap();
            let feasible = self.feasible(known);
            prop_assert_eq!(why.feasible, feasible.len(), "{}: {:?}", key, why.reasons);
            if feasible.is_empty() {
                prop_assert!(why.suggestions.is_empty(), "{:?}", why.suggestions);
                let preemption = why.preemption.as_ref();
                prop_assert!(preemption.is_none_or(|one| one.candidates.is_empty()));
            }
        }
        Ok(())
    }

    fn schedule(&mut self) -> Result<(), TestCaseError> {
        let Some(outcome) = self.core.schedule_one(self.time) else {
            return Ok(());
        };
        let (Outcome::Placed(Decision { pod, .. }) | Outcome::Unschedulable { pod, .. }) = &outcome;
        let name: u8 = pod.name[1..].parse().unwrap();
        let known = &self.pods[&name];
        let feasible = self.feasible(known);
        match outcome {
            Outcome::Unschedulable { message, .. } => {
                prop_assert!(
                    feasible.is_empty(),
                    "{} could go to {:?}: {}",
                    name,
                    feasible,
                    message
                );
                // What the core wants back is given back.
                for one in self.core.take_deallocations() {
                    let known = &self.pods[&name];
                    let found = known
                        .claims
                        .iter()
                        .find(|(key, ..)| **key == *one.claim.name);
                    let (key, _, devices) = found.cloned().unwrap();
                    self.apply_claim(&key, &devices, json!({}));
                    self.naive.allocated.remove(&key);
                }
            }
            Outcome::Placed(decision) => {
                prop_assert!(feasible.contains(&decision.node.to_string()));
                prop_assert_eq!(decision.feasible, feasible.len());
                self.take(&decision)?;
                self.in_flight.insert(name, decision);
            }
        }
        Ok(())
    }

    /// The devices of a decision are nobody else's.
    fn take(&mut self, decision: &Decision) -> Result<(), TestCaseError> {
        for claim in &decision.claims {
            let Some(allocation) = &claim.allocation else {
                continue;
            };
            let mut devices = Vec::new();
            for result in &allocation.devices.results {
                let id = (result.pool.to_string(), result.device.to_string());
                let admin = result.admin_access == Some(true);
                for (other, (taken, _)) in &self.naive.allocated {
                    let shared = taken.iter().any(|(one, theirs)| *one == id && !theirs);
                    prop_assert!(
                        admin || !shared,
                        "{:?} of {} is given to {}",
                        id,
                        other,
                        claim.name
                    );
                }
                devices.push((id, admin));
            }
            let own = allocation.node_selector.as_ref();
            let own = own.map(|_| decision.node.to_string());
            self.naive
                .allocated
                .insert(claim.name.to_string(), (devices, own));
        }
        Ok(())
    }

    /// Whoever counts, counts the same devices.
    fn compare(&self) -> Result<(), TestCaseError> {
        let mut used: Vec<(String, String)> = self
            .core
            .cluster()
            .devices
            .in_use()
            .map(|(pool, device, _)| (pool.pool.to_string(), device.to_string()))
            .collect();
        used.sort();
        let allocated = self
            .naive
            .allocated
            .values()
            .flat_map(|(devices, _)| devices);
        let mut expected: Vec<_> = allocated
            .filter(|(_, admin)| !admin)
            .map(|(id, _)| id.clone())
            .collect();
        expected.sort();
        prop_assert_eq!(used, expected);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn claims_equal_the_brute_force_search(steps in prop::collection::vec(step(), 20..80)) {
        let mut test = Test::new();
        for step in &steps {
            test.step(step)?;
            test.explain()?;
            test.compare()?;
        }
    }
}
