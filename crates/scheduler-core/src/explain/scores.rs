//! Scores as people read them: plugin by plugin, raw, normalised, weighted; the runner-up and the margin.

use serde::{Deserialize, Serialize};

use crate::objects::Text;
use crate::profile::Profile;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginScore {
    pub plugin: Text,
    pub weight: i64,
    /// As the plugin gave it; `None`: it leaves this node out.
    pub raw: Option<i64>,
    /// Normalised over the feasible nodes, 0..=100.
    pub score: i64,
    pub weighted: i64,
}

impl PluginScore {
    pub(super) fn new(plugin: &'static str, weight: i64, raw: Option<i64>, score: i64) -> Self {
        Self {
            plugin: plugin.into(),
            weight,
            raw,
            score,
            weighted: weight * score,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeScore {
    pub node: Text,
    pub total: i64,
    /// In the profile's order.
    pub plugins: Vec<PluginScore>,
}

impl NodeScore {
    pub(super) fn new(
        profile: &Profile,
        node: Text,
        total: i64,
        mut plugins: Vec<PluginScore>,
    ) -> Self {
        let order = |name: &str| profile.plugins().position(|plugin| plugin.name() == name);
        plugins.sort_by_key(|one| order(&one.plugin));
        Self {
            node,
            total,
            plugins,
        }
    }
}

/// A choice: the node, the one that came next, and by how much it lost.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scores {
    pub chosen: NodeScore,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_up: Option<NodeScore>,
    /// 0: a tie, which the lower row wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<i64>,
}

impl Scores {
    pub(super) fn new(chosen: NodeScore, runner_up: Option<NodeScore>) -> Self {
        let margin = runner_up.as_ref().map(|second| chosen.total - second.total);
        Self {
            chosen,
            runner_up,
            margin,
        }
    }
}
