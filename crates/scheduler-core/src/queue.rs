//! Where pods wait: active (by priority, then time), backoff (until a time), unschedulable (until something changes), gated.
//!
//! A pod that was turned away waits for an event that one of the plugins that turned it away thinks could help (a queueing hint),
//! or for five minutes. Unschedulable pods of one shape wait together, so an event costs as much as there are different pods, not
//! as there are pods. Gated pods are in no queue at all and cost nothing.
//!
//! A decision takes no time here (the core is called, and answers), so no event can come while a pod is being decided; what happens
//! while its binding is in flight does not matter, because a failed binding is retried after back-off whatever happened.
//!
//! Invariant: a pod is in exactly one place; the clock is an argument and never goes back.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use crate::cluster::{PodId, ShapeId};
use crate::plugins::priority_sort;

/// How long a pod waits without anything that could help it.
pub const UNSCHEDULABLE_FLUSH: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub initial: Duration,
    pub maximum: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            maximum: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// After so many attempts: doubling, bounded.
    fn after(&self, attempts: u32) -> Duration {
        let factor = 1_u32 << attempts.saturating_sub(1).min(16);
        self.initial.saturating_mul(factor).min(self.maximum)
    }
}

/// Plugins that turned a pod away, sorted. Empty: anything may help.
pub type Rejectors = SmallVec<[&'static str; 2]>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Active,
    /// `error`: it waits its time even when nothing else is to do.
    Backoff {
        until: Duration,
        error: bool,
    },
    Unschedulable {
        since: Duration,
        rejectors: Rejectors,
    },
    Gated,
    /// Being decided, or its binding is in flight.
    InFlight,
}

