//! KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1) as users have it in files, YAML or JSON.
//!
//! [`types`] holds the fields, [`plugins`] merges plugin sets with the default ones and expands them, [`args`] knows the plugins'
//! arguments, [`validation`] checks the rest. Errors are upstream's and name the field. Invariant: a [`Configuration`] that
//! [`Configuration::parse`] returned has all defaults filled in, so it can be written and read again without change.

mod args;
mod decode;
mod duration;
mod plugins;
mod types;
mod validation;

use anyhow::bail;
use fluyt_api::field::{self, FieldError, Path};
use fluyt_scheduler_core::profile::{DEFAULT_SCHEDULER_NAME, Profile};
use serde_json::Value;

pub use duration::GoDuration;
pub use types::{Configuration, Extender, ExtenderTls, LeaderElection};

use crate::registry::Registry;
use types::{API_VERSION, KIND, PluginConfig};

impl Configuration {
    /// Reads a file's text, fills in the defaults and checks everything but the plugins of one's own.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let document = decode::document(text).map_err(anyhow::Error::msg)?;
        known(&document)?;
        let configuration: Self = decode::typed(document, &Path::root()).map_err(located)?;
        let configuration = configuration.complete().map_err(aggregate)?;
        configuration.validate()?;
        Ok(configuration)
    }

    /// What a file with nothing in it means.
    pub fn standard() -> Self {
        let standard = Self::default().complete();
        standard.unwrap_or_default()
    }

    /// Errors name the field.
    pub fn validate(&self) -> anyhow::Result<()> {
        let errors = validation::check(self);
        match errors.is_empty() {
            true => Ok(()),
            false => Err(aggregate(errors)),
        }
    }

    /// With upstream's defaults: every profile gets the default plugins merged with its own, and the arguments of each.
    fn complete(mut self) -> Result<Self, Vec<FieldError>> {
        if self.profiles.is_empty() {
            self.profiles.push(types::Profile::default());
        }
        if let [only] = self.profiles.as_mut_slice() {
            let default = || DEFAULT_SCHEDULER_NAME.to_owned();
            only.scheduler_name.get_or_insert_with(default);
        }
        self.percentage_of_nodes_to_score.get_or_insert(0);
        let mut errors = Vec::new();
        for (index, profile) in self.profiles.iter_mut().enumerate() {
            let path = Path::new("profiles").index(index);
            errors.extend(complete_profile(profile, &path));
        }
        match errors.is_empty() {
            true => Ok(self),
            false => Err(errors),
        }
    }

    /// The core's profiles. Errors: a plugin does not exist, or not at that extension point.
    pub fn to_profiles(&self, registry: &Registry, strict: bool) -> anyhow::Result<Vec<Profile>> {
        let mut profiles = Vec::new();
        for (index, source) in self.profiles.iter().enumerate() {
            let path = Path::new("profiles").index(index);
            let mut profile = plugins::expand(source, registry, &path)?;
            for (at, config) in source.plugin_config.iter().enumerate() {
                let path = path.child("pluginConfig").index(at).child("args");
                let args = match config.name.as_str() {
                    "NodeResourcesFit" => with_ignored(&config.args, self),
                    _ => config.args.clone(),
                };
                args::apply(&mut profile, &config.name, &args, &path).map_err(aggregate)?;
            }
            if strict {
                let own = source.percentage_of_nodes_to_score;
                let percentage = own.or(self.percentage_of_nodes_to_score).unwrap_or(0);
                profile.sampling = u32::try_from(percentage).ok();
            }
            profiles.push(profile);
        }
        Ok(profiles)
    }
}

/// Resources that an extender manages and asks the scheduler to ignore are not checked by NodeResourcesFit.
fn with_ignored(args: &Value, configuration: &Configuration) -> Value {
    let managed = configuration
        .extenders
        .iter()
        .flat_map(|one| &one.managed_resources);
    let ignored = managed.filter(|resource| resource.ignored_by_scheduler);
    let names: Vec<Value> = ignored
        .map(|resource| resource.name.clone().into())
        .collect();
    let mut args = args.clone();
    if let (false, Some(fields)) = (names.is_empty(), args.as_object_mut()) {
        let all = fields
            .entry("ignoredResources")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Some(all) = all.as_array_mut() {
            all.extend(names);
        }
    }
    args
}

/// The document is of this kind and version.
fn known(document: &Value) -> anyhow::Result<()> {
    let text = |name: &str| document[name].as_str().unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if kind.is_empty() {
        bail!("kind: Required value: Object 'Kind' is missing");
    }
    if version.is_empty() {
        bail!("apiVersion: Required value: Object 'apiVersion' is missing");
    }
    if (version, kind) != (API_VERSION, KIND) {
        bail!(
            "apiVersion: no kind {kind:?} is registered for version {version:?}; use {KIND} of {API_VERSION}"
        );
    }
    Ok(())
}

fn complete_profile(profile: &mut types::Profile, path: &Path) -> Vec<FieldError> {
    let merged = plugins::merge(profile.plugins.take());
    let mut errors = Vec::new();
    for (index, config) in profile.plugin_config.iter_mut().enumerate() {
        let path = path.child("pluginConfig").index(index).child("args");
        match args::complete(&config.name, &config.args, &path) {
            Ok(args) => config.args = args,
            Err(more) => errors.extend(more),
        }
    }
    for name in merged.names() {
        let there = profile.plugin_config.iter().any(|one| one.name == name);
        if there || !args::takes_args(&name) {
            continue;
        }
        if let Ok(args) = args::complete(&name, &Value::Null, path) {
            profile.plugin_config.push(PluginConfig { name, args });
        }
    }
    profile.plugins = Some(merged);
    errors
}

fn located(error: FieldError) -> anyhow::Error {
    match error.field.as_str() {
        "" | "<nil>" => anyhow::Error::msg(error.detail),
        field => anyhow::anyhow!("{field}: {}", error.detail),
    }
}

fn aggregate(errors: Vec<FieldError>) -> anyhow::Error {
    anyhow::Error::msg(field::aggregate(&errors))
}

#[cfg(test)]
mod tests;
