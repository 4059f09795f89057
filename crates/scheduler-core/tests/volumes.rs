//! Pods with volumes: the fast scheduler against the naive one, over random claims, volumes, classes and CSI objects that come and go,
//! with a server that shows what was written and a controller that binds.

#![allow(clippy::unwrap_used)]

mod naive;

use std::collections::BTreeMap;
use std::time::Duration;

use fluyt_scheduler_core::classes::Limits;
use fluyt_scheduler_core::cluster::volumes::VolumeBindings;
use fluyt_scheduler_core::core::{Core, Decision, Outcome, PodRef};
use fluyt_scheduler_core::objects::{Pod, Text};
use fluyt_scheduler_core::preemption::Preemption;
use fluyt_scheduler_core::profile::Profile;
use fluyt_scheduler_core::queue::Backoff;
use fluyt_scheduler_core::storage::{ClaimRef, PersistentVolumeClaim};
use naive::{World, storage};
use proptest::prelude::*;
use serde_json::json;

#[derive(Clone, Debug)]
enum Step {
    Node {
        name: u8,
        shape: [u8; 4],
    },
    RemoveNode(u8),
    Pod {
        name: u8,
        shape: [u8; 6],
    },
    PlacedPod {
        name: u8,
        node: u8,
        shape: [u8; 6],
    },
    Schedule,
    Confirm(u8),
    BindFails(u8),
    Delete(u8),
    Claim {
        name: u8,
        namespace: u8,
        shape: [u8; 8],
    },
    EphemeralClaim {
        pod: u8,
        shape: [u8; 8],
    },
    DropClaim {
        name: u8,
        namespace: u8,
    },
    Volume {
        name: u8,
        shape: [u8; 8],
    },
    DropVolume(u8),
    Class {
        name: u8,
        kind: u8,
    },
    CsiNode {
        name: u8,
        shape: [u8; 2],
    },
    Driver(u8),
    Capacity {
        name: u8,
        shape: [u8; 3],
    },
    Attachment {
        name: u8,
        node: u8,
        volume: u8,
    },
    /// The server shows what a pod's bindings wrote.
    Written(u8),
    /// The controller binds what is given or is to be provisioned.
    Bound(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let shape4 = prop::array::uniform4(0_u8..12);
    let shape6 = prop::array::uniform6(0_u8..12);
    let shape8 = prop::array::uniform8(0_u8..12);
    let names = 0_u8..20;
    prop_oneof![
        3 => (0_u8..6, shape4).prop_map(|(name, shape)| Step::Node { name, shape }),
        1 => (0_u8..6).prop_map(Step::RemoveNode),
        6 => (names.clone(), shape6.clone()).prop_map(|(name, shape)| Step::Pod { name, shape }),
        2 => (names.clone(), 0_u8..7, shape6).prop_map(|(name, node, shape)| Step::PlacedPod { name, node, shape }),
        10 => Just(Step::Schedule),
        2 => names.clone().prop_map(Step::Confirm),
        1 => names.clone().prop_map(Step::BindFails),
        1 => names.clone().prop_map(Step::Delete),
        5 => (0_u8..6, 0_u8..2, shape8.clone()).prop_map(|(name, namespace, shape)| Step::Claim { name, namespace, shape }),
        2 => (names.clone(), shape8.clone()).prop_map(|(pod, shape)| Step::EphemeralClaim { pod, shape }),
        1 => (0_u8..6, 0_u8..2).prop_map(|(name, namespace)| Step::DropClaim { name, namespace }),
        6 => (0_u8..8, shape8).prop_map(|(name, shape)| Step::Volume { name, shape }),
        1 => (0_u8..8).prop_map(Step::DropVolume),
        2 => (0_u8..4, 0_u8..12).prop_map(|(name, kind)| Step::Class { name, kind }),
        2 => (0_u8..6, prop::array::uniform2(0_u8..12)).prop_map(|(name, shape)| Step::CsiNode { name, shape }),
        1 => (0_u8..3).prop_map(Step::Driver),
        2 => (0_u8..4, prop::array::uniform3(0_u8..12)).prop_map(|(name, shape)| Step::Capacity { name, shape }),
        1 => (0_u8..4, 0_u8..6, 0_u8..8).prop_map(|(name, node, volume)| Step::Attachment { name, node, volume }),
        2 => names.clone().prop_map(Step::Written),
        2 => names.prop_map(Step::Bound),
    ]
}

struct InFlight {
    pod: PodRef,
    bindings: Option<Box<VolumeBindings>>,
}

struct Test {
    core: Core,
    world: World,
    pods: BTreeMap<Text, Pod>,
    in_flight: BTreeMap<Text, InFlight>,
    time: Duration,
    serial: usize,
    preempts: bool,
}

fn key(name: u8) -> Text {
    format!("ns{}/p{name}", name % 2).into()
}

impl Test {
    fn new(limits: Limits, preempts: bool) -> Self {
        let mut profile = Profile::default();
        profile.set_filter("DefaultPreemption", preempts);
        let backoff = Backoff {
            initial: Duration::ZERO,
            maximum: Duration::ZERO,
        };
        let mut test = Self {
            core: Core::with_limits(vec![profile], backoff, limits),
            world: World::default(),
            pods: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            time: Duration::ZERO,
            serial: 0,
            preempts,
        };
        for (name, kind) in [(0, 0), (1, 0), (2, 0)] {
            test.class(name, kind);
        }
        test
    }

