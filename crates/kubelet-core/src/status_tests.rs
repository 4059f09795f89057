//! Tables for statuses: what is there, and what the API shows.

use super::*;
use crate::model::Sandbox;
use serde_json::json;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn container(name: &str, state: State, exit_code: i32) -> Container {
    Container {
        id: format!("{name}-id"),
        name: name.into(),
        sandbox_id: "s".into(),
        restart_count: 0,
        state,
        created_at: at(1),
        started_at: Some(at(1)),
        finished_at: (state == State::Exited).then(|| at(2)),
        exit_code,
        reason: if exit_code == 0 {
            "Completed".into()
        } else {
            "Error".into()
        },
        message: String::new(),
        image: "docker.io/library/i:latest".into(),
        image_id: "sha256:1".into(),
        hash: String::new(),
    }
}

struct Case {
    pod: Pod,
    observed: Observed,
    probes: ProbeResults,
    waiting: BTreeMap<String, Waiting>,
    terminal: bool,
}

impl Case {
    fn new(spec: serde_json::Value, containers: Vec<Container>) -> Self {
        let sandbox = Sandbox {
            id: "s".into(),
            attempt: 0,
            ready: true,
            created_at: at(0),
            ips: vec!["10.0.0.2".into()],
        };
        Self {
            pod: serde_json::from_value(json!({
                "metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 1}, "spec": spec}))
            .unwrap(),
            observed: Observed::new(vec![sandbox], containers),
            probes: ProbeResults::default(),
            waiting: BTreeMap::new(),
            terminal: false,
        }
    }

    fn status(&self) -> PodStatus {
        generate(&Input {
            pod: &self.pod,
            observed: &self.observed,
            probes: &self.probes,
            waiting: &self.waiting,
            failure: None,
            terminal: self.terminal,
            runtime: "containerd",
            host_ips: &["192.168.0.1".into()],
            now: at(10),
        })
    }

    fn phase(&self) -> String {
        self.status().phase.unwrap()
    }
}

fn condition(status: &PodStatus, kind: &str) -> (String, Option<String>, Option<String>) {
    let list = status.conditions.as_ref().unwrap();
    let found = list
        .iter()
        .find(|condition| condition.type_ == kind)
        .unwrap();
    (
        found.status.clone(),
        found.reason.clone(),
        found.message.clone(),
    )
}

#[test]
fn phases() {
    let two = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let never = json!({"restartPolicy": "Never", "containers": [{"name": "a"}]});
    let on_failure = json!({"restartPolicy": "OnFailure", "containers": [{"name": "a"}]});
    let always = json!({"containers": [{"name": "a"}]});
    let init = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let init_never = json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let running = |name| container(name, State::Running, 0);
    let exited = |name, code| container(name, State::Exited, code);
    let table = [
        (&two, vec![], "Pending"),
        (&two, vec![running("a")], "Pending"),
        (&two, vec![running("a"), running("b")], "Running"),
        (&two, vec![running("a"), exited("b", 1)], "Running"),
        (&always, vec![exited("a", 0)], "Running"),
        (&never, vec![exited("a", 0)], "Succeeded"),
        (&never, vec![exited("a", 1)], "Failed"),
        (&on_failure, vec![exited("a", 0)], "Succeeded"),
        (&on_failure, vec![exited("a", 1)], "Running"),
        (&init, vec![running("i")], "Pending"),
        (&init, vec![exited("i", 1)], "Pending"),
        (&init, vec![exited("i", 0)], "Pending"),
        (&init, vec![exited("i", 0), running("a")], "Running"),
        (&init_never, vec![exited("i", 1)], "Failed"),
    ];
    for (spec, containers, expected) in table {
        assert_eq!(
            Case::new(spec.clone(), containers.clone()).phase(),
            expected,
            "{spec} {containers:?}"
        );
    }
}

#[test]
fn a_terminated_pod_has_succeeded_or_failed() {
    let spec = json!({"containers": [{"name": "a"}]});
    for (code, expected) in [(0, "Succeeded"), (137, "Failed")] {
        let mut case = Case::new(spec.clone(), vec![container("a", State::Exited, code)]);
        case.terminal = true;
        assert_eq!(case.phase(), expected);
    }
}

#[test]
fn an_ended_phase_stays() {
    let mut case = Case::new(
        json!({"containers": [{"name": "a"}]}),
        vec![container("a", State::Running, 0)],
    );
    case.pod.status = Some(PodStatus {
        phase: Some("Failed".into()),
        ..Default::default()
    });
    assert_eq!(case.phase(), "Failed");
}

#[test]
fn a_running_pod_is_ready() {
    let case = Case::new(
        json!({"containers": [{"name": "a"}]}),
        vec![container("a", State::Running, 0)],
    );
    let status = case.status();
    for kind in conditions::OWNED {
        assert_eq!(
            condition(&status, kind),
            ("True".into(), None, None),
            "{kind}"
        );
    }
    let container = &status.container_statuses.as_ref().unwrap()[0];
    assert!(container.ready);
    assert_eq!(container.started, Some(true));
    assert_eq!(container.container_id.as_deref(), Some("containerd://a-id"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.2"));
    assert_eq!(status.host_ip.as_deref(), Some("192.168.0.1"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
}

#[test]
fn unready_containers_are_named() {
    let mut case = Case::new(
        json!({"containers": [{"name": "a", "readinessProbe": {}}, {"name": "b"}]}),
        vec![container("a", State::Running, 0)],
    );
    case.probes.set("a-id", probe::Kind::Readiness, false);
    let expected = (
        "False".to_owned(),
        Some("ContainersNotReady".to_owned()),
        Some("containers with unready status: [a b]".to_owned()),
    );
    assert_eq!(condition(&case.status(), "Ready"), expected);
    assert_eq!(condition(&case.status(), "ContainersReady"), expected);
}

#[test]
fn waiting_reasons() {
    let plain = Case::new(json!({"containers": [{"name": "a"}]}), vec![]);
    let init = Case::new(
        json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}),
        vec![],
    );
    for (case, expected) in [(plain, "ContainerCreating"), (init, "PodInitializing")] {
        let status = case.status();
        let state = status.container_statuses.unwrap().remove(0).state.unwrap();
        assert_eq!(state.waiting.unwrap().reason.as_deref(), Some(expected));
    }
}

#[test]
fn a_crash_loop_shows_the_last_end() {
    let mut case = Case::new(
        json!({"containers": [{"name": "a"}]}),
        vec![container("a", State::Exited, 3)],
    );
    let why = Waiting {
        reason: "CrashLoopBackOff".into(),
        message: "back-off 10s".into(),
    };
    case.waiting.insert("a".into(), why);
    assert_eq!(case.phase(), "Running");
    let status = case.status().container_statuses.unwrap().remove(0);
    assert_eq!(
        status.state.unwrap().waiting.unwrap().reason.as_deref(),
        Some("CrashLoopBackOff")
    );
    assert_eq!(status.last_state.unwrap().terminated.unwrap().exit_code, 3);
}

#[test]
fn an_unready_probe_is_remembered_over_a_kubelet_restart() {
    let mut case = Case::new(
        json!({"containers": [{"name": "a", "readinessProbe": {}}]}),
        vec![container("a", State::Running, 0)],
    );
    assert!(!case.status().container_statuses.unwrap()[0].ready);
    case.probes.set("a-id", probe::Kind::Readiness, true);
    case.pod.status = Some(case.status());
    case.probes = ProbeResults::default();
    assert!(case.status().container_statuses.unwrap()[0].ready);
}

#[test]
fn conditions_of_others_are_kept_and_gates_asked() {
    let mut case = Case::new(
        json!({"readinessGates": [{"conditionType": "x/y"}], "containers": [{"name": "a"}]}),
        vec![container("a", State::Running, 0)],
    );
    assert_eq!(
        condition(&case.status(), "Ready").1.as_deref(),
        Some("ReadinessGatesNotReady")
    );
    case.pod.status =
        serde_json::from_value(json!({"conditions": [{"type": "x/y", "status": "True"}]})).unwrap();
    assert_eq!(condition(&case.status(), "Ready").0, "True");
    assert_eq!(condition(&case.status(), "x/y").0, "True");
}

#[test]
fn a_repeated_status_does_not_change() {
    let mut case = Case::new(
        json!({"containers": [{"name": "a"}]}),
        vec![container("a", State::Running, 0)],
    );
    let first = case.status();
    case.pod.status = Some(first.clone());
    assert_eq!(case.status(), first);
}

#[test]
fn a_rejected_pod_tells_nothing_but_why() {
    let mut case = Case::new(json!({"containers": [{"name": "a"}]}), vec![]);
    case.observed = Observed::default();
    let failure = Failure {
        reason: "OutOfcpu".into(),
        message: "Pod was rejected: why".into(),
    };
    let told = |pod: &Pod, failure: Option<&Failure>| {
        generate(&Input {
            pod,
            observed: &case.observed,
            probes: &case.probes,
            waiting: &case.waiting,
            failure,
            terminal: true,
            runtime: "containerd",
            host_ips: &[],
            now: at(10),
        })
    };
    let status = told(&case.pod, Some(&failure));
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(status.reason.as_deref(), Some("OutOfcpu"));
    assert_eq!(status.message.as_deref(), Some("Pod was rejected: why"));
    assert_eq!(status.container_statuses, None);
    assert!(status.start_time.is_some());
    // The next kubelet knows only what the API has.
    let mut later = case.pod.clone();
    later.status = Some(status.clone());
    assert_eq!(told(&later, None), status);
}
