//! Leader election on a coordination.k8s.io Lease, compatible with client-go's: several replicas of a component, one active.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{availability, rest};

/// Upstream's flags --leader-elect-*.
#[derive(Clone, Debug)]
pub struct LeaderOptions {
    pub namespace: String,
    pub name: String,
    pub identity: String,
    /// How long others wait after the last renewal. 15 s.
    pub lease_duration: Duration,
    /// How long the leader tries to renew before it gives up. 10 s.
    pub renew_deadline: Duration,
    /// Between tries. 2 s.
    pub retry_period: Duration,
    /// Written to the lease with every renewal; others stay.
    pub annotations: std::collections::BTreeMap<String, String>,
}

impl LeaderOptions {
    pub fn new(name: &str) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            namespace: "kube-system".to_owned(),
            name: name.to_owned(),
            identity: format!("{}_{:016x}", host.trim(), rand::random::<u64>()),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
            annotations: std::collections::BTreeMap::new(),
        }
    }

    fn path(&self) -> String {
        rest::path(
            "coordination.k8s.io",
            "v1",
            &self.namespace,
            "leases",
            &self.name,
        )
    }
}

/// A held lease; renewed in the background until dropped or lost.
pub struct Leadership {
    /// Cancelled when the lease is lost: the component must stop at once (upstream exits with 1).
    pub lost: CancellationToken,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Leadership {
    /// Gives the lease back so that another replica need not wait for it to expire.
    pub async fn release(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// Waits until the lease is ours; `None` when `shutdown` came first.
pub async fn acquire(
    client: Client,
    options: LeaderOptions,
    shutdown: &CancellationToken,
) -> Option<Leadership> {
    let mut election = Election {
        client,
        options,
        observed: None,
    };
    loop {
        let attempt = shutdown.run_until_cancelled(election.try_acquire()).await?;
        match attempt {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) if availability::is_transport(&error) => availability::away(&error),
            Err(error) => tracing::debug!("lease {}: {error}", election.options.name),
        }
        let retry = tokio::time::sleep(election.options.retry_period);
        shutdown.run_until_cancelled(retry).await?;
    }
    tracing::info!(
        "{} holds the lease {}/{}",
        election.options.identity,
        election.options.namespace,
        election.options.name
    );
    let (lost, stop) = (CancellationToken::new(), CancellationToken::new());
    let task = tokio::spawn(election.keep(lost.clone(), stop.clone()));
    Some(Leadership { lost, stop, task })
}

struct Election {
    client: Client,
    options: LeaderOptions,
    /// The lease as last seen, and when: expiry is judged by our own clock, not by the holder's.
    observed: Option<(Lease, Instant)>,
}

impl Election {
    /// One round: true when the lease is ours afterwards.
    async fn try_acquire(&mut self) -> Result<bool, kube::Error> {
        let path = self.options.path();
        let asked = availability::asking();
        let current: Option<Lease> = rest::get_opt(&self.client, &path).await?;
        availability::reachable(asked);
        let Some(current) = current else {
            let collection = rest::path(
                "coordination.k8s.io",
                "v1",
                &self.options.namespace,
                "leases",
                "",
            );
            let lease = self.ours(None);
            return match rest::create::<Lease>(&self.client, &collection, &lease).await {
                Ok(created) => {
                    self.observe(created);
                    Ok(true)
                }
                Err(error) if rest::is_conflict(&error) => Ok(false),
                Err(error) => Err(error),
            };
        };
        if !self.may_take(&current) {
            return Ok(false);
        }
        let lease = self.ours(Some(&current));
        match rest::replace::<Lease>(&self.client, &path, &lease).await {
            Ok(updated) => {
                self.observe(updated);
                Ok(true)
            }
            Err(error) if rest::is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn observe(&mut self, lease: Lease) {
        self.observed = Some((lease, Instant::now()));
    }

    /// Ours, released, or not renewed for its duration since we first saw it in this state.
    fn may_take(&mut self, current: &Lease) -> bool {
        let changed = self
            .observed
            .as_ref()
            .is_none_or(|(seen, _)| seen.spec != current.spec);
        if changed {
            self.observe(current.clone());
        }
        let holder = holder(current);
        if holder.is_empty() || holder == self.options.identity {
            return true;
        }
        let duration = current
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.options.lease_duration, Duration::from_secs);
        self.observed
            .as_ref()
            .is_some_and(|(_, since)| since.elapsed() >= duration)
    }

    fn ours(&self, current: Option<&Lease>) -> Lease {
        let now = MicroTime(jiff::Timestamp::now());
        let before = current.and_then(|lease| lease.spec.clone());
        let mine = current.is_some_and(|lease| holder(lease) == self.options.identity);
        let transitions = before.as_ref().and_then(|spec| spec.lease_transitions);
        let acquired = before.and_then(|spec| spec.acquire_time);
        let mut metadata = match current {
            Some(lease) => lease.metadata.clone(),
            None => ObjectMeta {
                name: Some(self.options.name.clone()),
                namespace: Some(self.options.namespace.clone()),
                ..Default::default()
            },
        };
        if !self.options.annotations.is_empty() {
            let annotations = metadata.annotations.get_or_insert_default();
            annotations.extend(self.options.annotations.clone());
        }
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.options.identity.clone()),
                lease_duration_seconds: i32::try_from(self.options.lease_duration.as_secs()).ok(),
                acquire_time: match mine {
                    true => acquired,
                    false => Some(now.clone()),
                },
                renew_time: Some(now),
                lease_transitions: match (current, mine) {
                    (None, _) => Some(0),
                    (_, true) => transitions,
                    (_, false) => Some(transitions.unwrap_or(0) + 1),
                },
                ..Default::default()
            }),
        }
    }

    async fn keep(mut self, lost: CancellationToken, stop: CancellationToken) {
        let mut renewed = Instant::now();
        loop {
            let pause = tokio::time::sleep(self.options.retry_period);
            if stop.run_until_cancelled(pause).await.is_none() {
                return self.give_back().await;
            }
            let remaining = self
                .options
                .renew_deadline
                .saturating_sub(renewed.elapsed());
            match tokio::time::timeout(remaining, self.try_acquire()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) if self.taken_by_another() => break,
                Ok(Ok(false) | Err(_)) if renewed.elapsed() < self.options.renew_deadline => {}
                Ok(Ok(false) | Err(_)) | Err(_) => break,
            }
        }
        tracing::error!("the lease {} is lost", self.options.name);
        lost.cancel();
    }

    fn taken_by_another(&self) -> bool {
        self.observed.as_ref().is_some_and(|(lease, _)| {
            let holder = holder(lease);
            !holder.is_empty() && holder != self.options.identity
        })
    }

    /// Best effort: an expired lease does the same a little later.
    async fn give_back(self) {
        let Some((mut lease, _)) = self.observed else {
            return;
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        let path = self.options.path();
        let release = rest::replace::<Lease>(&self.client, &path, &lease);
        let _ = tokio::time::timeout(Duration::from_secs(1), release).await;
    }
}

fn holder(lease: &Lease) -> &str {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or("")
}
