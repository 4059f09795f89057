//! All scenarios, in the order in which they run.

mod bind;
mod cost;
mod node;
mod objects;
mod requests;
mod simulated;
mod watch;

use anyhow::bail;
use futures::future::LocalBoxFuture;

use crate::Context;
use crate::report::Measured;

type Outcome = anyhow::Result<Vec<Measured>>;

/// Scenarios of a group share a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Start,
    Load,
    Cluster,
    Simulated,
    /// With a real node: needs root and a container runtime.
    Node,
}

impl Group {
    /// In the order in which they run.
    pub(crate) const ALL: [Self; 5] = [
        Self::Start,
        Self::Load,
        Self::Cluster,
        Self::Simulated,
        Self::Node,
    ];
}

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) group: Group,
    pub(crate) run: fn(&Context) -> LocalBoxFuture<'_, Outcome>,
}

static SCENARIOS: [Scenario; 11] = [
    Scenario {
        name: "ready",
        about: "start to ready",
        group: Group::Start,
        run: |context| Box::pin(cost::ready(context)),
    },
    Scenario {
        name: "size",
        about: "size of the binary",
        group: Group::Start,
        run: |context| Box::pin(cost::size(context)),
    },
    Scenario {
        name: "idle",
        about: "memory and CPU of the idle server",
        group: Group::Start,
        run: |context| Box::pin(cost::idle(context)),
    },
    Scenario {
        name: "creates",
        about: "creating pods",
        group: Group::Load,
        run: |context| Box::pin(requests::creates(context)),
    },
    Scenario {
        name: "gets",
        about: "reading a pod",
        group: Group::Load,
        run: |context| Box::pin(requests::gets(context)),
    },
    Scenario {
        name: "list",
        about: "listing pods",
        group: Group::Load,
        run: |context| Box::pin(requests::list(context)),
    },
    Scenario {
        name: "watch",
        about: "watching config maps",
        group: Group::Load,
        run: |context| Box::pin(watch::watch(context)),
    },
    Scenario {
        name: "bind",
        about: "creating, scheduling and binding pods",
        group: Group::Cluster,
        run: |context| Box::pin(bind::bind(context)),
    },
    Scenario {
        name: "simulated",
        about: "memory with simulated nodes whose pods run",
        group: Group::Simulated,
        run: |context| Box::pin(simulated::memory(context)),
    },
    Scenario {
        name: "node",
        about: "memory and CPU of an idle cluster with a node",
        group: Group::Node,
        run: |context| Box::pin(node::idle(context)),
    },
    Scenario {
        name: "pod-start",
        about: "starting pods on a node",
        group: Group::Node,
        run: |context| Box::pin(node::pod_start(context)),
    },
];

/// All, or those named.
pub(crate) fn choose(names: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    for name in names {
        if !SCENARIOS.iter().any(|scenario| scenario.name == name) {
            let known: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            bail!(
                "there is no scenario {name:?}; there are {}",
                known.join(", ")
            );
        }
    }
    let chosen =
        |scenario: &&Scenario| names.is_empty() || names.iter().any(|name| name == scenario.name);
    Ok(SCENARIOS.iter().filter(chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_in_their_order() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            choose(&names).map(|chosen| chosen.iter().map(|one| one.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap().len(), SCENARIOS.len());
        assert_eq!(names(&["gets", "ready"]).unwrap(), ["ready", "gets"]);
        let refused = names(&["get"]).unwrap_err().to_string();
        assert!(
            refused.starts_with("there is no scenario \"get\"; there are ready, "),
            "{refused}"
        );
    }
}
