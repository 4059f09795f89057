//! DefaultBinder: binds by POST pods/NAME/binding. The request is the shell's; the name stands in the registry and in configuration.

use super::Plugin;

pub struct DefaultBinder;

impl Plugin for DefaultBinder {
    fn name(&self) -> &'static str {
        "DefaultBinder"
    }
}
