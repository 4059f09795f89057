//! Work queues of keys: a key that waits is not queued twice, one that is being worked on is queued again afterwards, and
//! failures come back later and later. Bounded by the number of distinct keys.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Retries as upstream's default controller rate limiter: 5 ms doubling to 1,000 s per key.
const FIRST_RETRY: Duration = Duration::from_millis(5);
const MAX_RETRY: Duration = Duration::from_secs(1000);

pub struct WorkQueue<K> {
    inner: Arc<Inner<K>>,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

struct Inner<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    /// Keys in `ready`, or to be put there when their present work is done.
    dirty: HashSet<K>,
    working: HashSet<K>,
    /// The earliest due time of a delayed key; entries of `timers` that disagree are stale.
    delayed: HashMap<K, Instant>,
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    timer_keys: HashMap<u64, K>,
    sequence: u64,
    failures: HashMap<K, u32>,
    closed: bool,
}

impl<K: Clone + Eq + Hash> Default for WorkQueue<K> {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(State {
                    ready: VecDeque::new(),
                    dirty: HashSet::new(),
                    working: HashSet::new(),
                    delayed: HashMap::new(),
                    timers: BinaryHeap::new(),
                    timer_keys: HashMap::new(),
                    sequence: 0,
                    failures: HashMap::new(),
                    closed: false,
                }),
                wake: Notify::new(),
            }),
        }
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: K) -> bool {
        if !self.dirty.insert(key.clone()) || self.working.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    /// Moves what is due to the ready queue and says when the next is due.
    fn promote(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((due, id))) = self.timers.peek().copied() {
            let current = self
                .timer_keys
                .get(&id)
                .is_some_and(|key| self.delayed.get(key) == Some(&due));
            if current && due > now {
                return Some(due);
            }
            self.timers.pop();
            if let Some(key) = self.timer_keys.remove(&id)
                && current
            {
                self.delayed.remove(&key);
                self.add(key);
            }
        }
        None
    }
}

impl<K: Clone + Eq + Hash> WorkQueue<K> {
    /// Queues a key now.
    pub fn add(&self, key: K) {
        if self.inner.state.lock().add(key) {
            self.inner.wake.notify_one();
        }
    }

    /// Queues a key after `delay`; an earlier time already set for it stays.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let due = Instant::now() + delay;
        let mut state = self.inner.state.lock();
        if state.delayed.get(&key).is_some_and(|set| *set <= due) {
            return;
        }
        state.sequence += 1;
        let id = state.sequence;
        state.delayed.insert(key.clone(), due);
        state.timer_keys.insert(id, key);
        state.timers.push(Reverse((due, id)));
        drop(state);
        self.inner.wake.notify_one();
    }

    /// Queues a key that failed, later with each failure.
    pub fn retry(&self, key: K) {
        let failures = {
            let mut state = self.inner.state.lock();
            let count = state.failures.entry(key.clone()).or_insert(0);
            *count += 1;
            *count
        };
        let factor = 1u32 << (failures - 1).min(20);
        self.add_after(key, FIRST_RETRY.saturating_mul(factor).min(MAX_RETRY));
    }

    /// A key succeeded: its next failure starts from the shortest delay.
    pub fn forget(&self, key: &K) {
        self.inner.state.lock().failures.remove(key);
    }

    pub fn failures(&self, key: &K) -> u32 {
        self.inner
            .state
            .lock()
            .failures
            .get(key)
            .copied()
            .unwrap_or(0)
    }

    /// The next key; `done` must be called for it. `None` after [`WorkQueue::close`]. Cancel-safe.
    pub async fn next(&self) -> Option<K> {
        loop {
            let wake = self.inner.wake.notified();
            let due = {
                let mut state = self.inner.state.lock();
                if state.closed {
                    self.inner.wake.notify_one();
                    return None;
                }
                let due = state.promote(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.working.insert(key.clone());
                    if !state.ready.is_empty() || due.is_some() {
                        self.inner.wake.notify_one();
                    }
                    return Some(key);
                }
                due
            };
            match due {
                Some(due) => {
                    let _ = tokio::time::timeout_at(due, wake).await;
                }
                None => wake.await,
            }
        }
    }

    /// The work on a key is finished; if it was added meanwhile it is queued again.
    pub fn done(&self, key: &K) {
        let mut state = self.inner.state.lock();
        state.working.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.inner.wake.notify_one();
        }
    }

    /// Wakes all takers, who get `None`.
    pub fn close(&self) {
        self.inner.state.lock().closed = true;
        self.inner.wake.notify_one();
    }

    /// Keys that wait now, not counting delayed ones.
    pub fn len(&self) -> usize {
        self.inner.state.lock().ready.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_on_once_at_a_time() {
        let queue = WorkQueue::default();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.next().await, Some("a"));
        queue.add("a");
        assert!(queue.is_empty(), "not handed out while it is worked on");
        queue.done(&"a");
        assert_eq!(queue.next().await, Some("a"));
        queue.done(&"a");
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn delays_are_kept_and_the_earliest_wins() {
        let queue = WorkQueue::default();
        let start = Instant::now();
        queue.add_after("late", Duration::from_secs(60));
        queue.add_after("early", Duration::from_secs(5));
        queue.add_after("late", Duration::from_secs(10));
        queue.add_after("early", Duration::from_secs(50));
        assert_eq!(queue.next().await, Some("early"));
        assert_eq!(start.elapsed().as_secs(), 5);
        assert_eq!(queue.next().await, Some("late"));
        assert_eq!(start.elapsed().as_secs(), 10);
        let nothing = tokio::time::timeout(Duration::from_secs(100), queue.next()).await;
        assert!(nothing.is_err(), "stale timers must not fire");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_and_are_forgotten() {
        let queue = WorkQueue::default();
        let start = Instant::now();
        for _ in 0..4 {
            queue.retry("a");
            assert_eq!(queue.next().await, Some("a"));
            queue.done(&"a");
        }
        // 5 + 10 + 20 + 40 ms, each rounded up to the timer's millisecond.
        assert!(start.elapsed() >= Duration::from_millis(75));
        assert_eq!(queue.failures(&"a"), 4);
        queue.forget(&"a");
        assert_eq!(queue.failures(&"a"), 0);
        queue.close();
        assert_eq!(queue.next().await, None);
    }
}
