//! When each node is due: one turn per interval, all turns spread evenly, without a timer per
//! node. Pure: the time is an argument.

use std::time::Duration;

/// Turns that fall due within one tick are taken together: waking for each would cost more.
pub(crate) const TICK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Pace {
    nodes: u64,
    interval: Duration,
    /// Turns taken so far.
    taken: u64,
}

/// A node's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) node: usize,
    /// How many turns it had before.
    pub(crate) round: u64,
}

impl Pace {
    pub(crate) fn new(nodes: usize, interval: Duration) -> Self {
        Pace {
            nodes: nodes as u64,
            interval,
            taken: 0,
        }
    }

    /// When the next turn is due, after the start.
    fn due(&self) -> Duration {
        let (round, node) = (self.taken / self.nodes, self.taken % self.nodes);
        let within = self.interval.as_nanos() as u64 / self.nodes * node;
        self.interval * u32::try_from(round).unwrap_or(u32::MAX) + Duration::from_nanos(within)
    }

    /// When to look again, after the start; `None`: never.
    pub(crate) fn wake(&self) -> Option<Duration> {
        (self.nodes > 0).then(|| self.due().max(TICK * self.ticks_of(self.due())))
    }

    fn ticks_of(&self, at: Duration) -> u32 {
        u32::try_from(at.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u32::MAX)
    }

    /// The next turn, if it is due.
    pub(crate) fn take(&mut self, elapsed: Duration) -> Option<Turn> {
        if self.nodes == 0 || self.due() > elapsed {
            return None;
        }
        let turn = Turn {
            node: (self.taken % self.nodes) as usize,
            round: self.taken / self.nodes,
        };
        self.taken += 1;
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_one_turn_per_interval_evenly() {
        let mut pace = Pace::new(1000, Duration::from_secs(10));
        let mut turns = vec![Vec::new(); 1000];
        let mut most = 0;
        for tick in 0..=2500 {
            let elapsed = TICK * tick;
            let mut together = 0;
            while let Some(turn) = pace.take(elapsed) {
                assert_eq!(turn.round, turns[turn.node].len() as u64);
                turns[turn.node].push(elapsed);
                together += 1;
            }
            most = most.max(together);
        }
        assert!(most <= 3, "{most} turns in one tick instead of 2");
        for turns in turns {
            assert!((5..=6).contains(&turns.len()));
            assert!(
                turns
                    .windows(2)
                    .all(|pair| pair[1] - pair[0] <= Duration::from_secs(10) + TICK)
            );
        }
    }

    #[test]
    fn it_wakes_when_a_turn_is_due() {
        let mut pace = Pace::new(3, Duration::from_secs(3));
        for second in 0..10u64 {
            let wake = pace.wake().unwrap();
            assert!(pace.take(wake.saturating_sub(TICK * 2)).is_none() || second == 0);
            if second > 0 {
                assert_eq!(wake, Duration::from_secs(second));
                assert!(pace.take(wake).is_some());
            }
        }
        assert_eq!(Pace::new(0, Duration::from_secs(1)).wake(), None);
    }
}