    /// With a priority where that matters.
    fn pod(&self, name: u8, shape: [u8; 6]) -> Pod {
        let mut pod = storage::pod(name, shape, self.serial);
        if self.preempts {
            pod.spec.priority = Some(i32::from(name % 3));
        }
        pod
    }

    fn forget(&mut self, key: &Text) {
        self.core.delete_pod(key, self.time);
        self.world.placed.remove(key);
        self.revert(key);
        self.pods.remove(key);
    }

    /// What the pod assumed and the server has not shown to be otherwise is no longer so.
    fn revert(&mut self, key: &Text) {
        let Some(bindings) = self.in_flight.remove(key).and_then(|one| one.bindings) else {
            return;
        };
        let storage = &mut self.world.storage;
        for binding in bindings.volumes {
            let volume = storage.volumes.get(&binding.volume);
            if volume.is_some_and(|one| one.metadata.resource_version == binding.resource_version) {
                storage.assumed_volumes.remove(&binding.volume);
            }
        }
        for provision in bindings.claims {
            let key = format!("{}/{}", bindings.namespace, provision.claim);
            storage.assumed_claims.remove(key.as_str());
        }
    }

    fn set_claim(&mut self, claim: PersistentVolumeClaim) {
        self.core.apply_claim(&claim, self.time);
        let key: Text = format!("{}/{}", claim.metadata.namespace, claim.metadata.name).into();
        self.world.storage.assumed_claims.remove(&key);
        self.world.storage.claims.insert(key, claim);
    }

    fn set_volume(&mut self, volume: fluyt_scheduler_core::storage::PersistentVolume) {
        self.core.apply_volume(&volume, self.time);
        let name = volume.metadata.name.clone();
        self.world.storage.assumed_volumes.remove(&name);
        self.world.storage.volumes.insert(name, volume);
    }

