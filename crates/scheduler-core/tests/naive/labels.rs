//! Label selectors, evaluated requirement by requirement as written; no code shared with the crate.

use super::*;
use fluyt_scheduler_core::labels::{LabelSelector, Requirement};

/// One condition of a label selector or of a node selector.
pub fn meets(requirement: &Requirement, labels: &Labels) -> bool {
    let value = labels.get(&requirement.key).map(|value| value.as_str());
    let listed = |value: &str| requirement.values.iter().any(|one| one == value);
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = match requirement.values.len() {
        1 => number(&requirement.values[0]),
        _ => None,
    };
    let ordered = |check: fn(&i64, &i64) -> bool| match (value.and_then(number), bound) {
        (Some(value), Some(bound)) => check(&value, &bound),
        _ => false,
    };
    match requirement.operator {
        Operator::In => value.is_some_and(listed),
        Operator::NotIn => !value.is_some_and(listed),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::Gt => ordered(i64::gt),
        Operator::Lt => ordered(i64::lt),
        Operator::Unknown => false,
    }
}

/// Absent selects nothing, empty everything.
pub fn picks(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    selector.is_some_and(|selector| {
        selector
            .match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && selector
                .match_expressions
                .iter()
                .all(|one| meets(one, labels))
    })
}

pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.is_empty() && selector.match_expressions.is_empty()
}

/// Selectors that all must pick.
pub type Selectors = Vec<LabelSelector>;

pub fn all_pick(selectors: &Selectors, labels: &Labels) -> bool {
    selectors
        .iter()
        .all(|selector| picks(Some(selector), labels))
}

pub fn equals(labels: &Labels) -> LabelSelector {
    LabelSelector {
        match_labels: labels.clone(),
        match_expressions: Vec::new(),
    }
}
