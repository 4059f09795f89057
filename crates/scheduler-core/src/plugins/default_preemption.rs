//! DefaultPreemption: evicts pods of lower priority where that makes room. The search is [`crate::preemption`].

use super::Plugin;

pub struct DefaultPreemption;

pub const NAME: &str = "DefaultPreemption";

impl Plugin for DefaultPreemption {
    fn name(&self) -> &'static str {
        NAME
    }
}
