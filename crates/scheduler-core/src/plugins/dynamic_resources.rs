//! DynamicResources: the pod's resource claims have devices that the node can use, or can get such devices there.
//!
//! What the claims demand is worked out before nodes are looked at (see [`crate::claims`]); the devices are chosen by
//! [`crate::cluster::devices`]. A decision about a pod with claims takes the devices at once, so that no two pods get the same.

use super::{Context, Plugin, Range, Reach, Reason, Rejection, default_normalize};
use crate::cluster::NodeId;
use crate::cluster::devices::{Place, Refusal};
use crate::events::{Event, Waiting};

pub struct DynamicResources;

pub const NAME: &str = "DynamicResources";

pub(crate) const ELSEWHERE: &str = "resourceclaim not available on the node";

fn place<'a>(context: &Context<'a>, node: NodeId) -> Place<'a> {
    let entry = context.cluster.nodes.entry(node);
    Place {
        name: &entry.name,
        labels: &entry.facts.labels,
    }
}

/// Evicting pods does not free devices: claims outlive their pods.
fn rejection(refusal: Refusal) -> Rejection {
    match refusal {
        Refusal::TooFew => Rejection::new(NAME, "cannot allocate all claims", false),
        Refusal::InvalidPools => {
            Rejection::new(NAME, "invalid resource pools were encountered", false)
        }
        Refusal::Elsewhere => Rejection::new(NAME, ELSEWHERE, false),
        Refusal::Failed(why) => Rejection {
            plugin: NAME,
            reasons: [Reason::Described(why)].into_iter().collect(),
            resolvable: false,
        },
    }
}

impl Plugin for DynamicResources {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reach(&self) -> Reach {
        Reach::Node
    }

    /// Its scores are normalised, and are asked for again whenever the node's are.
    fn score_reach(&self) -> Reach {
        Reach::Object
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        let Some(demand) = &context.plan.demand else {
            return Ok(());
        };
        let devices = &context.cluster.devices;
        devices
            .fits(place(context, node), demand)
            .map_err(rejection)
    }

    fn score(&self, context: &Context<'_>, node: NodeId) -> i64 {
        let demand = context.plan.demand.as_ref();
        let Some(demand) = demand.filter(|demand| demand.has_alternatives()) else {
            return 0;
        };
        context.cluster.devices.score(place(context, node), demand)
    }

    fn normalize(&self, raw: i64, range: Range) -> i64 {
        default_normalize(raw, range, false)
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        match event {
            Event::DevicesChanged(_) | Event::NodeAdded { .. } => true,
            Event::NodeUpdated { old, new } => {
                old.labels != new.labels || old.allocatable != new.allocatable
            }
            Event::PodUpdated { pod, change } if *pod == waiting.pod && change.claims => {
                let claims = waiting.cluster.pod(*pod).resource_claims.as_ref();
                claims.is_some_and(|claims| waiting.cluster.devices.check_claims(claims).is_ok())
            }
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "one of its claims is made, or is allocated",
            "devices are added or changed, or a claim gives its devices back",
            "a device class is added or changed",
            "a node is added, relabelled, or gets other resources",
        ]
    }
}
