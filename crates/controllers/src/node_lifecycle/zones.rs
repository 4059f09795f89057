//! How fast nodes may be emptied, zone by zone. Pure.
//!
//! When many nodes of a zone fall silent together the network is more likely at fault than the nodes: eviction slows down or stops.
//! When every node is silent, the controller itself is likely cut off: all evictions stop and those under way are taken back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::plus;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Nodes per second in a healthy zone.
    pub rate: f64,
    /// Nodes per second in an unhealthy zone that is large.
    pub secondary_rate: f64,
    /// Zones with more nodes than this are large.
    pub large: usize,
    /// Part of unready nodes from which on a zone is unhealthy.
    pub threshold: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Normal,
    Partial,
    Full,
}

/// The state of a zone with so many ready and unready nodes.
pub fn state(ready: usize, unready: usize, limits: &Limits) -> State {
    #[expect(clippy::cast_precision_loss, reason = "node counts are far below 2^24")]
    let part = unready as f32 / (ready + unready).max(1) as f32;
    match (ready, unready) {
        (0, 1..) => State::Full,
        (_, 3..) if part >= limits.threshold => State::Partial,
        _ => State::Normal,
    }
}

#[derive(Debug)]
struct Zone {
    ready: usize,
    unready: usize,
    waiting: VecDeque<Arc<str>>,
    /// No node of this zone may be taken before.
    next: Timestamp,
}

impl Default for Zone {
    fn default() -> Self {
        Self {
            ready: 0,
            unready: 0,
            waiting: VecDeque::new(),
            next: Timestamp::MIN,
        }
    }
}

impl Zone {
    fn rate(&self, limits: &Limits) -> f64 {
        match state(self.ready, self.unready, limits) {
            State::Partial if self.ready + self.unready > limits.large => limits.secondary_rate,
            State::Partial => 0.0,
            State::Normal | State::Full => limits.rate,
        }
    }
}

/// All zones, and where each node counts.
#[derive(Debug)]
pub struct Zones {
    limits: Limits,
    zones: HashMap<Box<str>, Zone>,
    nodes: HashMap<Arc<str>, (Box<str>, bool)>,
    all_down: bool,
}

/// What a change of one node means for the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    None,
    /// Every node is unready now: take all evictions back.
    AllDown,
    /// A node is ready again after all were down: give every node a fresh grace period.
    Recovered,
}

