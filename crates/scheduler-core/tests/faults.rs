//! The core behind a network that fails: bindings that are refused, lost on the way there, or on the way back though they took
//! effect; watches that lag, and break; schedulers that die, and whose successors know only what the server lists; nodes that go.
//!
//! A model of the API server is the judge. After every step: no pod was bound twice, no node is overcommitted. At the end, when the
//! faults stop: every pod that some node could take is bound.

#![allow(clippy::unwrap_used)]

mod naive;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use fluyt_scheduler_core::core::{Core, Decision, Outcome};
use fluyt_scheduler_core::objects::{Node, Pod, Text};
use naive::World;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    Node(u8),
    RemoveNode(u8),
    Pod {
        name: u8,
        size: u8,
        port: bool,
    },
    DeletePod(u8),
    /// The scheduler hears of so many changes of pods, or of nodes; more with each repetition of the watch.
    HearOfPods(u8),
    HearOfNodes(u8),
    /// The next thing heard is a new list.
    PodWatchBreaks,
    NodeWatchBreaks,
    Decide(u8),
    /// Of the bindings in flight one gets further.
    Binding {
        which: u8,
        fate: Fate,
    },
    /// The leader is killed. What it sent may still arrive, before the next one lists.
    Takeover {
        arrives: bool,
    },
    Later(u8),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Fate {
    Answered,
    /// It takes effect, but the scheduler does not hear so; it will ask again.
    AnswerLost,
    RequestLost,
    Refused,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        4 => Just(Fate::Answered),
        2 => Just(Fate::AnswerLost),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::Refused),
    ];
    prop_oneof![
        2 => (0_u8..5).prop_map(Step::Node),
        1 => (0_u8..5).prop_map(Step::RemoveNode),
        6 => (0_u8..24, 1_u8..6, prop::bool::weighted(0.2))
            .prop_map(|(name, size, port)| Step::Pod { name, size, port }),
        2 => (0_u8..24).prop_map(Step::DeletePod),
        6 => (1_u8..5).prop_map(Step::HearOfPods),
        3 => (1_u8..5).prop_map(Step::HearOfNodes),
        1 => Just(Step::PodWatchBreaks),
        1 => Just(Step::NodeWatchBreaks),
        6 => (1_u8..5).prop_map(Step::Decide),
        8 => (0_u8..8, fate).prop_map(|(which, fate)| Step::Binding { which, fate }),
        1 => any::<bool>().prop_map(|arrives| Step::Takeover { arrives }),
        2 => (1_u8..20).prop_map(Step::Later),
    ]
}

/// The API server: what there is, and every change in order.
#[derive(Default)]
struct Server {
    pods: BTreeMap<Text, Pod>,
    nodes: BTreeMap<Text, Node>,
    pod_changes: Vec<Result<Pod, Text>>,
    node_changes: Vec<Result<Node, Text>>,
    /// By uid: every node that it was ever bound to.
    bound: BTreeMap<Text, Vec<Text>>,
    uids: u32,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Bound,
    /// Gone, or bound; with the node that a look at it shows.
    Not(Option<Text>),
}

impl Server {
    fn set_pod(&mut self, pod: Pod) {
        self.pod_changes.push(Ok(pod.clone()));
        self.pods.insert(pod.key(), pod);
    }

    fn bind(&mut self, decision: &Decision) -> Answer {
        let key = decision.pod.key();
        let Some(pod) = self
            .pods
            .get(&key)
            .filter(|pod| pod.metadata.uid == decision.pod.uid)
        else {
            return Answer::Not(None);
        };
        if pod.is_assigned() {
            return Answer::Not(Some(pod.spec.node_name.clone()));
        }
        let mut pod = pod.clone();
        pod.spec.node_name = decision.node.clone();
        let history = self.bound.entry(decision.pod.uid.clone()).or_default();
        history.push(decision.node.clone());
        self.set_pod(pod);
        Answer::Bound
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for (uid, nodes) in &self.bound {
            prop_assert_eq!(nodes.len(), 1, "pod {} was bound to {:?}", uid, nodes);
        }
        for name in self.nodes.keys() {
            let on: Vec<&Pod> = self
                .pods
                .values()
                .filter(|pod| pod.spec.node_name == *name)
                .collect();
            let cpu: u32 = on.iter().map(|pod| millicores(pod)).sum();
            let ports = on
                .iter()
                .filter(|pod| !pod.spec.containers[0].ports.is_empty())
                .count();
            prop_assert!(
                cpu <= 1000 && on.len() <= 6 && ports <= 1,
                "{} has {} pods, {}m, {} with the port",
                name,
                on.len(),
                cpu,
                ports
            );
        }
        Ok(())
    }

