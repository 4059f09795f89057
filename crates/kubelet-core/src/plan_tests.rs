//! Tables for the plan: what is there, and what must happen next.

use super::*;
use crate::model::Sandbox;
use serde_json::json;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec
    }))
    .unwrap()
}

fn sandbox(ready: bool) -> Sandbox {
    Sandbox {
        id: "s0".into(),
        attempt: 0,
        ready,
        created_at: at(0),
        ips: vec!["10.0.0.2".into()],
    }
}

fn container(name: &str, state: State, exit_code: i32) -> Container {
    Container {
        id: format!("{name}-id"),
        name: name.into(),
        sandbox_id: "s0".into(),
        restart_count: 0,
        state,
        created_at: at(1),
        started_at: Some(at(1)),
        finished_at: (state == State::Exited).then(|| at(2)),
        exit_code,
        reason: String::new(),
        message: String::new(),
        image: "i".into(),
        image_id: "i".into(),
        hash: String::new(),
    }
}

struct Case {
    pod: Pod,
    observed: Observed,
    probes: ProbeResults,
    backoff: Backoff,
}

impl Case {
    fn new(spec: serde_json::Value, containers: Vec<Container>) -> Self {
        Self {
            pod: pod(spec),
            observed: Observed::new(vec![sandbox(true)], containers),
            probes: ProbeResults::default(),
            backoff: Backoff::default(),
        }
    }

    fn plan(&self) -> Plan {
        compute(&Input {
            pod: &self.pod,
            observed: &self.observed,
            probes: &self.probes,
            backoff: &self.backoff,
            now: at(3),
        })
    }

    fn starts(&self) -> Vec<String> {
        self.plan()
            .start
            .into_iter()
            .map(|start| start.spec.name)
            .collect()
    }
}

#[test]
fn a_new_pod_gets_a_sandbox_first() {
    let mut case = Case::new(json!({"containers": [{"name": "a"}]}), vec![]);
    case.observed = Observed::default();
    assert_eq!(
        case.plan(),
        Plan {
            create_sandbox: Some(0),
            ..Default::default()
        }
    );
}

#[test]
fn all_regular_containers_start_together() {
    let case = Case::new(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        vec![],
    );
    assert_eq!(case.starts(), ["a", "b"]);
}

#[test]
fn a_dead_sandbox_is_replaced() {
    let mut case = Case::new(json!({"containers": [{"name": "a"}]}), vec![]);
    case.observed.sandboxes[0].ready = false;
    assert_eq!(case.plan().create_sandbox, Some(1));
}

#[test]
fn a_sandbox_without_address_is_replaced_unless_it_needs_none() {
    let mut case = Case::new(json!({"containers": [{"name": "a"}]}), vec![]);
    case.observed.sandboxes[0].ips.clear();
    assert_eq!(case.plan().create_sandbox, Some(1));
    case.pod.spec.as_mut().unwrap().host_network = Some(true);
    assert_eq!(case.starts(), ["a"]);
}

#[test]
fn a_finished_pod_is_not_given_a_new_sandbox() {
    for (policy, code) in [("Never", 1), ("OnFailure", 0)] {
        let mut case = Case::new(
            json!({"restartPolicy": policy, "containers": [{"name": "a"}]}),
            vec![container("a", State::Exited, code)],
        );
        case.observed.sandboxes[0].ready = false;
        assert_eq!(
            case.plan(),
            Plan {
                stop_pod: true,
                ..Default::default()
            },
            "{policy}"
        );
    }
}

#[test]
fn restart_policies() {
    let table = [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 0, false),
        ("Never", 1, false),
    ];
    for (policy, code, restarted) in table {
        let case = Case::new(
            json!({"restartPolicy": policy, "containers": [{"name": "a"}]}),
            vec![container("a", State::Exited, code)],
        );
        let plan = case.plan();
        assert_eq!(plan.start.len() == 1, restarted, "{policy} {code}");
        assert_eq!(plan.stop_pod, !restarted, "{policy} {code}");
    }
}