    fn class(&mut self, name: u8, kind: u8) {
        let name = storage::CLASSES[name as usize];
        if kind == 11 {
            self.core.delete_storage_class(&name.into());
            self.world.storage.classes.remove(name);
            return;
        }
        let class = storage::class(name, kind);
        self.core.apply_storage_class(&class, self.time);
        self.world.storage.classes.insert(name.into(), class);
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.time += Duration::from_secs(1);
        self.serial += 1;
        match step.clone() {
            Step::Node { name, shape } => {
                let node = storage::node(name, shape);
                self.core.apply_node(&node, self.time);
                self.world.nodes.insert(node.metadata.name.clone(), node);
            }
            Step::RemoveNode(name) => {
                let name: Text = format!("n{name}").into();
                self.core.delete_node(&name, self.time);
                self.world.nodes.remove(&name);
            }
            Step::Pod { name, shape } => {
                let key = key(name);
                if !self.pods.contains_key(&key) {
                    let pod = self.pod(name, shape);
                    self.core.apply_pod(&pod, self.time);
                    self.pods.insert(key, pod);
                }
            }
            Step::PlacedPod { name, node, shape } => {
                let key = key(name);
                self.forget(&key);
                let mut pod = self.pod(name, shape);
                pod.spec.node_name = format!("n{node}").into();
                self.core.apply_pod(&pod, self.time);
                let placed = (pod.clone(), pod.spec.node_name.clone());
                self.world.placed.insert(key.clone(), placed);
                self.pods.insert(key, pod);
            }
            Step::Schedule => return self.schedule(),
            Step::Confirm(name) => {
                let key = key(name);
                if self.in_flight.remove(&key).is_some() {
                    let node = self.world.placed[&key].1.clone();
                    let pod = self.pods.get_mut(&key).unwrap();
                    pod.spec.node_name = node.clone();
                    self.world.placed.insert(key, (pod.clone(), node));
                    self.core.apply_pod(pod, self.time);
                }
            }
            Step::BindFails(name) => {
                let key = key(name);
                if let Some(one) = self.in_flight.get(&key) {
                    self.core.bind_failed(&one.pod, self.time);
                    self.revert(&key);
                    self.world.placed.remove(&key);
                }
            }
            Step::Delete(name) => self.forget(&key(name)),
            Step::Written(name) => self.written(&key(name)),
            Step::Bound(name) => self.bound(&key(name)),
            other => self.storage_step(other),
        }
        Ok(())
    }

    fn storage_step(&mut self, step: Step) {
        match step {
            Step::Claim {
                name,
                namespace,
                shape,
            } => {
                let name = format!("c{name}");
                self.set_claim(storage::claim(&name, namespace, "", shape, self.serial));
            }
            Step::EphemeralClaim { pod, shape } => {
                let owner = format!("pod-{pod}-{}", shape[7] % 2);
                let name = format!("p{pod}-e");
                self.set_claim(storage::claim(&name, pod % 2, &owner, shape, self.serial));
            }
            Step::DropClaim { name, namespace } => {
                let key: Text = format!("ns{namespace}/c{name}").into();
                self.core.delete_claim(&key);
                self.world.storage.claims.remove(&key);
                self.world.storage.assumed_claims.remove(&key);
            }
            Step::Volume { name, shape } => {
                self.set_volume(storage::persistent_volume(name, shape, self.serial));
            }
            Step::DropVolume(name) => {
                let name: Text = format!("v{name}").into();
                self.core.delete_volume(&name);
                self.world.storage.volumes.remove(&name);
                self.world.storage.assumed_volumes.remove(&name);
            }
            Step::Class { name, kind } => self.class(name, kind),
            Step::CsiNode { name, shape } => {
                let node = storage::csi_node(name, shape);
                let name = node.metadata.name.clone();
                if shape[1] == 5 {
                    self.core.delete_csi_node(&name);
                    self.world.storage.csi_nodes.remove(&name);
                    return;
                }
                self.core.apply_csi_node(&node, self.time);
                self.world.storage.csi_nodes.insert(name, node);
            }
            Step::Driver(kind) => {
                let driver = storage::driver(kind == 1);
                let name = driver.metadata.name.clone();
                if kind == 2 {
                    self.core.delete_csi_driver(&name);
                    self.world.storage.drivers.remove(&name);
                    return;
                }
                self.core.apply_csi_driver(&driver, self.time);
                self.world.storage.drivers.insert(name, driver);
            }
            Step::Capacity { name, shape } => {
                let capacity = storage::capacity(name, shape);
                let key: Text = format!("kube-system/{}", capacity.metadata.name).into();
                if shape[2] == 11 {
                    self.core.delete_storage_capacity(&key);
                    self.world.storage.capacities.remove(&key);
                    return;
                }
                self.core.apply_storage_capacity(&capacity, self.time);
                self.world.storage.capacities.insert(key, capacity);
            }
            Step::Attachment { name, node, volume } => {
                let attachment = storage::attachment(name, node, volume);
                let name = attachment.metadata.name.clone();
                if volume == 7 {
                    self.core.delete_volume_attachment(&name, self.time);
                    self.world.storage.attachments.remove(&name);
                    return;
                }
                self.core.apply_volume_attachment(&attachment);
                self.world.storage.attachments.insert(name, attachment);
            }
            _ => {}
        }
    }

