//! TaintToleration: NoSchedule and NoExecute taints keep out pods that do not tolerate them; PreferNoSchedule taints cost score.

use super::{Context, Plugin, Range, Rejection, default_normalize};
use crate::cluster::NodeId;
use crate::events::{Event, Waiting};
use crate::objects::{Taint, Toleration};

pub struct TaintToleration;

const NAME: &str = "TaintToleration";

pub fn is_untolerated(taints: &[Taint], tolerations: &[Toleration]) -> bool {
    let tolerated = |taint: &Taint| tolerations.iter().any(|one| one.tolerates(taint));
    taints
        .iter()
        .any(|taint| taint.forbids() && !tolerated(taint))
}

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, context: &Context<'_>, node: NodeId) -> Result<(), Rejection> {
        let taints = &context.cluster.nodes.entry(node).facts.taints;
        if is_untolerated(taints, &context.spec.tolerations) {
            return Err(Rejection::new(
                NAME,
                "node(s) had untolerated taint(s)",
                false,
            ));
        }
        Ok(())
    }

    fn score(&self, context: &Context<'_>, node: NodeId) -> i64 {
        let taints = &context.cluster.nodes.entry(node).facts.taints;
        let tolerated = |taint: &Taint| {
            context
                .spec
                .tolerations
                .iter()
                .filter(|one| one.effect.is_empty() || one.effect == "PreferNoSchedule")
                .any(|one| one.tolerates(taint))
        };
        taints
            .iter()
            .filter(|taint| taint.effect == "PreferNoSchedule" && !tolerated(taint))
            .count() as i64
    }

    fn normalize(&self, raw: i64, range: Range) -> i64 {
        default_normalize(raw, range, true)
    }

    fn wakes(&self, waiting: &Waiting<'_>, event: &Event<'_>) -> bool {
        let tolerations = &waiting.spec.tolerations;
        match event {
            Event::NodeAdded { new } => !is_untolerated(new.taints, tolerations),
            Event::NodeUpdated { old, new } => {
                is_untolerated(old.taints, tolerations) && !is_untolerated(new.taints, tolerations)
            }
            Event::PodUpdated { pod, change } => *pod == waiting.pod && change.tolerations,
            _ => false,
        }
    }

    fn waits_for(&self) -> &'static [&'static str] {
        &[
            "a node whose taints it tolerates is added",
            "a node loses the taints in its way",
            "the pod itself gets tolerations",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_follow_the_api() {
        let taint = |key: &str, value: &str, effect: &str| Taint {
            key: key.into(),
            value: value.into(),
            effect: effect.into(),
        };
        let toleration = |key: &str, operator: &str, value: &str, effect: &str| Toleration {
            key: key.into(),
            operator: operator.into(),
            value: value.into(),
            effect: effect.into(),
        };
        let gpu = taint("gpu", "yes", "NoSchedule");
        for (toleration, untolerated) in [
            (toleration("gpu", "Equal", "yes", "NoSchedule"), false),
            (toleration("gpu", "", "yes", ""), false),
            (toleration("gpu", "Equal", "no", "NoSchedule"), true),
            (toleration("", "Exists", "", ""), false),
            (toleration("gpu", "Exists", "", "NoExecute"), true),
        ] {
            assert_eq!(
                is_untolerated(std::slice::from_ref(&gpu), &[toleration]),
                untolerated
            );
        }
        let preferred = taint("gpu", "yes", "PreferNoSchedule");
        assert!(!is_untolerated(&[preferred], &[]));
    }
}