    fn world(&self) -> World {
        let assigned = self.pods.values().filter(|pod| pod.is_assigned());
        World {
            nodes: self.nodes.clone(),
            placed: assigned
                .map(|pod| (pod.key(), (pod.clone(), pod.spec.node_name.clone())))
                .collect(),
            ..World::default()
        }
    }
}

fn millicores(pod: &Pod) -> u32 {
    let text = pod.spec.containers[0]
        .resources
        .requests
        .get("cpu")
        .unwrap();
    text.trim_end_matches('m').parse().unwrap()
}

/// A scheduler as the shell drives it: changes in order, bindings in flight until their outcome is known.
struct Scheduler {
    core: Core,
    pods_heard: usize,
    nodes_heard: usize,
    pods_broken: bool,
    nodes_broken: bool,
    in_flight: Vec<Decision>,
}

impl Scheduler {
    /// Knows what the server lists.
    fn new(server: &Server, now: Duration) -> Self {
        let mut scheduler = Self {
            core: Core::default(),
            pods_heard: 0,
            nodes_heard: 0,
            pods_broken: true,
            nodes_broken: true,
            in_flight: Vec::new(),
        };
        scheduler.hear_of_pods(server, 0, now);
        scheduler.hear_of_nodes(server, 0, now);
        scheduler
    }

    fn hear_of_pods(&mut self, server: &Server, most: usize, now: Duration) {
        if std::mem::take(&mut self.pods_broken) {
            self.core
                .retain_pods(|key| server.pods.contains_key(key), now);
            server
                .pods
                .values()
                .for_each(|pod| self.core.apply_pod(pod, now));
            self.pods_heard = server.pod_changes.len();
        }
        for change in server.pod_changes.iter().skip(self.pods_heard).take(most) {
            match change {
                Ok(pod) => self.core.apply_pod(pod, now),
                Err(key) => self.core.delete_pod(key, now),
            }
            self.pods_heard += 1;
        }
    }

    fn hear_of_nodes(&mut self, server: &Server, most: usize, now: Duration) {
        if std::mem::take(&mut self.nodes_broken) {
            self.core
                .retain_nodes(|name| server.nodes.contains_key(name), now);
            server
                .nodes
                .values()
                .for_each(|node| self.core.apply_node(node, now));
            self.nodes_heard = server.node_changes.len();
        }
        for change in server.node_changes.iter().skip(self.nodes_heard).take(most) {
            match change {
                Ok(node) => self.core.apply_node(node, now),
                Err(name) => self.core.delete_node(name, now),
            }
            self.nodes_heard += 1;
        }
    }

    /// Returns how many decisions there were.
    fn decide(&mut self, most: u8, now: Duration) -> u64 {
        let mut decisions = 0;
        for _ in 0..most {
            match self.core.schedule_one(now) {
                Some(Outcome::Placed(decision)) => self.in_flight.push(decision),
                Some(Outcome::Unschedulable { .. }) => {}
                None => break,
            }
            decisions += 1;
        }
        decisions
    }

    /// What the shell does with a binding: a lost request or answer leaves it in flight, to be tried again on the same node.
    fn binding(&mut self, server: &mut Server, which: usize, fate: Fate, now: Duration) {
        if self.in_flight.is_empty() {
            return;
        }
        let at = which % self.in_flight.len();
        let bound = match fate {
            Fate::RequestLost => return,
            Fate::AnswerLost => {
                server.bind(&self.in_flight[at]);
                return;
            }
            Fate::Refused => false,
            Fate::Answered => match server.bind(&self.in_flight[at]) {
                Answer::Bound => true,
                Answer::Not(node) => node.as_ref() == Some(&self.in_flight[at].node),
            },
        };
        // A refusal after an answer that was lost: the shell looks at the pod before it gives the room away.
        let pod = server.pods.get(&self.in_flight[at].pod.key());
        let seen = pod.is_some_and(|pod| {
            pod.metadata.uid == self.in_flight[at].pod.uid
                && pod.spec.node_name == self.in_flight[at].node
        });
        let decision = self.in_flight.swap_remove(at);
        match bound || seen {
            true => self.core.bound(&decision.pod, now),
            false => self.core.bind_failed(&decision.pod, now),
        }
    }
}

