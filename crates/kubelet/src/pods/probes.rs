//! Runs the probes of a pod's running containers: one task for each, which sleeps until
//! its probe is due. Verdicts wake the pod's worker; what they mean the core decides.

use crate::context::Context;
use crate::http_get;
use fluyt_kubelet_core::model::{self, ProbeResults};
use fluyt_kubelet_core::probe::{Kind, Machine, Settings};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// The probes that run for one pod.
pub(crate) struct Probers {
    context: Arc<Context>,
    pub results: Arc<Mutex<ProbeResults>>,
    wake: Arc<Notify>,
    tasks: HashMap<(String, Kind), tokio::task::AbortHandle>,
}

/// A running container that may have probes.
pub(crate) struct Target<'a> {
    pub id: &'a str,
    pub spec: &'a Container,
    pub started_at: Timestamp,
    pub address: &'a str,
}

impl Probers {
    pub fn new(context: Arc<Context>, wake: Arc<Notify>) -> Self {
        Self {
            context,
            results: Arc::default(),
            wake,
            tasks: HashMap::new(),
        }
    }

    /// Starts the probes of containers that run and ends those of containers that do not.
    pub fn update(&mut self, pod: &Arc<Pod>, targets: &[Target<'_>]) {
        let running = |id: &str| targets.iter().any(|target| target.id == id);
        self.tasks.retain(|(id, _), task| {
            let keep = running(id);
            if !keep {
                task.abort();
            }
            keep
        });
        self.results.lock().retain(running);
        for target in targets {
            let probes = [
                (Kind::Startup, &target.spec.startup_probe),
                (Kind::Liveness, &target.spec.liveness_probe),
                (Kind::Readiness, &target.spec.readiness_probe),
            ];
            for (kind, probe) in probes {
                let Some(probe) = probe else { continue };
                let key = (target.id.to_owned(), kind);
                if !self.tasks.contains_key(&key) {
                    let task = self.start(pod, target, kind, probe);
                    self.tasks.insert(key, task);
                }
            }
        }
    }

    /// Ends all probes.
    pub fn stop(&mut self) {
        self.tasks.drain().for_each(|(_, task)| task.abort());
    }

    fn start(
        &self,
        pod: &Arc<Pod>,
        target: &Target<'_>,
        kind: Kind,
        probe: &Probe,
    ) -> tokio::task::AbortHandle {
        let one = One {
            context: self.context.clone(),
            pod: pod.clone(),
            container: target.spec.clone(),
            id: target.id.to_owned(),
            address: target.address.to_owned(),
            probe: probe.clone(),
            results: self.results.clone(),
            wake: self.wake.clone(),
        };
        let machine = Machine::new(kind, Settings::new(probe), None);
        let due = machine.first_due(target.started_at);
        tokio::spawn(one.run(machine, due)).abort_handle()
    }
}

impl Drop for Probers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One probe of one container.
struct One {
    context: Arc<Context>,
    pod: Arc<Pod>,
    container: Container,
    id: String,
    address: String,
    probe: Probe,
    results: Arc<Mutex<ProbeResults>>,
    wake: Arc<Notify>,
}

impl One {
    async fn run(self, mut machine: Machine, first_due: Timestamp) {
        let period = Duration::try_from(machine.settings.period).unwrap_or(Duration::from_secs(10));
        let wait = first_due.duration_since(Timestamp::now());
        tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()).await;
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !machine.finished() {
            ticks.tick().await;
            if self.waits_for_startup(machine.kind) {
                continue;
            }
            let outcome = self.probe_once(machine.settings).await;
            if let Err(message) = &outcome {
                let message = format!("{} probe failed: {message}", machine.kind.as_str());
                self.context.event(
                    &self.pod,
                    Some(&self.container.name),
                    true,
                    "Unhealthy",
                    message,
                );
            }
            let Some(verdict) = machine.observe(outcome.is_ok()) else {
                continue;
            };
            if self.results.lock().set(&self.id, machine.kind, verdict) {
                self.wake.notify_one();
            }
        }
    }

    /// The other probes wait until the startup probe has succeeded.
    fn waits_for_startup(&self, kind: Kind) -> bool {
        kind != Kind::Startup
            && self.container.startup_probe.is_some()
            && self.results.lock().get(&self.id, Kind::Startup) != Some(true)
    }

    async fn probe_once(&self, settings: Settings) -> Result<(), String> {
        let limit = Duration::try_from(settings.timeout).unwrap_or(Duration::from_secs(1));
        let late = if self.probe.exec.is_some() {
            let command = self
                .probe
                .exec
                .as_ref()
                .and_then(|action| action.command.clone())
                .unwrap_or_default();
            format!(
                "command timed out: {:?} timed out after {}s",
                command.join(" "),
                limit.as_secs()
            )
        } else {
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned()
        };
        match tokio::time::timeout(limit, self.check(settings)).await {
            Ok(result) => result,
            Err(_) => Err(late),
        }
    }

    async fn check(&self, settings: Settings) -> Result<(), String> {
        let probe = &self.probe;
        if let Some(action) = &probe.exec {
            let command = action.command.clone().unwrap_or_default();
            let seconds = settings.timeout.as_secs();
            let answer = self
                .context
                .cri
                .exec_sync(&self.id, command, seconds)
                .await
                .map_err(|e| e.message())?;
            if answer.exit_code == 0 {
                return Ok(());
            }
            let mut output = answer.stdout;
            output.extend(answer.stderr);
            output.truncate(10 * 1024);
            return Err(String::from_utf8_lossy(&output).into_owned());
        }
        if let Some(action) = &probe.http_get {
            let answer =
                http_get::get(action, &self.container, &self.address, "kube-probe/1.36").await?;
            return match answer.code {
                200..400 => Ok(()),
                code => Err(format!("HTTP probe failed with statuscode: {code}")),
            };
        }
        if let Some(action) = &probe.tcp_socket {
            let port = http_get::port(&action.port, &self.container)?;
            let host = action
                .host
                .as_deref()
                .filter(|host| !host.is_empty())
                .unwrap_or(&self.address);
            let authority = http_get::authority(host, port);
            let connected = TcpStream::connect(&authority).await;
            return connected.map(drop).map_err(|error| {
                format!("dial tcp {authority}: connect: {}", http_get::plain(&error))
            });
        }
        if let Some(action) = &probe.grpc {
            let port = u16::try_from(action.port)
                .map_err(|_| format!("invalid port number: {}", action.port))?;
            let service = action.service.clone().unwrap_or_default();
            return fluyt_cri::health::check(&http_get::authority(&self.address, port), &service)
                .await;
        }
        Err(format!(
            "missing probe handler for {}:{}",
            model::describe(&self.pod),
            self.container.name
        ))
    }
}
