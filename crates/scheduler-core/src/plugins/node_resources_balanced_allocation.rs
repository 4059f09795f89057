//! NodeResourcesBalancedAllocation: prefers nodes whose resources the pod would use more evenly. Floats, in upstream's order.

use super::node_resources_fit::usage;
use super::{Context, MAX_SCORE, Plugin, Reach};
use crate::cluster::NodeId;
use crate::objects::Text;
use crate::spec::Spec;
use smallvec::SmallVec;

#[derive(Clone, Debug)]
pub struct BalancedAllocation {
    pub resources: Vec<Text>,
}

impl Default for BalancedAllocation {
    fn default() -> Self {
        Self {
            resources: vec!["cpu".into(), "memory".into()],
        }
    }
}

impl BalancedAllocation {
    /// A pod that asks for none of the resources is not scored, lest all such pods go to one node.
    fn is_best_effort(&self, spec: &Spec) -> bool {
        let requests = &spec.requests;
        self.resources.iter().all(|name| match name.as_str() {
            "cpu" => requests.milli_cpu == 0,
            "memory" => requests.memory == 0,
            "ephemeral-storage" => requests.ephemeral_storage == 0,
            name => requests.scalar(name) == 0,
        })
    }
}

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn reach(&self) -> Reach {
        Reach::Node
    }

    fn score(&self, context: &Context<'_>, node: NodeId) -> i64 {
        if self.is_best_effort(context.spec) {
            return 0;
        }
        let (mut with, mut without) = (Fractions::new(), Fractions::new());
        for name in &self.resources {
            let usage = usage(context.cluster, context.spec, node, name, false);
            if usage.allocatable != 0 {
                let fraction = |used: i64| (used as f64 / usage.allocatable as f64).min(1.0);
                with.push(fraction(usage.requested));
                without.push(fraction(usage.allocated));
            }
        }
        let half = MAX_SCORE / 2;
        half + (half + balance(&with) - balance(&without)) / 2
    }
}

type Fractions = SmallVec<[f64; 4]>;

/// One minus the standard deviation, as 0..=100.
fn balance(fractions: &Fractions) -> i64 {
    let deviation = match fractions.as_slice() {
        [a, b] => ((a - b) / 2.0).abs(),
        many if many.len() > 2 => {
            let mut total = 0.0;
            for fraction in many {
                total += fraction;
            }
            let mean = total / many.len() as f64;
            let mut sum = 0.0;
            for fraction in many {
                sum += (fraction - mean) * (fraction - mean);
            }
            (sum / many.len() as f64).sqrt()
        }
        _ => 0.0,
    };
    ((1.0 - deviation) * MAX_SCORE as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_use_scores_best() {
        assert_eq!(balance(&Fractions::from_slice(&[0.5, 0.5])), 100);
        assert_eq!(balance(&Fractions::from_slice(&[0.0, 1.0])), 50);
        assert_eq!(balance(&Fractions::from_slice(&[0.3])), 100);
        assert_eq!(balance(&Fractions::from_slice(&[0.0, 0.5, 1.0])), 59);
    }
}