impl Zones {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            zones: HashMap::new(),
            nodes: HashMap::new(),
            all_down: false,
        }
    }

    pub fn all_down(&self) -> bool {
        self.all_down
    }

    /// A node is in `zone` and ready or not; `None` removes it (or it does not count).
    pub fn set(&mut self, node: &Arc<str>, place: Option<(&str, bool)>) -> Shift {
        let before = self.nodes.get(node).map(|(zone, ready)| (&**zone, *ready));
        if before == place {
            return Shift::None;
        }
        if let Some((zone, ready)) = self.nodes.remove(node)
            && let Some(zone) = self.zones.get_mut(&zone)
        {
            *(if ready {
                &mut zone.ready
            } else {
                &mut zone.unready
            }) -= 1;
            if place.is_none() {
                zone.waiting.retain(|waiting| waiting != node);
            }
        }
        if let Some((name, ready)) = place {
            let zone = self.zones.entry(name.into()).or_default();
            *(if ready {
                &mut zone.ready
            } else {
                &mut zone.unready
            }) += 1;
            self.nodes.insert(node.clone(), (name.into(), ready));
        }
        let down = !self.nodes.is_empty() && self.zones.values().all(|zone| zone.ready == 0);
        match (std::mem::replace(&mut self.all_down, down), down) {
            (false, true) => Shift::AllDown,
            (true, false) => Shift::Recovered,
            _ => Shift::None,
        }
    }

    /// A node waits to be tainted.
    pub fn wait(&mut self, node: &Arc<str>, zone: &str) {
        let zone = self.zones.entry(zone.into()).or_default();
        if !zone.waiting.contains(node) {
            zone.waiting.push_back(node.clone());
        }
    }

    pub fn cancel(&mut self, node: &str) {
        for zone in self.zones.values_mut() {
            zone.waiting.retain(|waiting| &**waiting != node);
        }
    }

    /// The next node that may be tainted now.
    pub fn take(&mut self, now: Timestamp) -> Option<Arc<str>> {
        if self.all_down {
            return None;
        }
        let limits = self.limits;
        let ready = |zone: &&mut Zone| {
            !zone.waiting.is_empty() && zone.next <= now && zone.rate(&limits) > 0.0
        };
        let zone = self.zones.values_mut().find(ready)?;
        zone.next = plus(
            now,
            Duration::try_from_secs_f64(1.0 / zone.rate(&limits)).unwrap_or(Duration::MAX),
        );
        zone.waiting.pop_front()
    }

    /// When `take` is worth calling again, if no node changes before.
    pub fn next_due(&self) -> Option<Timestamp> {
        if self.all_down {
            return None;
        }
        let waiting = self
            .zones
            .values()
            .filter(|zone| !zone.waiting.is_empty() && zone.rate(&self.limits) > 0.0);
        waiting.map(|zone| zone.next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        rate: 0.1,
        secondary_rate: 0.01,
        large: 50,
        threshold: 0.55,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_268_800 + second).unwrap()
    }

    #[test]
    fn states() {
        for (ready, unready, expected) in [
            (0, 0, State::Normal),
            (3, 0, State::Normal),
            (0, 1, State::Full),
            (1, 2, State::Normal),
            (1, 3, State::Partial),
            (3, 3, State::Normal),
            (40, 60, State::Partial),
        ] {
            assert_eq!(
                state(ready, unready, &LIMITS),
                expected,
                "{ready} {unready}"
            );
        }
    }

    fn names(count: usize) -> Vec<Arc<str>> {
        (0..count).map(|index| format!("n{index}").into()).collect()
    }

    #[test]
    fn one_node_at_a_time() {
        let nodes = names(4);
        let mut zones = Zones::new(LIMITS);
        for (index, node) in nodes.iter().enumerate() {
            zones.set(node, Some(("z", index > 1)));
        }
        zones.wait(&nodes[0], "z");
        zones.wait(&nodes[0], "z");
        zones.wait(&nodes[1], "z");
        assert_eq!(zones.take(at(0)), Some(nodes[0].clone()));
        assert_eq!(zones.take(at(9)), None);
        assert_eq!(zones.next_due(), Some(at(10)));
        assert_eq!(zones.take(at(10)), Some(nodes[1].clone()));
        assert_eq!((zones.take(at(100)), zones.next_due()), (None, None));
    }

    #[test]
    fn a_small_unhealthy_zone_is_left_alone_and_a_large_one_slowed() {
        for (size, expected) in [(10, false), (60, true)] {
            let nodes = names(size);
            let mut zones = Zones::new(LIMITS);
            for (index, node) in nodes.iter().enumerate() {
                zones.set(node, Some(("z", index < 4)));
            }
            zones.wait(&nodes[9], "z");
            assert_eq!(zones.take(at(0)).is_some(), expected, "{size}");
        }
    }

    #[test]
    fn when_all_are_down_nothing_is_evicted() {
        let nodes = names(2);
        let mut zones = Zones::new(LIMITS);
        assert_eq!(zones.set(&nodes[0], Some(("z", true))), Shift::None);
        assert_eq!(zones.set(&nodes[1], Some(("y", false))), Shift::None);
        zones.wait(&nodes[1], "y");
        assert_eq!(zones.set(&nodes[0], Some(("z", false))), Shift::AllDown);
        assert_eq!((zones.take(at(0)), zones.next_due()), (None, None));
        assert_eq!(zones.set(&nodes[0], Some(("z", true))), Shift::Recovered);
        assert_eq!(zones.take(at(0)), Some(nodes[1].clone()));
        zones.wait(&nodes[1], "y");
        zones.set(&nodes[1], None);
        assert_eq!(zones.take(at(60)), None, "a node that is gone is forgotten");
    }
}
