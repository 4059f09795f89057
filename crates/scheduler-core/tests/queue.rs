//! The queue against a model written in the most obvious way: a list of pods that is searched for every answer.

#![allow(clippy::unwrap_used)]

use std::cmp::Reverse;
use std::time::Duration;

use fluyt_scheduler_core::queue::{Backoff, Lengths, Queue, Rejectors, UNSCHEDULABLE_FLUSH};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Active,
    Backoff { until: Duration, error: bool },
    Unschedulable { since: Duration, by: &'static str },
    Gated,
    InFlight,
}

#[derive(Clone, Debug)]
struct Pod {
    id: u32,
    shape: u32,
    priority: i32,
    place: Place,
    unschedulable: u32,
    errors: u32,
    entered: Duration,
    /// When it came to its place: the later the higher.
    arrival: u64,
}

#[derive(Default)]
struct Model {
    pods: Vec<Pod>,
    arrivals: u64,
}

fn after(pod: &Pod) -> Duration {
    let failures = match pod.errors {
        0 => pod.unschedulable,
        errors => errors,
    };
    let doubled = (1..failures).fold(1_u64, |delay, _| (delay * 2).min(10));
    Duration::from_secs(doubled)
}

impl Model {
    fn at(&mut self, id: u32) -> Option<&mut Pod> {
        self.pods.iter_mut().find(|pod| pod.id == id)
    }

    fn put(&mut self, id: u32, place: Place) {
        self.arrivals += 1;
        let arrival = self.arrivals;
        let pod = self.at(id).unwrap();
        pod.place = place;
        pod.arrival = arrival;
    }

    fn wake(&mut self, id: u32, now: Duration) {
        let pod = self.at(id).unwrap().clone();
        let Place::Unschedulable { since, .. } = pod.place else {
            return;
        };
        let until = since + after(&pod);
        let place = match until > now {
            true => Place::Backoff {
                until,
                error: false,
            },
            false => Place::Active,
        };
        self.put(id, place);
    }

    fn flush(&mut self, now: Duration) {
        let mut due: Vec<(Duration, u64, u32)> = Vec::new();
        for pod in &self.pods {
            if let Place::Backoff { until, .. } = pod.place
                && until <= now
            {
                due.push((until, pod.arrival, pod.id));
            }
        }
        due.sort_unstable();
        due.iter()
            .for_each(|(_, _, id)| self.put(*id, Place::Active));
        let mut stale: Vec<(Duration, u32)> = Vec::new();
        for pod in &self.pods {
            if let Place::Unschedulable { since, .. } = pod.place
                && since + UNSCHEDULABLE_FLUSH <= now
            {
                stale.push((since, pod.id));
            }
        }
        stale.sort_unstable();
        stale.iter().for_each(|(_, id)| self.wake(*id, now));
    }

    fn pop(&mut self, now: Duration) -> Option<u32> {
        self.flush(now);
        let active = self.pods.iter().filter(|pod| pod.place == Place::Active);
        let order = |pod: &&Pod| (Reverse(pod.priority), pod.entered, pod.arrival);
        let next = active.min_by_key(order).map(|pod| pod.id);
        let next = next.or_else(|| {
            let early = self.pods.iter().filter_map(|pod| match pod.place {
                Place::Backoff {
                    until,
                    error: false,
                } => Some((until.as_secs(), order(&pod), pod.id)),
                _ => None,
            });
            early.min().map(|(_, _, id)| id)
        })?;
        self.put(next, Place::InFlight);
        Some(next)
    }

    fn lengths(&self) -> Lengths {
        let mut lengths = Lengths::default();
        for pod in &self.pods {
            match pod.place {
                Place::Active => lengths.active += 1,
                Place::Backoff { .. } => lengths.backoff += 1,
                Place::Unschedulable { .. } => lengths.unschedulable += 1,
                Place::Gated => lengths.gated += 1,
                Place::InFlight => {}
            }
        }
        lengths
    }
}