    fn written(&mut self, key: &Text) {
        let Some(bindings) = self.in_flight.get(key).and_then(|one| one.bindings.clone()) else {
            return;
        };
        for binding in &bindings.volumes {
            let volume = self.world.storage.volumes.get(&binding.volume).cloned();
            if let Some(mut volume) = volume {
                volume.spec.claim_ref = Some(binding.claim.clone());
                volume.metadata.resource_version = self.serial.to_string().into();
                self.set_volume(volume);
            }
        }
        for provision in &bindings.claims {
            let claim = format!("{}/{}", bindings.namespace, provision.claim);
            let claim = self.world.storage.claims.get(claim.as_str()).cloned();
            if let Some(mut claim) = claim {
                let node = &self.world.placed[key].1;
                let notes = json!({"volume.kubernetes.io/selected-node": node});
                claim.metadata.annotations = serde_json::from_value(notes).unwrap();
                claim.metadata.resource_version = self.serial.to_string().into();
                self.set_claim(claim);
            }
        }
    }

    fn bound(&mut self, key: &Text) {
        let Some(bindings) = self.in_flight.get(key).and_then(|one| one.bindings.clone()) else {
            return;
        };
        let node = self.world.placed[key].1.clone();
        let mut pairs: Vec<(Text, Text)> = Vec::new();
        for binding in &bindings.volumes {
            let claim = format!("{}/{}", binding.claim.namespace, binding.claim.name);
            pairs.push((claim.into(), binding.volume.clone()));
        }
        for provision in &bindings.claims {
            let name = format!("made-{}", provision.claim);
            let mut volume = storage::persistent_volume(0, [1; 8], self.serial);
            volume.metadata.name = name.clone().into();
            volume.spec.claim_ref = Some(ClaimRef {
                namespace: bindings.namespace.clone(),
                name: provision.claim.clone(),
                uid: Text::default(),
            });
            self.set_volume(volume);
            let claim = format!("{}/{}", bindings.namespace, provision.claim);
            pairs.push((claim.into(), name.into()));
        }
        for (claim, volume) in pairs {
            let Some(mut claim) = self.world.storage.claims.get(&claim).cloned() else {
                continue;
            };
            claim.spec.volume_name = volume;
            let notes = json!({"pv.kubernetes.io/bind-completed": "yes", "volume.kubernetes.io/selected-node": node});
            claim.metadata.annotations = serde_json::from_value(notes).unwrap();
            claim.metadata.resource_version = self.serial.to_string().into();
            self.set_claim(claim);
        }
    }

    fn schedule(&mut self) -> Result<(), TestCaseError> {
        let Some(outcome) = self.core.schedule_one(self.time) else {
            return Ok(());
        };
        match outcome {
            Outcome::Placed(decision) => self.placed(decision),
            Outcome::Unschedulable {
                pod,
                message,
                preemption,
                ..
            } => {
                let answer = naive::evaluate(&self.world, &self.pods[&pod.key()]);
                prop_assert!(
                    answer.feasible.is_empty(),
                    "{} could go to {:?}, but: {}",
                    pod.key(),
                    answer.feasible,
                    message
                );
                if self.preempts {
                    return self.preempted(&pod.key(), &message, &answer.message, preemption);
                }
                prop_assert_eq!(message, answer.message);
                Ok(())
            }
        }
    }

    fn preempted(
        &mut self,
        key: &Text,
        message: &str,
        expected: &str,
        preemption: Option<Preemption>,
    ) -> Result<(), TestCaseError> {
        let pod = self.pods[key].clone();
        // Once room is made nobody says that claims could not make it.
        let expected = match &preemption {
            Some(_) => expected.trim_end_matches(" no new claims to deallocate"),
            None => expected,
        };
        prop_assert!(
            message.starts_with(expected),
            "{}: {}, not {}",
            key,
            message,
            expected
        );
        let row = |name: &Text| self.core.cluster().nodes.id(name).unwrap();
        let expected = naive::preemption::preempt(&self.world, &pod, row);
        let got = preemption.map(|one| {
            let victims: Vec<Text> = one.victims.iter().map(PodRef::key).collect();
            (one.node, victims)
        });
        prop_assert_eq!(&got, &expected, "preemption by {:?}: {}", pod, message);
        let Some((node, victims)) = got else {
            return Ok(());
        };
        // The room is used at once, or nobody needs it any more.
        match self.serial.is_multiple_of(2) {
            true => self.forget(key),
            false => {
                victims.iter().for_each(|victim| self.forget(victim));
                let mut placed = pod;
                let answer = naive::evaluate(&self.world, &placed);
                prop_assert!(answer.feasible.contains_key(&node), "{:?}", answer);
                placed.spec.node_name = node.clone();
                self.core.apply_pod(&placed, self.time);
                self.world
                    .placed
                    .insert(key.clone(), (placed.clone(), node));
                self.pods.insert(key.clone(), placed);
            }
        }
        Ok(())
    }

