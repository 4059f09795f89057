//! Evicting a pod: deleting it as far as its disruption budget allows.
//!
//! Invariant: a pod that is ready is only deleted after its budget has been charged for it.

use fluyt_api::selector::LabelSelector;
use fluyt_api::status::{Cause, Status};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::codec::format_time;
use crate::get::{Get, Put};
use crate::meta;

/// What an eviction does.
#[derive(Clone, Debug, PartialEq)]
pub enum Eviction {
    /// Delete the pod, if it still has the resourceVersion that was judged when `guarded`.
    Delete { guarded: bool },
    /// Store the charged budget first (its status; on conflict judge again), then delete the pod.
    Charge(Box<Value>),
}

const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const MAX_DISRUPTED: usize = 2000;

/// Decides on an eviction; `budgets` are those of the pod's namespace.
///
/// Errors: 429 when the budget does not allow it now, 500 when several budgets cover the pod.
pub fn evict(pod: &Value, budgets: &[Value], now: Timestamp) -> Result<Eviction, Status> {
    let phase = pod.at("status").text("phase");
    let going = meta::of(pod).has("deletionTimestamp");
    if going || matches!(phase, "Succeeded" | "Failed") {
        return Ok(Eviction::Delete { guarded: false });
    }
    if phase == "Pending" {
        return Ok(Eviction::Delete { guarded: true });
    }
    let labels = meta::of(pod).at("labels");
    let covering: Vec<&Value> = budgets
        .iter()
        .filter(|budget| {
            let selector = budget.at("spec").at("selector");
            !selector.is_null()
                && LabelSelector::from_json(selector).is_ok_and(|s| s.matches(labels))
        })
        .collect();
    let budget = match covering.as_slice() {
        [] => return Ok(Eviction::Delete { guarded: false }),
        [budget] => budget,
        _ => {
            return Err(Status {
                code: 500,
                reason: "InternalError",
                message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.".to_owned(),
                details: None,
            });
        }
    };
    let status = budget.at("status");
    let count = |field: &str| status.int(field).unwrap_or(0);
    if !is_ready(pod) {
        let always = budget.at("spec").text("unhealthyPodEvictionPolicy") == "AlwaysAllow";
        let healthy =
            count("desiredHealthy") > 0 && count("currentHealthy") >= count("desiredHealthy");
        if always || healthy {
            return Ok(Eviction::Delete { guarded: true });
        }
    }
    charge(meta::of(pod).text("name"), budget, now)
}

/// Whether a pod says that it is ready.
pub fn is_ready(pod: &Value) -> bool {
    pod.at("status")
        .items("conditions")
        .iter()
        .any(|c| c.text("type") == "Ready" && c.text("status") == "True")
}

fn charge(pod: &str, budget: &Value, now: Timestamp) -> Result<Eviction, Status> {
    let name = meta::of(budget).text("name");
    let status = budget.at("status");
    let count = |field: &str| status.int(field).unwrap_or(0);
    let generation = meta::of(budget).int("generation").unwrap_or(0);
    if count("observedGeneration") < generation {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refuse(why, 10));
    }
    let forbidden = |why: &str| Err(Status::forbidden("poddisruptionbudget.policy", name, why));
    if count("disruptionsAllowed") < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if status.members("disruptedPods").count() > MAX_DISRUPTED {
        return forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        );
    }
    if count("disruptionsAllowed") == 0 {
        let (desired, current) = (count("desiredHealthy"), count("currentHealthy"));
        let why = if current <= desired {
            format!(
                "The disruption budget {name} needs {desired} healthy pods and has {current} currently"
            )
        } else {
            format!("The disruption budget {name} does not allow evicting pods currently")
        };
        return Err(refuse(why, 0));
    }
    let mut charged = (*budget).clone();
    let left = count("disruptionsAllowed") - 1;
    let status = charged.open("status");
    status.put("disruptionsAllowed", left);
    status.open("disruptedPods").put(pod, format_time(now));
    if left == 0 {
        crate::binding::set_condition(
            status,
            json!({"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods",
                "message": "", "observedGeneration": generation}),
            now,
        );
    }
    Ok(Eviction::Charge(Box::new(charged)))
}

fn refuse(why: String, retry_after: i32) -> Status {
    let mut status = Status::too_many_requests(REFUSED, retry_after);
    let details = status.details.get_or_insert_default();
    details.causes.push(Cause {
        reason: "DisruptionBudget".to_owned(),
        message: why,
        field: String::new(),
    });
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_decide() {
        let now = Timestamp::UNIX_EPOCH;
        let pod = |phase: &str| {
            json!({"metadata": {"name": "p", "labels": {"a": "b"}},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]}})
        };
        let budget = |allowed: i64| {
            json!({"metadata": {"name": "q"}, "spec": {"selector": {"matchLabels": {"a": "b"}}},
            "status": {"disruptionsAllowed": allowed, "desiredHealthy": 2, "currentHealthy": 2}})
        };
        let free = Eviction::Delete { guarded: false };
        assert_eq!(evict(&pod("Running"), &[], now).unwrap(), free);
        assert_eq!(evict(&pod("Failed"), &[budget(0)], now).unwrap(), free);
        let Eviction::Charge(charged) = evict(&pod("Running"), &[budget(1)], now).unwrap() else {
            panic!("the budget must be charged");
        };
        assert_eq!(charged["status"]["disruptionsAllowed"], 0);
        assert!(charged["status"]["disruptedPods"].get("p").is_some());
        let refused = evict(&pod("Running"), &[budget(0)], now).unwrap_err();
        assert_eq!(refused.code, 429);
        assert_eq!(
            refused.details.unwrap().causes[0].message,
            "The disruption budget q needs 2 healthy pods and has 2 currently"
        );
        let two = [budget(1), budget(1)];
        assert_eq!(evict(&pod("Running"), &two, now).unwrap_err().code, 500);
    }
}
