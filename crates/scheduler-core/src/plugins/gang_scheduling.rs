//! GangScheduling: the pods of a pod group land whole or not at all (KEP-4671; alpha, behind the gate of that name).
//!
//! A profile has it only when the gate is on. It holds pods back until their group has enough of them; how a group is decided is
//! in [`crate::gangs`], which also wakes pods when one joins their group, or the group appears.

use super::Plugin;
use crate::events::{Event, Waiting};

pub struct GangScheduling;

pub const NAME: &str = "GangScheduling";

/// What upstream says of pods that would fit, had the others a place too.
pub(crate) const WAITING: &str = "waiting for minCount pods from a gang to be scheduled";
pub(crate) const TOO_FEW: &str =
    "waiting for minCount pods from a gang to appear in scheduling queue";

impl Plugin for GangScheduling {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Room is waited for by those members that found none; when one of them is tried again, the whole group is.
    fn wakes(&self, _waiting: &Waiting<'_>, _event: &Event<'_>) -> bool {
        false
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "its pod group is created",
            "another pod of its group is created",
        ]
    }
}
