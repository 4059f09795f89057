//! The plugins in force, in upstream's order.

use async_trait::async_trait;
use fluyt_api::status::Status;
use serde_json::Value;

use super::{Attributes, plugins};
use crate::options::Options;

/// One admission plugin. `handles` is asked first, so that a request pays only for what concerns it.
#[async_trait]
pub(crate) trait Plugin: Send + Sync {
    /// Whether the plugin has anything to do with the request.
    fn handles(&self, attributes: &Attributes<'_>) -> bool;

    /// May change the object; runs before defaults and validation.
    async fn admit(&self, _: &Attributes<'_>, _: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// May refuse the object as it would be stored; null for deletions.
    async fn validate(&self, _: &Attributes<'_>, _: &Value) -> Result<(), Status> {
        Ok(())
    }
}

/// The plugins in force.
pub(crate) struct Chain {
    plugins: Vec<Box<dyn Plugin>>,
}

impl Chain {
    /// Default plugins, with what the flags add and leave out.
    pub(crate) fn new(options: &Options) -> anyhow::Result<Self> {
        let known: Vec<&str> = plugins::REGISTRY.iter().map(|entry| entry.name).collect();
        for name in options
            .enable_admission_plugins
            .iter()
            .chain(&options.disable_admission_plugins)
        {
            anyhow::ensure!(
                known.contains(&name.as_str()) || plugins::WITHOUT_EFFECT.contains(&name.as_str()),
                "--enable-admission-plugins, --disable-admission-plugins: unknown plugin {name:?}; known: {}",
                known.join(", ")
            );
        }
        let wanted = |name: &str, default: bool| {
            let named = |list: &[String]| list.iter().any(|entry| entry == name);
            (default || named(&options.enable_admission_plugins))
                && !named(&options.disable_admission_plugins)
        };
        let plugins = plugins::REGISTRY
            .iter()
            .filter(|entry| wanted(entry.name, entry.by_default.holds(options)))
            .map(|entry| (entry.make)())
            .collect();
        Ok(Chain { plugins })
    }

    pub(crate) async fn admit(
        &self,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        for plugin in &self.plugins {
            if plugin.handles(attributes) {
                plugin.admit(attributes, object).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<(), Status> {
        for plugin in &self.plugins {
            if plugin.handles(attributes) {
                plugin.validate(attributes, object).await?;
            }
        }
        Ok(())
    }
}