struct Test {
    server: Server,
    leader: Scheduler,
    now: Duration,
    decisions: u64,
}

impl Test {
    fn step(&mut self, step: &Step) {
        self.now += Duration::from_millis(200);
        let (server, leader, now) = (&mut self.server, &mut self.leader, self.now);
        match *step {
            Step::Node(name) => {
                let node = node(name);
                server.node_changes.push(Ok(node.clone()));
                server.nodes.insert(node.metadata.name.clone(), node);
            }
            Step::RemoveNode(name) => {
                let name: Text = format!("n{name}").into();
                if server.nodes.remove(&name).is_some() {
                    server.node_changes.push(Err(name));
                }
            }
            Step::Pod { name, size, port } => {
                let key: Text = format!("ns/p{name}").into();
                if !server.pods.contains_key(&key) {
                    server.uids += 1;
                    server.set_pod(pod(name, size, port, server.uids));
                }
            }
            Step::DeletePod(name) => {
                let key: Text = format!("ns/p{name}").into();
                if server.pods.remove(&key).is_some() {
                    server.pod_changes.push(Err(key));
                }
            }
            Step::HearOfPods(most) => leader.hear_of_pods(server, most.into(), now),
            Step::HearOfNodes(most) => leader.hear_of_nodes(server, most.into(), now),
            Step::PodWatchBreaks => leader.pods_broken = true,
            Step::NodeWatchBreaks => leader.nodes_broken = true,
            Step::Decide(most) => self.decisions += leader.decide(most, now),
            Step::Binding { which, fate } => leader.binding(server, which.into(), fate, now),
            Step::Takeover { arrives } => {
                if arrives {
                    leader
                        .in_flight
                        .iter()
                        .for_each(|decision| drop(server.bind(decision)));
                }
                *leader = Scheduler::new(server, now);
            }
            Step::Later(seconds) => self.now += Duration::from_secs(seconds.into()),
        }
    }

    /// The faults stop. Every event arrives, every binding is answered, and time goes by.
    fn calm_down(&mut self) {
        for _ in 0..60 {
            self.now += Duration::from_secs(12);
            self.leader.hear_of_pods(&self.server, usize::MAX, self.now);
            self.leader
                .hear_of_nodes(&self.server, usize::MAX, self.now);
            self.decisions += self.leader.decide(u8::MAX, self.now);
            while !self.leader.in_flight.is_empty() {
                self.leader
                    .binding(&mut self.server, 0, Fate::Answered, self.now);
            }
        }
    }

    fn check_that_no_pod_is_lost(&self) -> Result<(), TestCaseError> {
        let world = self.server.world();
        for pod in self.server.pods.values().filter(|pod| !pod.is_assigned()) {
            let feasible = naive::evaluate(&world, pod).feasible;
            prop_assert!(
                feasible.is_empty(),
                "{} is pending, but {:?} could take it; {:?}",
                pod.key(),
                feasible,
                self.leader.core.place_of(&pod.key())
            );
        }
        Ok(())
    }
}

fn node(name: u8) -> Node {
    let name = format!("n{name}");
    serde_json::from_value(
        json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "1", "memory": "8Gi", "pods": "6"}}}),
    )
    .unwrap()
}

fn pod(name: u8, size: u8, port: bool, uid: u32) -> Pod {
    let ports = if port {
        json!([{"hostPort": 80}])
    } else {
        json!([])
    };
    let requests = json!({"cpu": format!("{}m", u32::from(size) * 100)});
    serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": format!("p{name}"), "uid": uid.to_string()},
        "spec": {"schedulerName": "default-scheduler", "containers": [{"image": "a", "ports": ports, "resources": {"requests": requests}}]}}))
    .unwrap()
}

#[test]
fn no_pod_is_lost_or_bound_twice_and_no_node_is_overcommitted() {
    let steps = || prop::collection::vec(step(), 40..160);
    steps::runner::run("faults", steps, 10_000, |steps| {
        let server = Server::default();
        let leader = Scheduler::new(&server, Duration::ZERO);
        let mut test = Test {
            server,
            leader,
            now: Duration::ZERO,
            decisions: 0,
        };
        for step in steps {
            test.step(step);
            test.server.check()?;
        }
        test.calm_down();
        test.server.check()?;
        test.check_that_no_pod_is_lost()?;
        Ok(test.decisions)
    });
}
