//! Generators of services.

use super::{CreateFlags, one_name};
use crate::failure::Failure;
use crate::text::goquote::quote;
use serde_json::{Value, json};

/// Create a service using a specified subcommand
#[derive(clap::Args, Debug)]
pub(super) struct Service {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(clap::Subcommand, Debug)]
enum Kind {
    /// Create a ClusterIP service
    Clusterip(PortService),
    /// Create a NodePort service
    Nodeport(PortService),
    /// Create a LoadBalancer service
    Loadbalancer(PortService),
    /// Create an ExternalName service
    Externalname(NamedService),
}

#[derive(clap::Args, Debug)]
struct PortService {
    names: Vec<String>,
    /// Port pairs can be specified as '<port>:<targetPort>'
    #[arg(long, value_delimiter = ',')]
    tcp: Vec<String>,
    /// Assign your own ClusterIP or set to 'None' for a headless service
    #[arg(long, default_value = "")]
    clusterip: String,
    /// Port used to expose the service on each node in a cluster
    #[arg(long, default_value_t = 0)]
    node_port: u16,
    #[command(flatten)]
    flags: CreateFlags,
}

#[derive(clap::Args, Debug)]
struct NamedService {
    names: Vec<String>,
    /// External name of service
    #[arg(long)]
    external_name: String,
    /// Port pairs can be specified as '<port>:<targetPort>'
    #[arg(long, value_delimiter = ',')]
    tcp: Vec<String>,
    #[command(flatten)]
    flags: CreateFlags,
}

impl Service {
    pub(super) fn object(self) -> Result<(Value, CreateFlags), Failure> {
        match self.kind {
            Kind::Clusterip(service) => service.object("clusterip", "ClusterIP"),
            Kind::Nodeport(service) => service.object("nodeport", "NodePort"),
            Kind::Loadbalancer(service) => service.object("loadbalancer", "LoadBalancer"),
            Kind::Externalname(service) => {
                let name = one_name(&service.names, "service externalname")?;
                let mut object = shell(name, "ExternalName");
                object["spec"]["externalName"] = json!(service.external_name);
                let ports = ports(&service.tcp)?;
                if !ports.is_empty() {
                    object["spec"]["ports"] = json!(ports);
                }
                Ok((object, service.flags))
            }
        }
    }
}

impl PortService {
    fn object(self, command: &str, service_type: &str) -> Result<(Value, CreateFlags), Failure> {
        let name = one_name(&self.names, &format!("service {command}"))?;
        let headless = self.clusterip == "None";
        if self.tcp.is_empty() && !headless {
            return Err(Failure::message("at least one tcp port specifier must be provided"));
        }
        if headless && service_type != "ClusterIP" {
            return Err(Failure::message("ClusterIP=None can only be used with ClusterIP service type"));
        }
        let mut object = shell(name, service_type);
        let mut ports = ports(&self.tcp)?;
        if self.node_port != 0 {
            for port in &mut ports {
                port["nodePort"] = json!(self.node_port);
            }
        }
        if !ports.is_empty() {
            object["spec"]["ports"] = json!(ports);
        }
        if !self.clusterip.is_empty() {
            object["spec"]["clusterIP"] = json!(self.clusterip);
        }
        Ok((object, self.flags))
    }
}

fn shell(name: &str, service_type: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"selector": {"app": name}, "type": service_type},
        "status": {"loadBalancer": {}},
    })
}

/// `80`, `80:8080`, `80:http`: names are the numbers, joined by a dash.
fn ports(specs: &[String]) -> Result<Vec<Value>, Failure> {
    specs
        .iter()
        .map(|spec| {
            let (port, target) = spec.split_once(':').unwrap_or((spec, spec));
            let number: u16 = port.parse().map_err(|_| {
                Failure::message(format!("strconv.ParseInt: parsing {}: invalid syntax", quote(port)))
            })?;
            let target_value = target.parse::<u16>().map_or_else(|_| json!(target), |number| json!(number));
            let name = if spec.contains(':') { format!("{port}-{target}") } else { port.to_owned() };
            Ok(json!({"name": name, "port": number, "protocol": "TCP", "targetPort": target_value}))
        })
        .collect()
}