#[test]
fn init_containers_run_in_order() {
    let spec =
        json!({"initContainers": [{"name": "i1"}, {"name": "i2"}], "containers": [{"name": "a"}]});
    let done = |name| container(name, State::Exited, 0);
    let table = [
        (vec![], vec!["i1"]),
        (vec![container("i1", State::Running, 0)], vec![]),
        (vec![done("i1")], vec!["i2"]),
        (vec![done("i1"), done("i2")], vec!["a"]),
        (vec![container("i1", State::Exited, 1)], vec!["i1"]),
        (vec![container("a", State::Running, 0)], vec![]),
    ];
    for (containers, expected) in table {
        assert_eq!(
            Case::new(spec.clone(), containers.clone()).starts(),
            expected,
            "{containers:?}"
        );
    }
}

#[test]
fn an_init_container_of_an_older_sandbox_runs_again() {
    let mut old = container("i1", State::Exited, 0);
    old.sandbox_id = "older".into();
    let case = Case::new(
        json!({"initContainers": [{"name": "i1"}], "containers": [{"name": "a"}]}),
        vec![old],
    );
    assert_eq!(case.starts(), ["i1"]);
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let case = Case::new(
        json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}),
        vec![container("i", State::Exited, 1)],
    );
    assert_eq!(
        case.plan(),
        Plan {
            stop_pod: true,
            ..Default::default()
        }
    );
}

#[test]
fn a_sidecar_must_have_started_before_the_rest() {
    let spec = json!({
        "initContainers": [{"name": "s", "restartPolicy": "Always", "startupProbe": {}}],
        "containers": [{"name": "a"}]});
    let mut case = Case::new(spec, vec![container("s", State::Running, 0)]);
    assert_eq!(case.starts(), Vec::<String>::new());
    case.probes.set("s-id", probe::Kind::Startup, true);
    assert_eq!(case.starts(), ["a"]);
}

#[test]
fn a_sidecar_is_restarted_beside_running_containers() {
    let spec = json!({
        "initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]});
    let case = Case::new(
        spec,
        vec![
            container("s", State::Exited, 0),
            container("a", State::Running, 0),
        ],
    );
    assert_eq!(case.starts(), ["s"]);
}

#[test]
fn a_sidecar_does_not_keep_a_finished_pod_alive() {
    let spec = json!({"restartPolicy": "Never",
        "initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]});
    let case = Case::new(
        spec,
        vec![
            container("s", State::Running, 0),
            container("a", State::Exited, 0),
        ],
    );
    assert!(case.plan().stop_pod);
}

#[test]
fn a_crash_loop_waits() {
    let mut case = Case::new(
        json!({"containers": [{"name": "a"}]}),
        vec![container("a", State::Exited, 1)],
    );
    case.backoff.next("a", at(2), at(2));
    let plan = case.plan();
    assert!(plan.start.is_empty() && !plan.stop_pod);
    assert_eq!(plan.next_due(), Some(at(12)));
    assert_eq!(
        plan.delayed[0].message,
        "back-off 10s restarting failed container=a pod=p_n(u)"
    );
}

#[test]
fn a_failed_liveness_probe_stops_the_container() {
    let mut case = Case::new(
        json!({"containers": [{"name": "a"}]}),
        vec![container("a", State::Running, 0)],
    );
    case.probes.set("a-id", probe::Kind::Liveness, false);
    let plan = case.plan();
    assert_eq!(
        plan.stop[0].message,
        "Container a failed liveness probe, will be restarted"
    );
    assert!(!plan.stop_pod);
}

#[test]
fn a_changed_image_replaces_the_container() {
    let mut old = container("a", State::Running, 0);
    old.hash = "0".into();
    let case = Case::new(
        json!({"containers": [{"name": "a", "image": "new"}]}),
        vec![old],
    );
    assert_eq!(
        case.plan().stop[0].message,
        "Container a definition changed, will be restarted"
    );
}

#[test]
fn restart_rules_come_before_the_policy() {
    let case = Case::new(
        json!({"restartPolicy": "Never", "containers": [{"name": "a", "restartPolicy": "Never",
            "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}]}),
        vec![container("a", State::Exited, 42)],
    );
    assert_eq!(case.starts(), ["a"]);
}

#[test]
fn ephemeral_containers_start_once() {
    let spec = json!({"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "e"}]});
    let case = Case::new(spec.clone(), vec![container("a", State::Running, 0)]);
    assert_eq!(case.starts(), ["e"]);
    let case = Case::new(
        spec,
        vec![
            container("a", State::Running, 0),
            container("e", State::Exited, 1),
        ],
    );
    assert_eq!(case.starts(), Vec::<String>::new());
}
