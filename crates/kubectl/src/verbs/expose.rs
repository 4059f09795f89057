//! `expose`: a service in front of what another object selects.

use super::common::{DryRun, DryRunFlag, Sending, create};
use crate::context::Context;
use crate::failure::Failure;
use crate::manifests::FileFlags;
use crate::object::Object;
use crate::printers::PrintFlags;
use crate::selection::{Choice, Reference, of_manifest};
use crate::text::goquote::quote;
use serde_json::{Map, Value, json};

/// Take a resource and expose it as a new Kubernetes service
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl expose deployment nginx --port=80 --target-port=8000
  kubectl expose pod valid-pod --port=444 --name=frontend")]
pub(crate) struct Arguments {
    words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    dry_run: DryRunFlag,
    /// The port that the service should serve on
    #[arg(long)]
    port: Option<u16>,
    /// Name or number for the port on the container that the service should direct traffic to
    #[arg(long)]
    target_port: Option<String>,
    /// The network protocol for the service to be created
    #[arg(long)]
    protocol: Option<String>,
    /// The name for the newly created object
    #[arg(long)]
    name: Option<String>,
    /// Type for this service: ClusterIP, NodePort, LoadBalancer, or ExternalName
    #[arg(long = "type")]
    service_type: Option<String>,
    /// ClusterIP to be assigned to the service; 'None' for a headless one
    #[arg(long)]
    cluster_ip: Option<String>,
    /// Labels to apply to the service created by this call
    #[arg(long, short = 'l')]
    labels: Option<String>,
    /// A label selector to use for this service; only equality-based requirements
    #[arg(long)]
    selector: Option<String>,
    /// Additional external IP address to accept for the service
    #[arg(long)]
    external_ip: Option<String>,
    /// If non-empty, set the session affinity for the service to this; None or ClientIP
    #[arg(long)]
    session_affinity: Option<String>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let dry_run = arguments.dry_run.mode()?;
    let choice = Choice {
        words: &arguments.words,
        files: arguments.files.clone(),
        ..Choice::default()
    };
    let (references, mut failures) = choice.objects(context, true).await?;
    for reference in references {
        let service = service(&arguments, &reference)?;
        let target = of_manifest(context, service, None).await?;
        let sending = Sending {
            dry_run,
            field_manager: "kubectl-expose",
            field_validation: "Strict",
        };
        match create(context, &target, sending).await {
            Ok(mut created) => {
                if dry_run == DryRun::Client && context.explicit_namespace().is_none()
                    && let Some(metadata) = created["metadata"].as_object_mut() {
                        metadata.remove("namespace");
                    }
                arguments.print.printer()?.print(&created, &format!("exposed{}", dry_run.suffix()))?;
            }
            Err(failure @ Failure::Transport { .. }) => return Err(failure),
            Err(failure) => failures.push(failure),
        }
    }
    Failure::collect(failures)
}

fn service(arguments: &Arguments, reference: &Reference) -> Result<Value, Failure> {
    let object = &reference.value;
    let kind = object.kind();
    if !matches!(kind, "Service" | "ReplicationController" | "Deployment" | "Pod" | "ReplicaSet") {
        return Err(Failure::message(format!("cannot expose a {}", reference.mapping.kind)));
    }
    let name = arguments.name.as_deref().unwrap_or(&reference.name);
    let selector = match &arguments.selector {
        Some(text) => pairs(text)?,
        None => selector_of(object)?,
    };
    let ports = ports(arguments, object)?;
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": ports, "selector": selector},
        "status": {"loadBalancer": {}},
    });
    let labels = match &arguments.labels {
        Some(text) => Value::Object(pairs(text)?),
        None => object.at("metadata.labels").clone(),
    };
    if labels.is_object() {
        service["metadata"]["labels"] = labels;
    }
    for (value, field) in [
        (&arguments.service_type, "type"),
        (&arguments.cluster_ip, "clusterIP"),
        (&arguments.session_affinity, "sessionAffinity"),
    ] {
        if let Some(value) = value {
            service["spec"][field] = json!(value);
        }
    }
    if let Some(ip) = &arguments.external_ip {
        service["spec"]["externalIPs"] = json!([ip]);
    }
    Ok(service)
}

fn pairs(text: &str) -> Result<Map<String, Value>, Failure> {
    text.split(',')
        .map(|part| match part.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), json!(value))),
            _ => Err(Failure::message(format!("unexpected label spec: {part}"))),
        })
        .collect()
}

fn selector_of(object: &Value) -> Result<Map<String, Value>, Failure> {
    let (labels, missing) = match object.kind() {
        "Pod" => (object.at("metadata.labels"), "the pod has no labels and cannot be exposed"),
        "Service" | "ReplicationController" => (object.at("spec.selector"), "the service has no pod selector set"),
        _ => (
            object.at("spec.selector.matchLabels"),
            "invalid deployment: no selectors, therefore cannot be exposed",
        ),
    };
    match labels.as_object() {
        Some(labels) if !labels.is_empty() => Ok(labels.clone()),
        _ => Err(Failure::message(format!(
            "couldn't retrieve selectors via --selector flag or introspection: {missing}"
        ))),
    }
}

fn ports(arguments: &Arguments, object: &Value) -> Result<Vec<Value>, Failure> {
    let known: Vec<(i64, String)> = if object.kind() == "Service" {
        object
            .list("spec.ports")
            .iter()
            .map(|port| (port.number("port"), port.text("protocol").to_owned()))
            .collect()
    } else {
        crate::object::pod_spec(object)
            .list("containers")
            .iter()
            .flat_map(|container| container.list("ports"))
            .map(|port| (port.number("containerPort"), port.text("protocol").to_owned()))
            .collect()
    };
    let chosen: Vec<(i64, String)> = match arguments.port {
        Some(port) => {
            let known_protocol = known.iter().find(|(number, _)| *number == i64::from(port));
            let protocol = known_protocol.map_or("TCP", |(_, protocol)| protocol);
            vec![(i64::from(port), protocol.to_owned())]
        }
        None if known.is_empty() && arguments.cluster_ip.as_deref() != Some("None") => {
            return Err(Failure::message("couldn't find port via --port flag or introspection"));
        }
        None => known,
    };
    let several = chosen.len() > 1;
    chosen
        .into_iter()
        .enumerate()
        .map(|(index, (number, protocol))| {
            let protocol = match &arguments.protocol {
                Some(protocol) => protocol.clone(),
                None if protocol.is_empty() => "TCP".to_owned(),
                None => protocol,
            };
            if !matches!(protocol.as_str(), "TCP" | "UDP" | "SCTP") {
                return Err(Failure::message(format!("unknown protocol {}", quote(&protocol))));
            }
            let target = match &arguments.target_port {
                Some(text) => text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
                None => json!(number),
            };
            let mut port = json!({"port": number, "protocol": protocol, "targetPort": target});
            if several {
                port["name"] = json!(format!("port-{}", index + 1));
            }
            Ok(port)
        })
        .collect()
}