    fn placed(&mut self, decision: Decision) -> Result<(), TestCaseError> {
        let key = decision.pod.key();
        let pod = self.pods[&key].clone();
        let answer = naive::evaluate(&self.world, &pod);
        let best = answer.feasible.values().max().copied();
        prop_assert_eq!(
            Some(decision.score),
            best,
            "{} on {}: {:?}",
            key,
            decision.node,
            answer
        );
        prop_assert_eq!(decision.feasible, answer.feasible.len());
        prop_assert_eq!(answer.feasible.get(&decision.node).copied(), best);
        let node = &self.world.nodes[&decision.node];
        let (volumes, claims) = naive::volumes::bind(&self.world, &pod, node).unwrap();
        let bindings = decision.volumes.clone().unwrap_or_default();
        let given: BTreeMap<Text, Text> = bindings
            .volumes
            .iter()
            .map(|one| {
                let claim = format!("{}/{}", one.claim.namespace, one.claim.name);
                (claim.into(), one.volume.clone())
            })
            .collect();
        prop_assert_eq!(given, volumes.clone(), "volumes of {}", key);
        let provisions = bindings.claims.iter();
        let provisions: std::collections::BTreeSet<Text> = provisions
            .map(|one| format!("{}/{}", bindings.namespace, one.claim).into())
            .collect();
        prop_assert_eq!(&provisions, &claims, "provisions of {}", key);
        for (claim, volume) in volumes {
            let claim = &self.world.storage.claims[&claim].metadata;
            let reference = ClaimRef {
                namespace: claim.namespace.clone(),
                name: claim.name.clone(),
                uid: claim.uid.clone(),
            };
            self.world.storage.assumed_volumes.insert(volume, reference);
        }
        for claim in claims {
            let node = decision.node.clone();
            self.world.storage.assumed_claims.insert(claim, node);
        }
        self.world
            .placed
            .insert(key.clone(), (pod, decision.node.clone()));
        let one = InFlight {
            pod: decision.pod,
            bindings: decision.volumes,
        };
        self.in_flight.insert(key, one);
        Ok(())
    }

    /// Feasible nodes and scores of some pods, known in whatever state.
    fn probe(&mut self, which: usize) -> Result<(), TestCaseError> {
        if self.pods.is_empty() {
            return Ok(());
        }
        for offset in 0..2 {
            let at = (which * 7 + offset * 3) % self.pods.len();
            let (key, pod) = self
                .pods
                .iter()
                .nth(at)
                .map(|(key, pod)| (key.clone(), pod.clone()))
                .unwrap();
            let naive = naive::evaluate(&self.world, &pod).feasible;
            let fast: BTreeMap<Text, i64> = self.core.evaluate(&key).unwrap().into_iter().collect();
            prop_assert_eq!(fast, naive, "pod {}: {:?}", key, pod.spec.volumes);
        }
        Ok(())
    }
}

fn cases() -> u32 {
    let cases = std::env::var("FLUYT_PROPERTY_CASES").ok();
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(160)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 1500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn decisions_about_volumes_equal_the_naive_scheduler(
        steps in prop::collection::vec(step(), 1..140),
        classes in prop_oneof![Just(2_usize), Just(64)],
        log in prop_oneof![Just(8_usize), Just(4096)],
        preempts in any::<bool>(),
    ) {
        let mut test = Test::new(Limits { few_domains: 64, classes, slots: 1 << 20, log }, preempts);
        for (at, step) in steps.iter().enumerate() {
            test.step(step)?;
            test.probe(at)?;
        }
    }
}
