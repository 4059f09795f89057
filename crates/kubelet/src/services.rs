//! The services that containers are told about in their environment.

use fluyt_client::ObjectMeta;
use fluyt_client::informer::{self, Event, Slim, Source};
use fluyt_kubelet_core::services::{Port, Service, variables};
use futures::StreamExt;
use kube::Client;
use parking_lot::RwLock;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a container's start waits for the first list of services.
const WAIT: Duration = Duration::from_secs(5);

/// All services, as far as the environment needs them.
#[derive(Clone)]
pub(crate) struct Services {
    list: Arc<RwLock<HashMap<String, Service>>>,
    synced: watch::Receiver<bool>,
}

#[derive(Debug, Deserialize)]
struct SlimService {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    ports: Option<Vec<SlimPort>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SlimPort {
    name: Option<String>,
    port: u16,
    protocol: Option<String>,
}

impl Slim for SlimService {
    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl SlimService {
    fn convert(self) -> (String, Service) {
        let port = |port: SlimPort| Port {
            name: port.name.unwrap_or_default(),
            port: port.port,
            protocol: port.protocol.unwrap_or_default(),
        };
        let key = self.metadata.key();
        let service = Service {
            namespace: self.metadata.namespace,
            name: self.metadata.name,
            cluster_ip: self.spec.cluster_ip.unwrap_or_default(),
            ports: self
                .spec
                .ports
                .unwrap_or_default()
                .into_iter()
                .map(port)
                .collect(),
        };
        (key, service)
    }
}

impl Services {
    /// Starts following the services; the task ends with the process.
    pub fn start(client: Client) -> Self {
        let (sender, synced) = watch::channel(false);
        let list: Arc<RwLock<HashMap<String, Service>>> = Arc::default();
        let shared = list.clone();
        tokio::spawn(async move {
            let mut events = std::pin::pin!(informer::watch::<SlimService>(
                client,
                Source::new("", "v1", "services")
            ));
            while let Some(event) = events.next().await {
                match event {
                    Event::Restarted(all) => {
                        *shared.write() = all.into_iter().map(SlimService::convert).collect();
                        sender.send_replace(true);
                    }
                    Event::Applied(service) => {
                        let (key, service) = service.convert();
                        shared.write().insert(key, service);
                    }
                    Event::Deleted(service) => {
                        shared.write().remove(&service.convert().0);
                    }
                }
            }
        });
        Self { list, synced }
    }

    /// The variables for a pod of that namespace, once the services are known.
    pub async fn variables(
        &self,
        namespace: &str,
        links: bool,
        wait: bool,
    ) -> Result<Vec<(String, String)>, String> {
        if wait {
            let mut synced = self.synced.clone();
            let known = tokio::time::timeout(WAIT, synced.wait_for(|synced| *synced)).await;
            if !matches!(known, Ok(Ok(_))) {
                return Err(
                    "services have not yet been read at least once, cannot construct envvars"
                        .to_owned(),
                );
            }
        }
        Ok(variables(self.list.read().values(), namespace, links))
    }
}