impl Place {
    /// Upstream's name of the queue; gated pods are counted with the unschedulable ones.
    fn queue(&self) -> &'static str {
        match self {
            Self::Active | Self::InFlight => "active",
            Self::Backoff { .. } => "backoff",
            Self::Unschedulable { .. } | Self::Gated => "unschedulable",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Queued {
    pub shape: ShapeId,
    pub priority: i32,
    pub place: Place,
    pub attempts: u32,
    /// How often no node did, and how often in a row something else failed: back-off grows with the latter, else with the former.
    unschedulable: u32,
    errors: u32,
    /// When it came to its place in the order of the queue.
    entered: Duration,
    /// When it was first seen.
    pub first_seen: Duration,
    serial: u64,
}

impl Queued {
    fn failures(&self) -> u32 {
        match self.errors {
            0 => self.unschedulable,
            errors => errors,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Order {
    priority: i32,
    entered: Duration,
    serial: u64,
    pod: PodId,
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        priority_sort::order(
            (self.priority, self.entered),
            (other.priority, other.entered),
        )
        .then(self.serial.cmp(&other.serial))
    }
}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By the second in which back-off ends, then as in the active queue, so that priority counts among those that end together.
type Early = (u64, Reverse<i32>, Duration, u64, PodId);

fn early(queued: &Queued, until: Duration, pod: PodId) -> Early {
    (
        until.as_secs(),
        Reverse(queued.priority),
        queued.entered,
        queued.serial,
        pod,
    )
}

/// How many pods wait where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    pub active: usize,
    pub backoff: usize,
    pub unschedulable: usize,
    pub gated: usize,
}

#[derive(Default)]
pub struct Queue {
    backoff_times: Backoff,
    flush_after: Option<Duration>,
    pods: HashMap<PodId, Queued>,
    /// May hold entries that are out of date; those are skipped.
    active: BinaryHeap<Reverse<Order>>,
    backoff: BTreeSet<(Duration, u64, PodId)>,
    /// Those of them that may go ahead of their time, in the order in which they would.
    early: BTreeSet<Early>,
    waiting: HashMap<(ShapeId, Rejectors), HashSet<PodId>>,
    since: BTreeSet<(Duration, PodId)>,
    lengths: Lengths,
    serial: u64,
    /// Why pods are being moved just now, and how many came to each queue why.
    cause: &'static str,
    incoming: BTreeMap<(&'static str, &'static str), u64>,
}

/// Causes of moves beside the cluster's events, in upstream's words (scheduler_queue_incoming_pods_total{event}).
pub mod cause {
    pub const POD_ADDED: &str = "UnschedulablePodAdd";
    pub const POD_UPDATED: &str = "UnschedulablePodUpdate";
    pub const ATTEMPT_FAILED: &str = "ScheduleAttemptFailure";
    pub const BACKOFF_COMPLETE: &str = "BackoffComplete";
    pub const TIMEOUT: &str = "UnschedulableTimeout";
    pub const POPPED_EARLY: &str = "PopFromBackoffQ";
}

impl Queue {
    pub fn new(backoff_times: Backoff) -> Self {
        Self {
            backoff_times,
            ..Self::default()
        }
    }

    /// Instead of after [`UNSCHEDULABLE_FLUSH`].
    pub fn flush_after(&mut self, patience: Duration) {
        self.flush_after = Some(patience);
    }

    fn patience(&self) -> Duration {
        self.flush_after.unwrap_or(UNSCHEDULABLE_FLUSH)
    }

    pub fn lengths(&self) -> Lengths {
        self.lengths
    }

    /// Names why the following moves happen.
    pub fn because(&mut self, cause: &'static str) {
        self.cause = cause;
    }

    /// How many pods came to which queue, and why, since the beginning.
    pub fn incoming(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.incoming
            .iter()
            .map(|((queue, cause), count)| (*queue, *cause, *count))
    }

    /// The different unschedulable pods: their shape, what turned them away, and how many they are.
    pub fn waiting_counts(&self) -> impl Iterator<Item = (ShapeId, &Rejectors, usize)> {
        self.waiting
            .iter()
            .map(|((shape, rejectors), pods)| (*shape, rejectors, pods.len()))
    }

    pub fn get(&self, pod: PodId) -> Option<&Queued> {
        self.pods.get(&pod)
    }

    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes a new pod in.
    pub fn add(&mut self, pod: PodId, shape: ShapeId, priority: i32, gated: bool, now: Duration) {
        self.cause = cause::POD_ADDED;
        self.serial += 1;
        self.pods.insert(
            pod,
            Queued {
                shape,
                priority,
                place: Place::InFlight,
                attempts: 0,
                unschedulable: 0,
                errors: 0,
                entered: now,
                first_seen: now,
                serial: self.serial,
            },
        );
        match gated {
            true => self.put(pod, Place::Gated),
            false => self.put(pod, Place::Active),
        }
    }

    pub fn remove(&mut self, pod: PodId) {
        self.take(pod);
        self.pods.remove(&pod);
    }

    /// The pod changed shape, priority or gates; it keeps its place unless gates came or went.
    pub fn update(
        &mut self,
        pod: PodId,
        shape: ShapeId,
        priority: i32,
        gated: bool,
        now: Duration,
    ) {
        let Some(place) = self.pods.get(&pod).map(|queued| queued.place.clone()) else {
            return;
        };
        self.cause = match place == Place::Gated && !gated {
            true => cause::POD_UPDATED,
            false => "",
        };
        self.take(pod);
        if let Some(queued) = self.pods.get_mut(&pod) {
            queued.shape = shape;
            queued.priority = priority;
            if place == Place::Gated && !gated {
                queued.entered = now;
            }
        }
        let place = match (place, gated) {
            (Place::InFlight, _) => Place::InFlight,
            (_, true) => Place::Gated,
            (Place::Gated, false) => Place::Active,
            (other, false) => other,
        };
        self.put(pod, place);
    }

    /// The next pod to decide; it is in flight until told otherwise. When nothing is active, a pod in back-off that was merely
    /// unschedulable goes ahead of its time.
    pub fn pop(&mut self, now: Duration) -> Option<PodId> {
        self.flush(now);
        let pod = match self.pop_active() {
            Some(pod) => pod,
            None => {
                let early = self.early_backoff()?;
                let key = ("active", cause::POPPED_EARLY);
                *self.incoming.entry(key).or_insert(0) += 1;
                early
            }
        };
        self.take(pod);
        let queued = self.pods.get_mut(&pod)?;
        queued.attempts = queued.attempts.saturating_add(1);
        queued.place = Place::InFlight;
        Some(pod)
    }

    /// Takes a pod that waits out of its turn, because its group is being decided. False: it does not wait, or is held back.
    pub fn pop_specific(&mut self, pod: PodId, now: Duration) -> bool {
        self.flush(now);
        let waits = self.pods.get(&pod).is_some_and(|queued| {
            matches!(
                queued.place,
                Place::Active | Place::Backoff { .. } | Place::Unschedulable { .. }
            )
        });
        if !waits {
            return false;
        }
        self.take(pod);
        if let Some(queued) = self.pods.get_mut(&pod) {
            queued.attempts = queued.attempts.saturating_add(1);
            queued.place = Place::InFlight;
        }
        true
    }

    fn pop_active(&mut self) -> Option<PodId> {
        while let Some(Reverse(order)) = self.active.pop() {
            let current = self.pods.get(&order.pod);
            if current.is_some_and(|queued| {
                queued.place == Place::Active && queued.serial == order.serial
            }) {
                return Some(order.pod);
            }
        }
        None
    }

    fn early_backoff(&self) -> Option<PodId> {
        self.early.first().map(|(.., pod)| *pod)
    }

    /// No node does: the pod waits for an event.
    pub fn unschedulable(&mut self, pod: PodId, rejectors: Rejectors, now: Duration) {
        self.cause = cause::ATTEMPT_FAILED;
        self.take(pod);
        let place = Place::Unschedulable {
            since: now,
            rejectors,
        };
        if let Some(queued) = self.pods.get_mut(&pod) {
            queued.entered = now;
            queued.unschedulable = queued.unschedulable.saturating_add(1);
            queued.errors = 0;
        }
        self.put(pod, place);
    }

    /// Something failed that has nothing to do with the pod (its binding, say): it tries again after back-off.
    pub fn failed(&mut self, pod: PodId, now: Duration) {
        self.cause = cause::ATTEMPT_FAILED;
        self.take(pod);
        let Some(queued) = self.pods.get_mut(&pod) else {
            return;
        };
        queued.entered = now;
        queued.errors = queued.errors.saturating_add(1);
        let until = now + self.backoff_times.after(queued.failures());
        self.put(pod, Place::Backoff { until, error: true });
    }

    /// The different unschedulable pods: one of each, with the plugins that turned it away.
    pub fn waiting(&self) -> impl Iterator<Item = (&Rejectors, ShapeId, PodId)> {
        self.waiting
            .iter()
            .filter_map(|((shape, rejectors), pods)| {
                Some((rejectors, *shape, *pods.iter().next()?))
            })
    }

    /// Wakes all unschedulable pods of this kind.
    pub fn wake(&mut self, shape: ShapeId, rejectors: &Rejectors, now: Duration) {
        let key = (shape, rejectors.clone());
        let mut pods: Vec<PodId> = match self.waiting.get(&key) {
            Some(pods) => pods.iter().copied().collect(),
            None => return,
        };
        // Hash order must not decide anything.
        pods.sort_unstable_by_key(|pod| self.pods.get(pod).map(|queued| queued.serial));
        for pod in pods {
            self.wake_pod(pod, now);
        }
    }

    /// From unschedulable to active, by way of back-off when the last attempt was not long ago.
    pub fn wake_pod(&mut self, pod: PodId, now: Duration) {
        let Some(queued) = self.pods.get(&pod) else {
            return;
        };
        let Place::Unschedulable { since, .. } = queued.place else {
            return;
        };
        let until = since + self.backoff_times.after(queued.failures());
        self.take(pod);
        match until > now {
            true => self.put(
                pod,
                Place::Backoff {
                    until,
                    error: false,
                },
            ),
            false => self.put(pod, Place::Active),
        }
    }

    /// When something becomes due without an event: the earliest end of back-off, or flush.
    pub fn next_due(&self) -> Option<Duration> {
        let backoff = self.backoff.first().map(|(until, ..)| *until);
        let flush = self
            .since
            .first()
            .map(|(since, _)| *since + self.patience());
        [backoff, flush].into_iter().flatten().min()
    }

    /// A call of [`Queue::pop`] may find something.
    pub fn is_ready(&self, now: Duration) -> bool {
        self.lengths.active > 0
            || self.early_backoff().is_some()
            || self.next_due().is_some_and(|due| due <= now)
    }

    fn flush(&mut self, now: Duration) {
        while let Some(&(until, _, pod)) = self.backoff.first() {
            if until > now {
                break;
            }
            self.cause = cause::BACKOFF_COMPLETE;
            self.take(pod);
            self.put(pod, Place::Active);
        }
        while let Some(&(since, pod)) = self.since.first() {
            if since + self.patience() > now {
                break;
            }
            self.cause = cause::TIMEOUT;
            self.wake_pod(pod, now);
        }
    }

    /// Out of the structure of its place.
    fn take(&mut self, pod: PodId) {
        let Some(queued) = self.pods.get_mut(&pod) else {
            return;
        };
        let place = std::mem::replace(&mut queued.place, Place::InFlight);
        let (serial, shape) = (queued.serial, queued.shape);
        match place {
            Place::Active => self.lengths.active -= 1,
            Place::Backoff { until, .. } => {
                self.early.remove(&early(queued, until, pod));
                self.backoff.remove(&(until, serial, pod));
                self.lengths.backoff -= 1;
            }
            Place::Unschedulable { since, rejectors } => {
                self.since.remove(&(since, pod));
                let key = (shape, rejectors);
                if let Some(pods) = self.waiting.get_mut(&key) {
                    pods.remove(&pod);
                    if pods.is_empty() {
                        self.waiting.remove(&key);
                    }
                }
                self.lengths.unschedulable -= 1;
            }
            Place::Gated => self.lengths.gated -= 1,
            Place::InFlight => {}
        }
    }

    fn put(&mut self, pod: PodId, place: Place) {
        self.serial += 1;
        let serial = self.serial;
        let Some(queued) = self.pods.get_mut(&pod) else {
            return;
        };
        queued.serial = serial;
        queued.place = place.clone();
        if !self.cause.is_empty() && place != Place::InFlight {
            let key = (place.queue(), self.cause);
            *self.incoming.entry(key).or_insert(0) += 1;
        }
        match place {
            Place::Active => {
                self.active.push(Reverse(Order {
                    priority: queued.priority,
                    entered: queued.entered,
                    serial,
                    pod,
                }));
                self.lengths.active += 1;
            }
            Place::Backoff { until, error } => {
                if !error {
                    self.early.insert(early(queued, until, pod));
                }
                self.backoff.insert((until, serial, pod));
                self.lengths.backoff += 1;
            }
            Place::Unschedulable { since, rejectors } => {
                self.since.insert((since, pod));
                let key = (queued.shape, rejectors);
                self.waiting.entry(key).or_default().insert(pod);
                self.lengths.unschedulable += 1;
            }
            Place::Gated => self.lengths.gated += 1,
            Place::InFlight => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn queue(pods: &[(PodId, i32)]) -> Queue {
        let mut queue = Queue::default();
        for (pod, priority) in pods {
            queue.add(*pod, 0, *priority, false, at(0));
        }
        queue
    }

    #[test]
    fn priority_then_arrival() {
        let mut queue = queue(&[(1, 0), (2, 5), (3, 0)]);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(at(1))).collect();
        assert_eq!(order, [2, 1, 3]);
    }

    #[test]
    fn an_unschedulable_pod_waits_for_an_event_or_five_minutes() {
        let mut queue = queue(&[(1, 0)]);
        let rejectors = Rejectors::from_slice(&["NodeResourcesFit"]);
        assert_eq!(queue.pop(at(0)), Some(1));
        queue.unschedulable(1, rejectors.clone(), at(0));
        assert_eq!(queue.pop(at(299)), None);
        assert_eq!(queue.next_due(), Some(at(300)));
        assert_eq!(queue.pop(at(300)), Some(1));
        queue.unschedulable(1, rejectors.clone(), at(300));
        queue.wake(0, &rejectors, at(400));
        assert_eq!(queue.lengths().active, 1);
        assert_eq!(queue.pop(at(400)), Some(1));
    }

    #[test]
    fn a_failed_binding_waits_its_backoff_out() {
        let mut queue = queue(&[(1, 0)]);
        for (now, due) in [(0, 1), (1, 3), (3, 7), (7, 15), (15, 25), (25, 35)] {
            assert_eq!(queue.pop(at(now)), Some(1));
            queue.failed(1, at(now));
            assert_eq!(queue.next_due(), Some(at(due)));
            assert!(!queue.is_ready(at(due) - Duration::from_millis(1)));
            assert_eq!(queue.pop(at(due) - Duration::from_millis(1)), None);
            assert!(queue.is_ready(at(due)));
        }
    }

    #[test]
    fn with_nothing_else_to_do_a_woken_pod_goes_ahead_of_its_backoff() {
        let mut queue = queue(&[(1, 0)]);
        queue.pop(at(0));
        queue.unschedulable(1, Rejectors::new(), at(0));
        queue.wake(0, &Rejectors::new(), at(0));
        assert_eq!(queue.lengths().backoff, 1);
        assert!(queue.is_ready(at(0)));
        assert_eq!(queue.pop(at(0)), Some(1));
    }

    #[test]
    fn gated_pods_are_in_no_queue_until_released() {
        let mut queue = Queue::default();
        queue.add(1, 0, 0, true, at(0));
        assert_eq!(queue.pop(at(999)), None);
        queue.update(1, 0, 0, false, at(1000));
        assert_eq!(queue.pop(at(1000)), Some(1));
    }

    #[test]
    fn a_removed_pod_is_nowhere() {
        let mut queue = queue(&[(1, 0)]);
        queue.remove(1);
        assert_eq!(queue.pop(at(0)), None);
        assert_eq!(queue.lengths(), Lengths::default());
    }
}
