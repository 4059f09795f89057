//! Plugin sets: merged with the default ones, and expanded into what each plugin does in a profile.
//!
//! The rules are upstream's: a set may disable default plugins by name or all by `*`; naming a default plugin under `enabled`
//! reconfigures it in its place; a point's own set wins over multiPoint; weights of `score` win over those of multiPoint, and no
//! weight means 1.

use anyhow::{Context, bail};
use fluyt_api::field::Path;
use fluyt_scheduler_core::plugins::registry as standard;
use fluyt_scheduler_core::points::{Point, Points};
use fluyt_scheduler_core::profile::{DEFAULT_SCHEDULER_NAME, Profile};
use serde_json::Value;

use super::types::{self, PluginReference, PluginSet, Plugins};
use crate::registry::Registry;

/// The default plugins, with a profile's own sets.
pub fn merge(own: Option<Plugins>) -> Plugins {
    let own = own.unwrap_or_default();
    let enabled = standard()
        .into_iter()
        .map(|(make, weight)| PluginReference {
            name: make().name().to_owned(),
            weight: i32::try_from(weight).ok().filter(|weight| *weight != 0),
        });
    let defaults = PluginSet {
        enabled: enabled.collect(),
        disabled: Vec::new(),
    };
    Plugins {
        multi_point: merge_set(defaults, own.multi_point),
        ..own
    }
}

fn merge_set(defaults: PluginSet, own: PluginSet) -> PluginSet {
    let is_disabled = |name: &str| own.disabled.iter().any(|one| one.name == name);
    let mut enabled: Vec<PluginReference> = Vec::new();
    if !is_disabled("*") {
        for default in defaults.enabled {
            if is_disabled(&default.name) {
                continue;
            }
            let again = own.enabled.iter().rfind(|one| one.name == default.name);
            enabled.push(again.cloned().unwrap_or(default));
        }
    }
    for (index, one) in own.enabled.iter().enumerate() {
        let repeated = own.enabled[..index]
            .iter()
            .any(|other| other.name == one.name);
        if repeated || !enabled.iter().any(|other| other.name == one.name) {
            enabled.push(one.clone());
        }
    }
    PluginSet {
        enabled,
        disabled: own.disabled,
    }
}

/// A core profile with every plugin at the points where the sets have it.
pub fn expand(
    source: &types::Profile,
    registry: &Registry,
    path: &Path,
) -> anyhow::Result<Profile> {
    let name = source.scheduler_name.as_deref();
    let mut profile = Profile::new(name.unwrap_or(DEFAULT_SCHEDULER_NAME));
    let plugins = source.plugins.clone().unwrap_or_default();
    for (plugin, make) in registry.iter() {
        if !plugins.names().iter().any(|name| name == plugin) {
            continue;
        }
        let config = source.plugin_config.iter().find(|one| one.name == *plugin);
        let args = config.map_or(&Value::Null, |config| &config.args);
        let plugin =
            make(args).with_context(|| format!("{path}: initializing plugin {plugin:?}"))?;
        profile.register(plugin, 0);
    }
    let lists = lists(&profile, &plugins).with_context(|| format!("{path}.plugins"))?;
    let scheduler = &profile.scheduler_name;
    let count = |point: Point| lists[point as usize].len();
    if count(Point::QueueSort) != 1 {
        bail!(
            "{path}.plugins.queueSort: only one queue sort plugin required for profile with scheduler name {scheduler:?}, but got {}",
            count(Point::QueueSort)
        );
    }
    if count(Point::Bind) == 0 {
        bail!(
            "{path}.plugins.bind: at least one bind plugin is needed for profile with scheduler name {scheduler:?}"
        );
    }
    let names: Vec<String> = profile
        .plugins()
        .map(|plugin| plugin.name().to_owned())
        .collect();
    for name in names {
        let mut points = Points::NONE;
        for point in Point::ALL {
            if lists[point as usize].contains(&name) {
                points.insert(point);
            }
        }
        profile.enable_at(&name, points, weight(&plugins, &name));
    }
    profile.reorder(&lists[Point::Filter as usize]);
    Ok(profile)
}

/// The enabled plugins of every point, in order.
fn lists(profile: &Profile, plugins: &Plugins) -> anyhow::Result<Vec<Vec<String>>> {
    let mut lists = Vec::new();
    for (point, (field, set)) in Point::ALL.into_iter().zip(plugins.sets()) {
        let list = list(profile, point, set, &plugins.multi_point).with_context(|| field)?;
        lists.push(list);
    }
    Ok(lists)
}

/// Those of the point's own set that multiPoint has too, the others of multiPoint, the others of the point's own.
fn list(
    profile: &Profile,
    point: Point,
    set: &PluginSet,
    multi: &PluginSet,
) -> anyhow::Result<Vec<String>> {
    let mut own: Vec<&str> = Vec::new();
    for (index, one) in set.enabled.iter().enumerate() {
        let Some(plugin) = profile.plugin(&one.name) else {
            bail!(
                "enabled[{index}]: {}Plugin {:?} does not exist",
                point.name(),
                one.name
            );
        };
        if !plugin.points().contains(point) {
            bail!(
                "enabled[{index}]: plugin {:?} does not extend {}Plugin plugin",
                one.name,
                point.name()
            );
        }
        if own.contains(&one.name.as_str()) {
            bail!(
                "enabled[{index}]: plugin {:?} already registered as \"{}Plugin\"",
                one.name,
                point.name()
            );
        }
        own.push(&one.name);
    }
    let is_disabled = |name: &str| set.disabled.iter().any(|one| one.name == name);
    let mut shared: Vec<&str> = Vec::new();
    let mut expanded: Vec<&str> = Vec::new();
    if !is_disabled("*") {
        for one in &multi.enabled {
            let name = one.name.as_str();
            let Some(plugin) = profile.plugin(name) else {
                bail!("multiPoint: {}Plugin {name:?} does not exist", point.name());
            };
            if !plugin.points().contains(point) || is_disabled(name) {
                continue;
            }
            if own.contains(&name) {
                shared.push(name);
            } else if expanded.contains(&name) {
                bail!(
                    "multiPoint: plugin {name:?} already registered as \"{}Plugin\"",
                    point.name()
                );
            } else {
                expanded.push(name);
            }
        }
    }
    let first = own.iter().filter(|name| shared.contains(name));
    let last = own.iter().filter(|name| !shared.contains(name));
    let order = first.chain(&expanded).chain(last);
    Ok(order.map(|name| (*name).to_owned()).collect())
}

/// A default plugin that has a Score but no score to give: upstream's VolumeBinding scores behind a gate that is off.
fn scores_nothing(name: &str) -> bool {
    let mut plugins = standard().into_iter();
    plugins.any(|(make, weight)| weight == 0 && make().name() == name)
}

/// Weights that count for nothing are 0, so that nobody reads them as if they did.
fn weight(plugins: &Plugins, name: &str) -> i64 {
    let mut all = plugins
        .score
        .enabled
        .iter()
        .chain(&plugins.multi_point.enabled);
    let weight = all.find(|one| one.name == name).and_then(|one| one.weight);
    match weight.unwrap_or(0) {
        _ if scores_nothing(name) => 0,
        0 => 1,
        weight => i64::from(weight),
    }
}
