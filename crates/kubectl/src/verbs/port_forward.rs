//! `port-forward`: local ports that lead to ports of a pod.

use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::pods;
use crate::rest::{Call, Rest};
use crate::selection::Reference;
use crate::streams;
use crate::text::{duration, goquote::quote};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpListener;

/// Forward one or more local ports to a pod
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl port-forward pod/mypod 5000 6000
  kubectl port-forward deployment/mydeployment 8443:https
  kubectl port-forward service/myservice 8888:80
  kubectl port-forward pod/mypod :5000
  kubectl port-forward --address 0.0.0.0 pod/mypod 8888:5000")]
pub(crate) struct Arguments {
    words: Vec<String>,
    /// Addresses to listen on (comma separated): IP addresses or localhost
    #[arg(long, default_value = "localhost", value_delimiter = ',')]
    address: Vec<String>,
    /// The length of time to wait until at least one pod is running
    #[arg(long, default_value = "1m0s")]
    pod_running_timeout: String,
}

/// A local port (0: any) and the pod's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    local: u16,
    remote: u16,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let Some((word, specs)) = arguments.words.split_first().filter(|(_, specs)| !specs.is_empty()) else {
        return Err(Failure::usage(
            "port-forward",
            "TYPE/NAME and list of ports are required for port-forward",
        ));
    };
    let timeout = duration::parse(&arguments.pod_running_timeout)
        .ok_or_else(|| Failure::message(format!("time: invalid duration {}", quote(&arguments.pod_running_timeout))))?;
    let object = pods::find(context, word).await?;
    let pod = pods::first_pod(context, word, timeout).await?;
    let phase = pod.value.text("status.phase");
    if phase != "Running" {
        return Err(Failure::message(format!(
            "unable to forward port because pod is not running. Current status={phase}"
        )));
    }
    let pairs = specs
        .iter()
        .map(|spec| pair(spec, &object, &pod.value))
        .collect::<Result<Vec<_>, _>>()?;
    let rest = context.rest().await?;
    let mut tasks = tokio::task::JoinSet::new();
    for pair in pairs {
        for listener in listen(pair, &arguments.address).await? {
            let local = listener.local_addr()?;
            output::line(format!("Forwarding from {local} -> {}", pair.remote));
            tasks.spawn(serve(listener, rest.clone(), pod.clone(), pair));
        }
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// `remote`, `local:remote`, `:remote`; remote may be a port's name. A service's port means its target.
fn pair(spec: &str, object: &Reference, pod: &Value) -> Result<Pair, Failure> {
    let (local, remote) = match spec.split_once(':') {
        Some((local, remote)) => (Some(local), remote),
        None => (None, spec),
    };
    if remote.is_empty() {
        return Err(Failure::message("remote port cannot be empty"));
    }
    let number = |text: &str| {
        text.parse::<u16>()
            .map_err(|_| Failure::message(format!("Service {} does not have a service port {text}", object.name)))
    };
    let target = if object.mapping.plural == "services" {
        service_target(&object.value, remote, pod)?
    } else {
        match remote.parse::<u16>() {
            Ok(port) => port,
            Err(_) => named_port(pod, remote)
                .ok_or_else(|| Failure::message(format!("Pod '{}' does not have a named port '{remote}'", pod.name())))?,
        }
    };
    let local = match local {
        Some("") => 0,
        Some(local) => number(local)?,
        None => remote.parse().unwrap_or(target),
    };
    Ok(Pair { local, remote: target })
}

fn service_target(service: &Value, port: &str, pod: &Value) -> Result<u16, Failure> {
    let found = service.list("spec.ports").iter().find(|other| {
        other.text("name") == port || port.parse::<i64>().is_ok_and(|number| other.number("port") == number)
    });
    let Some(found) = found else {
        return Err(Failure::message(format!(
            "Service {} does not have a service port {port}",
            service.name()
        )));
    };
    if service["spec"]["clusterIP"] == "None" {
        return Ok(found.number("port") as u16);
    }
    match &found["targetPort"] {
        Value::String(name) => named_port(pod, name)
            .ok_or_else(|| Failure::message(format!("Pod '{}' does not have a named port '{name}'", pod.name()))),
        Value::Number(number) if number.as_u64() != Some(0) => Ok(number.as_u64().unwrap_or(0) as u16),
        _ => Ok(found.number("port") as u16),
    }
}

fn named_port(pod: &Value, name: &str) -> Option<u16> {
    pod.list("spec.containers")
        .iter()
        .flat_map(|container| container.list("ports"))
        .find(|port| port.text("name") == name)
        .map(|port| port.number("containerPort") as u16)
}

/// `localhost` is both of its addresses; at least one must work.
async fn listen(pair: Pair, addresses: &[String]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut problem = String::new();
    for address in addresses {
        let ips: Vec<IpAddr> = if address == "localhost" {
            vec![IpAddr::from([127, 0, 0, 1]), std::net::Ipv6Addr::LOCALHOST.into()]
        } else {
            let ip = address
                .parse()
                .map_err(|_| Failure::message(format!("{address} is not a valid IP")))?;
            vec![ip]
        };
        for ip in ips {
            // A port that the system chose is the same on every address.
            let port = match listeners.first() {
                Some(first) if pair.local == 0 => first.local_addr()?.port(),
                _ => pair.local,
            };
            match TcpListener::bind(SocketAddr::new(ip, port)).await {
                Ok(listener) => listeners.push(listener),
                Err(error) => problem = error.to_string(),
            }
        }
    }
    if listeners.is_empty() {
        output::error_line(format!(
            "Unable to listen on port {}: Listeners failed to create with the following errors: [{problem}]",
            pair.local
        ));
        return Err(Failure::message(format!(
            "unable to listen on any of the requested ports: [{{{} {}}}]",
            pair.local, pair.remote
        )));
    }
    Ok(listeners)
}

async fn serve(listener: TcpListener, rest: Rest, pod: Reference, pair: Pair) {
    let local = listener.local_addr().map_or(pair.local, |address| address.port());
    while let Ok((socket, _)) = listener.accept().await {
        output::line(format!("Handling connection for {local}"));
        let call = Call::get(format!("{}/portforward", pod.path())).query("ports", pair.remote.to_string());
        let rest = rest.clone();
        tokio::spawn(async move {
            if let Err(failure) = streams::forward(&rest, &call, socket).await {
                output::error_line(format!(
                    "an error occurred forwarding {local} -> {}: {}",
                    pair.remote,
                    failure.text()
                ));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapper::Mapper;
    use serde_json::json;

    fn check(kind: &str, spec: &str, expected: Result<(u16, u16), &str>) {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]}});
        let object = Reference {
            mapping: Mapper::default().well_known(kind),
            namespace: None,
            name: "s".to_owned(),
            value: json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "web"}]}}),
            source: None,
        };
        let found = pair(spec, &object, &pod)
            .map(|pair| (pair.local, pair.remote))
            .map_err(|failure| failure.render());
        assert_eq!(found, expected.map_err(|text| format!("error: {text}")), "{spec}");
    }

    #[test]
    fn specs() {
        check("pods", "5000", Ok((5000, 5000)));
        check("pods", "6000:5000", Ok((6000, 5000)));
        check("pods", ":5000", Ok((0, 5000)));
        check("pods", "1:web", Ok((1, 8080)));
        check("services", "80", Ok((80, 8080)));
        check("services", "8888:http", Ok((8888, 8080)));
        check("services", "81", Err("Service s does not have a service port 81"));
        check("pods", "5000:", Err("remote port cannot be empty"));
    }
}
