//! PrioritySort: the order of the active queue; higher priority first, then who has waited longer. See [`crate::queue`].

use std::cmp::Ordering;
use std::time::Duration;

use super::Plugin;

pub struct PrioritySort;

impl Plugin for PrioritySort {
    fn name(&self) -> &'static str {
        "PrioritySort"
    }
}

/// Less means sooner. The times are when the pods entered the queue.
pub fn order(a: (i32, Duration), b: (i32, Duration)) -> Ordering {
    b.0.cmp(&a.0).then(a.1.cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_then_time() {
        let at = Duration::from_secs;
        assert_eq!(order((1, at(9)), (0, at(1))), Ordering::Less);
        assert_eq!(order((0, at(1)), (0, at(2))), Ordering::Less);
    }
}
