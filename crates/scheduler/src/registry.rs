//! Plugins of one's own, beside upstream's: how each is made from its arguments in the configuration file.
//!
//! As upstream's out-of-tree registry: a registered plugin runs in the profiles whose configuration enables it.

use std::collections::BTreeMap;

use fluyt_scheduler_core::plugins::Plugin;
use serde_json::Value;

/// Makes a plugin from `pluginConfig[].args` of its name (null when there are none).
pub type Factory = Box<dyn Fn(&Value) -> anyhow::Result<Box<dyn Plugin>> + Send + Sync>;

#[derive(Default)]
pub struct Registry(BTreeMap<&'static str, Factory>);

impl Registry {
    /// The factory's plugins must have this name. One of upstream's name takes that one's place.
    pub fn register(
        &mut self,
        name: &'static str,
        make: impl Fn(&Value) -> anyhow::Result<Box<dyn Plugin>> + Send + Sync + 'static,
    ) {
        self.0.insert(name, Box::new(make));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&&'static str, &Factory)> {
        self.0.iter()
    }
}
