//! SchedulingGates: a pod with gates waits outside the queue until they are gone (KEP-3521). See [`crate::queue`].

use super::Plugin;
use crate::events::{Event, Waiting};

pub struct SchedulingGates;

pub const NAME: &str = "SchedulingGates";

impl Plugin for SchedulingGates {
    fn name(&self) -> &'static str {
        NAME
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        matches!(event, Event::PodUpdated { pod, .. } if *pod == waiting.pod)
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &["its scheduling gates are removed"]
    }
}