/// What happens, to the n-th known pod where one is meant.
#[derive(Clone, Debug)]
enum Step {
    Add {
        shape: u32,
        priority: i32,
        gated: bool,
    },
    Remove(usize),
    Update {
        pod: usize,
        priority: i32,
        gated: bool,
    },
    Pop,
    Unschedulable {
        pod: usize,
        by: &'static str,
    },
    Fail(usize),
    Wake {
        shape: u32,
        by: &'static str,
    },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let by = || prop_oneof![Just("NodeResourcesFit"), Just("NodeAffinity")];
    prop_oneof![
        3 => (0..3_u32, 0..3, any::<bool>()).prop_map(|(shape, priority, gated)| Step::Add { shape, priority, gated }),
        1 => (0..20_usize).prop_map(Step::Remove),
        1 => (0..20_usize, 0..3, any::<bool>()).prop_map(|(pod, priority, gated)| Step::Update { pod, priority, gated }),
        4 => Just(Step::Pop),
        3 => (0..20_usize, by()).prop_map(|(pod, by)| Step::Unschedulable { pod, by }),
        2 => (0..20_usize).prop_map(Step::Fail),
        2 => (0..3_u32, by()).prop_map(|(shape, by)| Step::Wake { shape, by }),
        2 => prop_oneof![Just(100), Just(700), Just(3_000), Just(310_000)].prop_map(Step::Wait),
    ]
}

fn run(steps: Vec<Step>) {
    let (mut queue, mut model) = (Queue::new(Backoff::default()), Model::default());
    let (mut now, mut next) = (Duration::ZERO, 0);
    for step in steps {
        let in_flight = |model: &Model, n: usize| {
            let ids = model.pods.iter().filter(|pod| pod.place == Place::InFlight);
            ids.map(|pod| pod.id).nth(n % 4)
        };
        match step {
            Step::Add {
                shape,
                priority,
                gated,
            } => {
                queue.add(next, shape, priority, gated, now);
                model.pods.push(Pod {
                    id: next,
                    shape,
                    priority,
                    place: Place::InFlight,
                    unschedulable: 0,
                    errors: 0,
                    entered: now,
                    arrival: 0,
                });
                let place = match gated {
                    true => Place::Gated,
                    false => Place::Active,
                };
                model.put(next, place);
                next += 1;
            }
            Step::Remove(n) => {
                if let Some(id) = model.pods.get(n).map(|pod| pod.id) {
                    queue.remove(id);
                    model.pods.retain(|pod| pod.id != id);
                }
            }
            Step::Update {
                pod,
                priority,
                gated,
            } => {
                let Some(known) = model.pods.get(pod).cloned() else {
                    continue;
                };
                queue.update(known.id, known.shape, priority, gated, now);
                let place = match (known.place, gated) {
                    (Place::InFlight, _) => Place::InFlight,
                    (_, true) => Place::Gated,
                    (Place::Gated, false) => Place::Active,
                    (other, false) => other,
                };
                let entry = model.at(known.id).unwrap();
                entry.priority = priority;
                if known.place == Place::Gated && !gated {
                    entry.entered = now;
                }
                model.put(known.id, place);
            }
            Step::Pop => assert_eq!(queue.pop(now), model.pop(now)),
            Step::Unschedulable { pod, by } => {
                let Some(id) = in_flight(&model, pod) else {
                    continue;
                };
                queue.unschedulable(id, Rejectors::from_slice(&[by]), now);
                let entry = model.at(id).unwrap();
                (entry.entered, entry.errors) = (now, 0);
                entry.unschedulable += 1;
                model.put(id, Place::Unschedulable { since: now, by });
            }
            Step::Fail(n) => {
                let Some(id) = in_flight(&model, n) else {
                    continue;
                };
                queue.failed(id, now);
                let entry = model.at(id).unwrap();
                entry.entered = now;
                entry.errors += 1;
                let until = now + after(entry);
                model.put(id, Place::Backoff { until, error: true });
            }
            Step::Wake { shape, by } => {
                queue.wake(shape, &Rejectors::from_slice(&[by]), now);
                let mut woken: Vec<(u64, u32)> = Vec::new();
                for pod in &model.pods {
                    let waits =
                        matches!(pod.place, Place::Unschedulable { by: own, .. } if own == by);
                    if waits && pod.shape == shape {
                        woken.push((pod.arrival, pod.id));
                    }
                }
                woken.sort_unstable();
                woken.iter().for_each(|(_, id)| model.wake(*id, now));
            }
            Step::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
        }
        assert_eq!(queue.lengths(), model.lengths());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_answers_as_the_model(steps in prop::collection::vec(step(), 1..120)) {
        run(steps);
    }
}
