//! When a pod must leave a node because of its NoExecute taints. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{plus_seconds, until};
use crate::objects::node::Taint;
use crate::objects::pod::{Operator, Toleration};

/// An eviction that is planned: since when the pod is tolerated, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    pub since: Timestamp,
    pub due: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is planned and nothing needs to be.
    Stay,
    /// What was planned is off.
    Cancel,
    Evict,
    Wait(Planned, Duration),
}

/// Whether a toleration covers a taint: key, effect and value.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    if !toleration.effect.is_empty() && toleration.effect != taint.effect {
        return false;
    }
    if !toleration.key.is_empty() && toleration.key != taint.key {
        return false;
    }
    match toleration.operator {
        Operator::Exists => true,
        // An empty key is only valid with Exists.
        Operator::Equal | Operator::Unset => {
            !toleration.key.is_empty() && toleration.value == taint.value
        }
        Operator::Lt | Operator::Gt => {
            let numbers = taint
                .value
                .parse::<i64>()
                .ok()
                .zip(toleration.value.parse::<i64>().ok());
            numbers.is_some_and(|(taint, limit)| match toleration.operator {
                Operator::Lt => taint < limit,
                _ => taint > limit,
            })
        }
    }
}

/// How long the taints are tolerated: `None` not at all, `Some(None)` for ever.
fn tolerated_for(tolerations: &[Toleration], taints: &[&Taint]) -> Option<Option<i64>> {
    let mut shortest: Option<i64> = None;
    for taint in taints {
        let toleration = tolerations
            .iter()
            .find(|toleration| tolerates(toleration, taint))?;
        if let Some(seconds) = toleration.toleration_seconds {
            let seconds = seconds.max(0);
            shortest = Some(shortest.map_or(seconds, |shortest| shortest.min(seconds)));
        }
    }
    Some(shortest)
}

/// `taints` are the node's NoExecute taints.
pub fn decide(
    tolerations: &[Toleration],
    taints: &[&Taint],
    planned: Option<Planned>,
    now: Timestamp,
) -> Decision {
    let quiet = if planned.is_some() {
        Decision::Cancel
    } else {
        Decision::Stay
    };
    if taints.is_empty() {
        return quiet;
    }
    match tolerated_for(tolerations, taints) {
        None => Decision::Evict,
        Some(None) => quiet,
        Some(Some(seconds)) => {
            let since = planned.map_or(now, |planned| planned.since);
            let due = plus_seconds(since, seconds);
            if due <= now {
                Decision::Evict
            } else {
                Decision::Wait(Planned { since, due }, until(now, due))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn taint(key: &str, value: &str) -> Taint {
        Taint {
            key: key.into(),
            value: value.into(),
            effect: "NoExecute".into(),
            time_added: None,
        }
    }

    fn tolerations(value: Value) -> Vec<Toleration> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn tolerations_cover_taints() {
        for (toleration, expected) in [
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"operator": "Exists"}), true),
            (json!({"key": "k", "operator": "Equal", "value": "v"}), true),
            (json!({"key": "k", "value": "v"}), true),
            (json!({"key": "k", "value": "w"}), false),
            (json!({"key": "other", "operator": "Exists"}), false),
            (
                json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"}),
                false,
            ),
            (
                json!({"key": "k", "operator": "Exists", "effect": "NoExecute"}),
                true,
            ),
        ] {
            let toleration: Toleration = serde_json::from_value(toleration.clone()).unwrap();
            assert_eq!(
                tolerates(&toleration, &taint("k", "v")),
                expected,
                "{toleration:?}"
            );
        }
    }

    #[test]
    fn decisions() {
        let seconds = |seconds: i64| json!([{"key": "k", "operator": "Exists", "tolerationSeconds": seconds}]);
        let (one, two) = (taint("k", ""), taint("other", ""));
        let since: Timestamp = "2026-01-01T11:59:50Z".parse().unwrap();
        let planned = Some(Planned {
            since,
            due: plus_seconds(since, 300),
        });
        let wait = |since, seconds: i64| {
            let due = plus_seconds(since, seconds);
            Decision::Wait(Planned { since, due }, until(now(), due))
        };
        type Case<'a> = (&'a str, Value, Vec<&'a Taint>, Option<Planned>, Decision);
        let cases: [Case<'_>; 9] = [
            ("no taint", json!([]), vec![], None, Decision::Stay),
            ("taint gone", json!([]), vec![], planned, Decision::Cancel),
            (
                "not tolerated",
                json!([]),
                vec![&one],
                None,
                Decision::Evict,
            ),
            (
                "tolerated for ever",
                json!([{"operator": "Exists"}]),
                vec![&one],
                planned,
                Decision::Cancel,
            ),
            (
                "for a while",
                seconds(300),
                vec![&one],
                None,
                wait(now(), 300),
            ),
            (
                "the clock runs on",
                seconds(300),
                vec![&one],
                planned,
                wait(since, 300),
            ),
            (
                "a shorter toleration has passed",
                seconds(10),
                vec![&one],
                planned,
                Decision::Evict,
            ),
            (
                "zero is at once",
                seconds(0),
                vec![&one],
                None,
                Decision::Evict,
            ),
            (
                "one of two is not tolerated",
                seconds(300),
                vec![&one, &two],
                None,
                Decision::Evict,
            ),
        ];
        for (name, value, taints, planned, expected) in cases {
            assert_eq!(
                decide(&tolerations(value), &taints, planned, now()),
                expected,
                "{name}"
            );
        }
    }
}
