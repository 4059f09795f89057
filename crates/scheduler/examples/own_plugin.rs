//! A scheduler with two plugins of its own, as a crate outside of this repository would write it: a filter, `Maintenance`, and a
//! score with arguments, `ZoneCost`. docs/scheduler-plugins.md walks through it.
//!
//! `cargo run --example own_plugin -- --config crates/scheduler/examples/own_plugin.yaml --kubeconfig ~/.kube/config`

use std::collections::HashMap;
use std::process::ExitCode;

use fluyt_scheduler::Registry;
use fluyt_scheduler::plugin::{
    Context, Event, MAX_SCORE, NodeId, Plugin, Range, Rejection, Text, Waiting,
};
use serde::Deserialize;

fn main() -> ExitCode {
    fluyt_scheduler::main(plugins())
}

pub fn plugins() -> Registry {
    let mut plugins = Registry::default();
    plugins.register("Maintenance", |_| Ok(Box::new(Maintenance::default())));
    plugins.register("ZoneCost", |args| {
        Ok(Box::new(ZoneCost(serde_json::from_value(args.clone())?)))
    });
    plugins
}

/// Filter: nodes labelled `example.com/maintenance` take only pods with the label `example.com/survives-maintenance: "true"`.
struct Maintenance {
    reads: Vec<Text>,
}

const NODE_LABEL: &str = "example.com/maintenance";
const POD_LABEL: &str = "example.com/survives-maintenance";

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            reads: vec![POD_LABEL.into()],
        }
    }
}

impl Plugin for Maintenance {
    fn name(&self) -> &'static str {
        "Maintenance"
    }

    fn reads_labels(&self) -> &[Text] {
        &self.reads
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        let closed = context.node_labels(node).contains(NODE_LABEL);
        if !closed || context.pod_label(POD_LABEL) == Some("true") {
            return Ok(());
        }
        Err(Rejection::new(
            self.name(),
            "node(s) were under maintenance",
            false,
        ))
    }

    fn wakes(&self, _waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        match event {
            Event::NodeAdded { new } | Event::NodeUpdated { new, .. } => {
                !new.labels.contains(NODE_LABEL)
            }
            Event::PodUpdated { .. } => true,
            _ => false,
        }
    }
}

/// `pluginConfig[].args` of ZoneCost: what a zone costs; a zone that is not named costs nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneCostArgs {
    costs: HashMap<String, u16>,
}

/// Score: the cheaper the zone, the better.
struct ZoneCost(ZoneCostArgs);

impl Plugin for ZoneCost {
    fn name(&self) -> &'static str {
        "ZoneCost"
    }

    fn score(&self, context: &Context<'_>, node: NodeId) -> i64 {
        let zone = context.node_labels(node).get("topology.kubernetes.io/zone");
        let cost = zone.and_then(|zone| self.0.costs.get(zone.as_str()));
        cost.map_or(0, |cost| i64::from(*cost))
    }

    /// The dearest zone gets 0, the cheapest 100.
    fn normalize(&self, raw: i64, range: Range) -> i64 {
        match range.greatest - range.least {
            0 => MAX_SCORE,
            spread => MAX_SCORE * (range.greatest - raw) / spread,
        }
    }
}
