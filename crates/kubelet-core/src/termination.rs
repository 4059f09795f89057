//! The end of a pod: how long its containers are given, and in which order they go.

use crate::api::Pod;
use crate::model::{Observed, State, init_containers, is_sidecar};

/// What a container is given after its preStop hook used up the grace period, in seconds.
pub const LEAST_GRACE_SECONDS: i64 = 2;

/// The seconds that the pod's containers are given.
pub fn grace_seconds(pod: &Pod) -> i64 {
    if pod.metadata.deletion_timestamp.is_some()
        && let Some(seconds) = pod.metadata.deletion_grace_period_seconds
    {
        return seconds.max(0);
    }
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.termination_grace_period_seconds)
        .unwrap_or(30)
        .max(0)
}

/// The ids of the running containers in stages: each stage is stopped together, once the
/// one before has ended. Sidecars go last, in the reverse order of their start.
pub fn stages(pod: &Pod, observed: &Observed) -> Vec<Vec<String>> {
    let running = |filter: &dyn Fn(&str) -> bool| -> Vec<String> {
        observed
            .containers
            .iter()
            .filter(|container| matches!(container.state, State::Running | State::Unknown))
            .filter(|container| filter(&container.name))
            .map(|container| container.id.clone())
            .collect()
    };
    let sidecars: Vec<&str> = init_containers(pod)
        .iter()
        .filter(|container| is_sidecar(container))
        .map(|container| container.name.as_str())
        .collect();
    let mut stages = vec![running(&|name| !sidecars.contains(&name))];
    stages.extend(
        sidecars
            .iter()
            .rev()
            .map(|sidecar| running(&|name| name == *sidecar)),
    );
    stages.retain(|stage| !stage.is_empty());
    stages
}

/// The whole seconds left of a grace period, never less than a container is due.
pub fn remaining_seconds(grace: i64, spent: i64) -> i64 {
    if grace == 0 {
        0
    } else {
        (grace - spent).max(LEAST_GRACE_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Container;
    use serde_json::json;

    #[test]
    fn a_deletion_overrides_the_specification() {
        let mut pod: Pod = serde_json::from_value(json!({
            "spec": {"containers": [], "terminationGracePeriodSeconds": 60}}))
        .unwrap();
        assert_eq!(grace_seconds(&pod), 60);
        pod.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        pod.metadata.deletion_grace_period_seconds = Some(5);
        assert_eq!(grace_seconds(&pod), 5);
    }

    #[test]
    fn sidecars_end_last_and_backwards() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [{"name": "s1", "restartPolicy": "Always"}, {"name": "i"},
                {"name": "s2", "restartPolicy": "Always"}],
            "containers": [{"name": "a"}, {"name": "b"}]}}))
        .unwrap();
        let container = |name: &str| Container {
            id: name.into(),
            name: name.into(),
            sandbox_id: "s".into(),
            restart_count: 0,
            state: State::Running,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            started_at: None,
            finished_at: None,
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
            image: String::new(),
            image_id: String::new(),
            hash: String::new(),
        };
        let observed = Observed::new(vec![], ["s1", "s2", "a", "b"].map(container).to_vec());
        assert_eq!(
            stages(&pod, &observed),
            [vec!["a", "b"], vec!["s2"], vec!["s1"]]
        );
    }

    #[test]
    fn something_is_always_left_unless_force_was_asked_for() {
        assert_eq!(remaining_seconds(30, 10), 20);
        assert_eq!(remaining_seconds(5, 10), 2);
        assert_eq!(remaining_seconds(0, 0), 0);
    }
}
