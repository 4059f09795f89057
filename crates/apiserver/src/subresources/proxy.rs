//! `nodes/NAME/proxy`, `pods/NAME/proxy` and `services/NAME/proxy`: whatever HTTP server is behind them.

use std::sync::Arc;

use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use serde_json::Value;

use crate::core::Core;
use crate::dispatch::{Answer, Request};
use crate::kubelet::{Backend, Forward, Node};
use crate::stored;

pub(crate) async fn handle(request: Request, resource: &'static Resource) -> Answer {
    let name = Name::parse(&request.info.name);
    let core = request.core.clone();
    let namespace = request.info.namespace.clone();
    let backend = match resource.plural {
        "nodes" => {
            let mut backend = Node::backend(&core, name.name).await?;
            if let Some(port) = name.port.and_then(|port| port.parse::<u16>().ok()) {
                // Another port of the node is not the kubelet's: our certificate is not for it.
                if port != backend.port {
                    backend.port = port;
                    backend.tls = name.tls.then(|| core.kubelet.plain_tls.clone());
                }
            }
            backend
        }
        "pods" => pod(&core, resource, &namespace, &name).await?,
        _ => service(&core, resource, &namespace, &name).await?,
    };
    let mut target = format!("/{}", request.info.rest);
    if request.info.path.ends_with('/') && !target.ends_with('/') {
        target.push('/');
    }
    if let Some(query) = &request.raw_query {
        target = format!("{target}?{query}");
    }
    let forward = Forward {
        target,
        errors_as_status: false,
    };
    backend.forward(request, forward).await
}

/// `[https:]name[:port]`.
struct Name<'a> {
    tls: bool,
    name: &'a str,
    port: Option<&'a str>,
}

impl<'a> Name<'a> {
    fn parse(text: &'a str) -> Self {
        let parts: Vec<&str> = text.split(':').collect();
        let (tls, name, port) = match parts.as_slice() {
            [name, port] => (false, *name, Some(*port)),
            [scheme, name, port] => (*scheme == "https", *name, Some(*port)),
            _ => (false, text, None),
        };
        Name {
            tls,
            name,
            port: port.filter(|port| !port.is_empty()),
        }
    }
}

async fn pod(
    core: &Arc<Core>,
    resource: &Resource,
    namespace: &str,
    name: &Name<'_>,
) -> Result<Backend, Status> {
    let (pod, _) = stored::require(&*core.store, resource, namespace, name.name).await?;
    let host = pod["status"]["podIP"]
        .as_str()
        .filter(|ip| !ip.is_empty())
        .ok_or_else(|| Status::bad_request("address not allowed"))?;
    let port = match name.port {
        Some(port) => port
            .parse()
            .map_err(|_| Status::bad_request(format!("invalid port {port:?}")))?,
        None => first_port(&pod).unwrap_or(80),
    };
    Ok(Backend {
        host: host.to_owned(),
        port,
        tls: name.tls.then(|| core.kubelet.plain_tls.clone()),
    })
}

fn first_port(pod: &Value) -> Option<u16> {
    pod["spec"]["containers"]
        .as_array()?
        .iter()
        .flat_map(|container| container["ports"].as_array().into_iter().flatten())
        .find(|port| matches!(port["protocol"].as_str(), None | Some("TCP")))
        .and_then(|port| port["containerPort"].as_u64())
        .and_then(|port| u16::try_from(port).ok())
}

/// One of the service's ready endpoints, chosen at random.
async fn service(
    core: &Arc<Core>,
    resource: &Resource,
    namespace: &str,
    name: &Name<'_>,
) -> Result<Backend, Status> {
    let (service, _) = stored::require(&*core.store, resource, namespace, name.name).await?;
    let unavailable = || {
        Status::service_unavailable(format!(
            "no endpoints available for service {:?}",
            name.name
        ))
    };
    let ports = service["spec"]["ports"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let port = match name.port {
        None => ports.first(),
        Some(wanted) => ports.iter().find(|port| {
            port["name"] == wanted
                || port["port"]
                    .as_u64()
                    .is_some_and(|p| p.to_string() == wanted)
        }),
    };
    let port = port.ok_or_else(|| {
        Status::service_unavailable(format!(
            "no service port {:?} found for service {:?}",
            name.port.unwrap_or(""),
            name.name
        ))
    })?;
    let found = stored::find(&*core.store, ("", "v1", "endpoints"), namespace, name.name).await?;
    let endpoints = found.ok_or_else(unavailable)?;
    let mut targets = Vec::new();
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        let number = subset["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|known| {
                known["name"].as_str().unwrap_or("") == port["name"].as_str().unwrap_or("")
            });
        let number = number.and_then(|port| port["port"].as_u64());
        let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else {
            continue;
        };
        for address in subset["addresses"].as_array().into_iter().flatten() {
            targets.extend(address["ip"].as_str().map(|ip| (ip.to_owned(), number)));
        }
    }
    if targets.is_empty() {
        return Err(unavailable());
    }
    let (host, port) = targets.swap_remove(rand::random::<u32>() as usize % targets.len());
    Ok(Backend {
        host,
        port,
        tls: name.tls.then(|| core.kubelet.plain_tls.clone()),
    })
}
