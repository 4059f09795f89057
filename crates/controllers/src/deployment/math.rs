//! How many pods a rollout may have, and how a change of scale is shared out. Pure numbers.

use super::annotations;
use super::members::Member;
use crate::objects::apps::{Deployment, StrategyType};

/// Pods above and below the wanted number that a rolling update may have: (surge, unavailable). Both zero becomes one unavailable,
/// or the rollout could never move.
pub fn fence_posts(deployment: &Deployment) -> (i32, i32) {
    let wanted = i64::from(deployment.spec.replicas);
    let strategy = deployment.spec.strategy.rolling_update.as_ref();
    let scaled = |value: Option<&crate::objects::IntOrString>, up| {
        let number = value.map_or(0, |value| value.scaled(wanted, up));
        i32::try_from(number).unwrap_or(i32::MAX / 2)
    };
    let surge = scaled(
        strategy.and_then(|strategy| strategy.max_surge.as_ref()),
        true,
    );
    let unavailable = scaled(
        strategy.and_then(|strategy| strategy.max_unavailable.as_ref()),
        false,
    );
    if surge == 0 && unavailable == 0 {
        (0, 1)
    } else {
        (surge, unavailable)
    }
}

fn is_rolling(deployment: &Deployment) -> bool {
    deployment.spec.strategy.type_ == StrategyType::RollingUpdate
}

pub fn max_surge(deployment: &Deployment) -> i32 {
    if is_rolling(deployment) {
        fence_posts(deployment).0
    } else {
        0
    }
}

pub fn max_unavailable(deployment: &Deployment) -> i32 {
    if !is_rolling(deployment) || deployment.spec.replicas == 0 {
        return 0;
    }
    fence_posts(deployment).1.min(deployment.spec.replicas)
}

/// The size that the current set may have now, given all sets' sizes together.
pub fn new_set_size(deployment: &Deployment, total: i32, current: i32) -> i32 {
    let wanted = deployment.spec.replicas;
    if !is_rolling(deployment) {
        return wanted;
    }
    // Only the surge counts here, even when both fence posts are zero.
    let surge = fence_posts(deployment).0;
    let room = wanted.saturating_add(surge) - total;
    if room <= 0 {
        return current;
    }
    current + room.min(wanted - current)
}

/// The part of `to_add` (negative: to remove) that falls to one set, by its share of the deployment before the change.
pub fn proportion(deployment: &Deployment, member: &Member, to_add: i32, added: i32) -> i32 {
    if member.replicas == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let share = share(deployment, member);
    let allowed = to_add - added;
    if to_add > 0 {
        share.min(allowed)
    } else {
        share.max(allowed)
    }
}

fn share(deployment: &Deployment, member: &Member) -> i32 {
    if deployment.spec.replicas == 0 {
        return -member.replicas;
    }
    let after = deployment.spec.replicas + max_surge(deployment);
    let before = annotations::count(&member.annotations, annotations::MAX)
        .filter(|before| *before != 0)
        .unwrap_or(deployment.status.replicas);
    if before == 0 {
        return 0;
    }
    let size = f64::from(member.replicas) * f64::from(after) / f64::from(before);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "replica counts are far below 2^31"
    )]
    let rounded = size.round() as i32;
    rounded - member.replicas
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn deployment(replicas: i32, surge: Value, unavailable: Value) -> Deployment {
        serde_json::from_value(json!({"metadata": {"name": "d"}, "spec": {"replicas": replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}}))
        .unwrap()
    }

    #[test]
    fn fence_posts_round_towards_progress() {
        for (replicas, surge, unavailable, expected) in [
            (10, json!("25%"), json!("25%"), (3, 2)),
            (1, json!("25%"), json!("25%"), (1, 0)),
            (3, json!(0), json!("10%"), (0, 1)),
            (4, json!(2), json!(1), (2, 1)),
            (0, json!("25%"), json!("25%"), (0, 1)),
        ] {
            assert_eq!(
                fence_posts(&deployment(replicas, surge, unavailable)),
                expected
            );
        }
    }

    #[test]
    fn the_current_set_grows_into_the_room_there_is() {
        let ten = deployment(10, json!(3), json!(2));
        for (total, current, expected) in [
            (0, 0, 10),
            (10, 0, 3),
            (13, 3, 3),
            (8, 3, 8),
            (9, 9, 10),
            (20, 5, 5),
        ] {
            assert_eq!(
                new_set_size(&ten, total, current),
                expected,
                "{total} {current}"
            );
        }
        assert_eq!(new_set_size(&deployment(4, json!(0), json!(0)), 0, 0), 4);
    }
}
