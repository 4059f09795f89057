//! ImageLocality: prefers nodes that have the pod's images already, weighed by size and by how widespread the image is.
//!
//! Its answers depend on the number of nodes too; [`crate::classes`] looks again at everything when that matters.

use super::{Context, MAX_SCORE, Plugin, Reach};
use crate::cluster::NodeId;

pub struct ImageLocality;

const MEBIBYTE: i64 = 1024 * 1024;
const MINIMUM: i64 = 23 * MEBIBYTE;
const MAXIMUM_PER_CONTAINER: i64 = 1000 * MEBIBYTE;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn reach(&self) -> Reach {
        Reach::Node
    }

    fn score(&self, context: &Context<'_>, node: NodeId) -> i64 {
        let cluster = context.cluster;
        let mut sum = 0_i64;
        for image in &context.spec.images {
            let Some(state) = cluster.image(image) else {
                continue;
            };
            if cluster.has_image(node, image) {
                let spread = f64::from(state.nodes) / cluster.node_count() as f64;
                sum += (state.size as f64 * spread) as i64;
            }
        }
        priority(sum, context.spec.container_count as i64)
    }
}

fn priority(sum: i64, containers: i64) -> i64 {
    let maximum = MAXIMUM_PER_CONTAINER * containers;
    if maximum <= MINIMUM {
        return 0;
    }
    let sum = sum.clamp(MINIMUM, maximum);
    MAX_SCORE * (sum - MINIMUM) / (maximum - MINIMUM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_scaled_between_the_thresholds() {
        for (sum, containers, expected) in [
            (0, 1, 0),
            (MINIMUM, 1, 0),
            (MAXIMUM_PER_CONTAINER, 1, 100),
            (MAXIMUM_PER_CONTAINER, 2, 49),
            (MAXIMUM_PER_CONTAINER * 9, 2, 100),
        ] {
            assert_eq!(priority(sum, containers), expected);
        }
    }
}
