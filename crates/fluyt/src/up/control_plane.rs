//! API server, scheduler and controllers in this process. Each uses its own identity over the in-process transport and would not
//! notice if it were alone.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use fluyt_apiserver::Running;
use fluyt_client::kube::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::identity::Identity;
use super::network::Network;
use super::{Layout, Options};

pub struct ControlPlane {
    /// The address for clients on this machine.
    pub server: String,
    pub port: u16,
    /// A client with all rights, in process.
    pub admin: Client,
    api: Option<Running>,
    stop_api: CancellationToken,
    stop_others: CancellationToken,
    others: tokio::sync::Mutex<Vec<Component>>,
}

/// A component beside the API server: its name and the task that it is.
type Component = (&'static str, JoinHandle<anyhow::Result<()>>);

/// Components take their options from words, as on their own command lines: one definition, one set of defaults.
pub fn parse<T: clap::Args>(words: Vec<String>) -> anyhow::Result<T> {
    #[derive(Parser)]
    struct Words<T: clap::Args> {
        #[command(flatten)]
        options: T,
    }
    let words = std::iter::once("fluyt".to_owned()).chain(words);
    Ok(Words::<T>::try_parse_from(words)?.options)
}

pub async fn start(
    options: &Options,
    layout: &Layout,
    _identity: &Identity,
    network: Option<&Network>,
) -> anyhow::Result<ControlPlane> {
    let (stop_api, stop_others) = (CancellationToken::new(), CancellationToken::new());
    let mut words: fluyt_apiserver::Options = parse(apiserver_words(options, layout, network))?;
    words.any_secure_port = options.secure_port == 0;
    words.companions = match options.scheduler_only {
        true => vec!["scheduler"],
        false => vec!["scheduler", "controller-manager"],
    };
    let api = fluyt_apiserver::start(words, stop_api.clone())
        .await
        .context("the API server does not start")?;
    api.ready().await;
    let address = api
        .secure_addr()
        .context("the API server has no secure port")?;
    let client = |user: &str, groups: &[&str]| Client::new(api.transport(user, groups), "default");
    let mut others: Vec<Component> = vec![(
        "kube-scheduler",
        tokio::spawn(fluyt_scheduler::run(
            scheduler_options(options, layout)?,
            client("system:kube-scheduler", &[]),
            stop_others.clone(),
        )),
    )];
    if !options.scheduler_only {
        others.push((
            "kube-controller-manager",
            tokio::spawn(fluyt_controllers::run_with(
                parse(controller_words(options, layout))?,
                client("system:kube-controller-manager", &[]),
                Arc::new(controller_identities(&api)),
                fluyt_controllers::Clock::System,
                stop_others.clone(),
            )),
        ));
    }
    let plane = ControlPlane {
        server: format!("https://{}", reachable(address)),
        port: address.port(),
        admin: client("kubernetes-admin", &["system:masters"]),
        others: tokio::sync::Mutex::new(others),
        api: Some(api),
        stop_api,
        stop_others,
    };
    Ok(plane)
}

/// Each controller acts as its own service account, so that RBAC bounds each by itself (--use-service-account-credentials).
struct Identities(HashMap<&'static str, Client>);

impl fluyt_controllers::ClientFactory for Identities {
    fn client(&self, controller: &str) -> Client {
        self.0
            .get(controller)
            .expect("every controller of the registry has an identity")
            .clone()
    }
}

fn controller_identities(api: &Running) -> Identities {
    let identity = |account: &str| match account {
        "" => Client::new(
            api.transport("system:kube-controller-manager", &[]),
            "default",
        ),
        account => {
            let user = format!("system:serviceaccount:kube-system:{account}");
            let groups = [
                "system:serviceaccounts",
                "system:serviceaccounts:kube-system",
            ];
            Client::new(api.transport(&user, &groups), "default")
        }
    };
    let all = fluyt_controllers::CONTROLLERS.iter();
    Identities(
        all.map(|one| (one.name, identity(one.service_account)))
            .collect(),
    )
}

/// An unspecified address is not one that clients can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port()),
        false => address,
    }
}

fn apiserver_words(options: &Options, layout: &Layout, network: Option<&Network>) -> Vec<String> {
    let pki = layout.pki();
    let file = |name: &str| pki.join(name).display().to_string();
    let mut words = vec![
        format!("--bind-address={}", options.bind_address),
        format!("--secure-port={}", options.secure_port),
        format!(
            "--service-cluster-ip-range={}",
            options.service_cluster_ip_range
        ),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!(
            "--kubelet-client-certificate={}",
            file("apiserver-kubelet-client.crt")
        ),
        format!(
            "--kubelet-client-key={}",
            file("apiserver-kubelet-client.key")
        ),
        format!("--kubelet-certificate-authority={}", file("ca.crt")),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--authorization-mode=Node,RBAC".to_owned(),
    ];
    match options.etcd_servers.is_empty() {
        true => words.push(format!(
            "--data-dir={}",
            Layout::store_of(layout.root()).display()
        )),
        false => words.push(format!("--etcd-servers={}", options.etcd_servers.join(","))),
    }
    if let Some(network) = network {
        words.push(format!("--additional-bind-address={}", network.gateway()));
    }
    words
}

/// Its port is a free one: `kubectl why` finds it in the scheduler's lease.
fn scheduler_options(
    options: &Options,
    layout: &Layout,
) -> anyhow::Result<fluyt_scheduler::Options> {
    let authority = layout.pki().join("ca.crt");
    let mut words = vec![
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        format!("--bind-address={}", options.bind_address),
        format!("--client-ca-file={}", authority.display()),
    ];
    if options.scheduler_only {
        words.push("--pause-on-signal".to_owned());
    }
    let mut scheduler: fluyt_scheduler::Options = parse(words)?;
    scheduler.any_secure_port = true;
    Ok(scheduler)
}

fn controller_words(options: &Options, layout: &Layout) -> Vec<String> {
    let pki = layout.pki();
    vec![
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        "--allocate-node-cidrs=true".to_owned(),
        format!("--cluster-cidr={}", options.cluster_cidr()),
        format!("--root-ca-file={}", pki.join("ca.crt").display()),
        format!(
            "--service-account-private-key-file={}",
            pki.join("sa.key").display()
        ),
        format!(
            "--node-monitor-grace-period={}",
            options.node_monitor_grace_period
        ),
    ]
}

impl ControlPlane {
    /// Resolves when a part ends by itself, which none should.
    pub async fn failed(&self) -> anyhow::Result<()> {
        let mut others = self.others.lock().await;
        let ends = others.iter_mut().map(|(name, task)| {
            Box::pin(async move {
                let outcome = task
                    .await
                    .context("it panicked")
                    .and_then(|outcome| outcome);
                outcome
                    .and_then(|()| anyhow::bail!("it ended"))
                    .with_context(|| format!("{name} failed"))
            })
        });
        let ends: Vec<_> = ends.collect();
        futures::future::select_all(ends).await.0
    }

    /// Those that use the API first, the API last.
    pub async fn stop(mut self) {
        self.stop_others.cancel();
        let limit = std::time::Duration::from_millis(1500);
        for (name, task) in self.others.into_inner() {
            if tokio::time::timeout(limit, task).await.is_err() {
                tracing::warn!("{name} did not stop in time");
            }
        }
        self.stop_api.cancel();
        if let Some(api) = self.api.take() {
            match tokio::time::timeout(limit, api.wait()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("the API server stopped with {error:#}"),
                Err(_) => tracing::warn!("the API server did not stop in time"),
            }
        }
    }
}
