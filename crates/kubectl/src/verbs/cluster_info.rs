//! `cluster-info`: where the control plane and the cluster's own services are.

use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::rest::Rest;
use crate::selection::{SelectorFlags, list_all};
use serde_json::Value;
use std::io::IsTerminal;

/// Display addresses of the control plane and services with label kubernetes.io/cluster-service=true
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:\n  kubectl cluster-info")]
pub(crate) struct Arguments {}

pub(crate) async fn run(context: &Context, _: Arguments) -> Result<(), Failure> {
    let rest = context.rest().await?;
    let mapping = context.mapper().well_known("services");
    let selectors = SelectorFlags {
        selector: Some("kubernetes.io/cluster-service=true".to_owned()),
        ..SelectorFlags::default()
    };
    let services = list_all(context, &mapping, Some("kube-system"), &selectors).await?;
    say("Kubernetes control plane", rest.url());
    for service in services {
        let link = link(rest, &service.value);
        let name = match service.value.text("metadata.labels.kubernetes.io/name") {
            "" => service.name.clone(),
            name => name.to_owned(),
        };
        say(&name, &link);
    }
    output::line("\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'.");
    Ok(())
}

fn link(rest: &Rest, service: &Value) -> String {
    let point = service.list("status.loadBalancer.ingress").first();
    if let Some(point) = point {
        let host = match point.text("ip") {
            "" => point.text("hostname"),
            ip => ip,
        };
        let links: Vec<String> = service
            .list("spec.ports")
            .iter()
            .map(|port| format!("http://{host}:{}", port.number("port")))
            .collect();
        return links.join(" ");
    }
    let mut name = service.name().to_owned();
    if let [port] = service.list("spec.ports") {
        let port_name = match port.text("name") {
            "" => port.number("port").to_string(),
            name => name.to_owned(),
        };
        let scheme = if port_name == "https" || port.number("port") == 443 { "https:" } else { "" };
        name = format!("{scheme}{name}:{}", port.text("name"));
    }
    format!(
        "{}/api/v1/namespaces/{}/services/{name}/proxy",
        rest.url(),
        service.namespace()
    )
}

/// Coloured for people; plain in a pipe.
fn say(name: &str, link: &str) {
    if std::io::stdout().is_terminal() {
        output::line(format!("\u{1b}[0;32m{name}\u{1b}[0m is running at \u{1b}[0;33m{link}\u{1b}[0m"));
    } else {
        output::line(format!("{name} is running at {link}"));
    }
}
