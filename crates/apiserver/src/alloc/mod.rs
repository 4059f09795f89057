//! What services get from shared ranges: cluster IPs and node ports. The services themselves are the record; the
//! sets in memory follow their watch, so a restart finds them all again.

mod ranges;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use fluyt_api::catalogue::Resource;
use fluyt_api::field::{self, Path};
use fluyt_api::status::Status;
use parking_lot::Mutex;
use serde_json::Value;

use crate::core::Core;
use crate::options::Options;
use crate::stored;
pub(crate) use ranges::{IpRange, PortRange};

const SERVICES: (&str, &str, &str) = ("", "v1", "services");

/// Which object holds what: values by the key of their service, or of a request under way.
#[derive(Default)]
struct Taken {
    ips: HashMap<IpAddr, String>,
    ports: HashMap<(u16, String), String>,
}

/// The allocators of one server.
pub(crate) struct Allocators {
    ips: IpRange,
    ports: PortRange,
    taken: Arc<Mutex<Taken>>,
}

/// What a request has taken; given back unless it is kept.
pub(crate) struct Reservation {
    taken: Arc<Mutex<Taken>>,
    ips: Vec<IpAddr>,
    ports: Vec<(u16, String)>,
}

impl Reservation {
    /// The request succeeded: what it took stays taken.
    pub(crate) fn keep(mut self) {
        self.ips.clear();
        self.ports.clear();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.ips.is_empty() && self.ports.is_empty() {
            return;
        }
        let mut taken = self.taken.lock();
        for ip in &self.ips {
            taken.ips.remove(ip);
        }
        for port in &self.ports {
            taken.ports.remove(port);
        }
    }
}

impl Allocators {
    pub(crate) fn new(options: &Options) -> anyhow::Result<Self> {
        Ok(Allocators {
            ips: IpRange::parse(&options.service_cluster_ip_range)
                .map_err(|why| anyhow::anyhow!("--service-cluster-ip-range: {why}"))?,
            ports: PortRange::parse(&options.service_node_port_range)
                .map_err(|why| anyhow::anyhow!("--service-node-port-range: {why}"))?,
            taken: Arc::default(),
        })
    }

    /// The address of the `kubernetes` service.
    pub(crate) fn first_ip(&self) -> IpAddr {
        self.ips.first()
    }

    /// Takes in what the store's services hold.
    pub(crate) fn observe(&self, key: &str, service: Option<&Value>) {
        let mut taken = self.taken.lock();
        taken.ips.retain(|_, holder| holder != key);
        taken.ports.retain(|_, holder| holder != key);
        let Some(service) = service else {
            return;
        };
        for ip in ips(service) {
            taken.ips.insert(ip, key.to_owned());
        }
        for port in ports(service) {
            taken.ports.insert(port, key.to_owned());
        }
    }

    /// Gives a new or changed service what it needs; nothing for other resources.
    pub(crate) async fn reserve(
        &self,
        _core: &Arc<Core>,
        resource: &Resource,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Reservation, Status> {
        let mut reservation = Reservation {
            taken: self.taken.clone(),
            ips: Vec::new(),
            ports: Vec::new(),
        };
        if (resource.group, resource.plural) != ("", "services") || object["spec"].is_null() {
            return Ok(reservation);
        }
        let key = stored::key(
            stored::builtin(SERVICES),
            object["metadata"]["namespace"].as_str().unwrap_or(""),
            object["metadata"]["name"].as_str().unwrap_or(""),
        );
        self.reserve_ip(&key, object, old, &mut reservation)?;
        self.reserve_ports(&key, object, old, &mut reservation)?;
        Ok(reservation)
    }

    fn reserve_ip(
        &self,
        key: &str,
        service: &mut Value,
        old: Option<&Value>,
        reservation: &mut Reservation,
    ) -> Result<(), Status> {
        let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP");
        if kind == "ExternalName" {
            if let Some(spec) = service["spec"].as_object_mut() {
                let keeps = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];
                if old.is_some() {
                    spec.retain(|field, _| !keeps.contains(&field.as_str()));
                }
            }
            return Ok(());
        }
        let given = service["spec"]["clusterIP"]
            .as_str()
            .unwrap_or("")
            .to_owned();
        let given = match (given.as_str(), service["spec"]["clusterIPs"][0].as_str()) {
            ("", Some(first)) => first.to_owned(),
            _ => given,
        };
        let held = old
            .map(|old| ips(old).collect::<Vec<_>>())
            .unwrap_or_default();
        if given == "None" {
            fill_families(service, self.ips.first(), "None");
            return Ok(());
        }
        let path = Path::new("spec").child("clusterIPs").index(0);
        let invalid = |detail: String| {
            let name = service["metadata"]["name"]
                .as_str()
                .unwrap_or("")
                .to_owned();
            let error = field::invalid(&path, vec![given.clone()], detail);
            Status::invalid("", "Service", &name, vec![error])
        };
        let mut taken = self.taken.lock();
        let ip = if given.is_empty() {
            if let Some(ip) = held.first() {
                *ip
            } else {
                let free = self
                    .ips
                    .pick(rand::random(), |ip| !taken.ips.contains_key(&ip));
                free.ok_or_else(|| {
                    Status::internal("failed to allocate a serviceIP: range is full")
                })?
            }
        } else {
            let ip: IpAddr = given
                .parse()
                .map_err(|_| invalid("must be a valid IP address".to_owned()))?;
            let mine = held.contains(&ip) || taken.ips.get(&ip).is_some_and(|holder| holder == key);
            if !mine && !self.ips.contains(ip) {
                return Err(invalid(format!(
                    "failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}",
                    self.ips
                )));
            }
            if !mine && taken.ips.contains_key(&ip) {
                return Err(invalid(format!(
                    "failed to allocate IP {ip}: provided IP is already allocated"
                )));
            }
            ip
        };
        if !held.contains(&ip) && !taken.ips.contains_key(&ip) {
            taken.ips.insert(ip, key.to_owned());
            reservation.ips.push(ip);
        }
        drop(taken);
        fill_families(service, ip, &ip.to_string());
        Ok(())
    }

    fn reserve_ports(
        &self,
        key: &str,
        service: &mut Value,
        old: Option<&Value>,
        reservation: &mut Reservation,
    ) -> Result<(), Status> {
        let wants = match service["spec"]["type"].as_str() {
            Some("NodePort") => true,
            Some("LoadBalancer") => {
                service["spec"]["allocateLoadBalancerNodePorts"].as_bool() != Some(false)
            }
            _ => return Ok(()),
        };
        let name = service["metadata"]["name"]
            .as_str()
            .unwrap_or("")
            .to_owned();
        let mut taken = self.taken.lock();
        let mut held: Vec<(u16, String)> = old.map(|old| ports(old).collect()).unwrap_or_default();
        let old_ports = old
            .map(|old| old["spec"]["ports"].clone())
            .unwrap_or_default();
        for (index, port) in service["spec"]["ports"]
            .as_array_mut()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
            let given = port["nodePort"].as_u64().unwrap_or(0) as u16;
            let path = Path::new("spec")
                .child("ports")
                .index(index)
                .child("nodePort");
            let number = if given != 0 {
                let wanted = (given, protocol.clone());
                let mine = held.contains(&wanted)
                    || taken.ports.get(&wanted).is_some_and(|holder| holder == key);
                let why = if mine {
                    None
                } else if !self.ports.contains(given) {
                    Some(format!(
                        "provided port is not in the valid range. The range of valid ports is {}",
                        self.ports
                    ))
                } else if taken.ports.contains_key(&wanted) {
                    Some("provided port is already allocated".to_owned())
                } else {
                    None
                };
                if let Some(why) = why {
                    let error = field::invalid(&path, i64::from(given), why);
                    return Err(Status::invalid("", "Service", &name, vec![error]));
                }
                given
            } else if !wants {
                continue;
            } else if let Some(kept) = same_port(&old_ports, port) {
                kept
            } else {
                let free = self.ports.pick(rand::random(), |number| {
                    !taken.ports.contains_key(&(number, protocol.clone()))
                });
                free.ok_or_else(|| {
                    Status::internal("failed to allocate a nodePort: range is full")
                })?
            };
            port["nodePort"] = number.into();
            let wanted = (number, protocol);
            if !held.contains(&wanted) && !taken.ports.contains_key(&wanted) {
                taken.ports.insert(wanted.clone(), key.to_owned());
                reservation.ports.push(wanted.clone());
            }
            held.push(wanted);
        }
        Ok(())
    }

    /// Gives back what a deleted service held.
    pub(crate) fn release(&self, resource: &Resource, object: &Value) {
        if (resource.group, resource.plural) != ("", "services") {
            return;
        }
        let mut taken = self.taken.lock();
        for ip in ips(object) {
            taken.ips.remove(&ip);
        }
        for port in ports(object) {
            taken.ports.remove(&port);
        }
    }
}

/// The node port that the same port of the stored service has.
fn same_port(old: &Value, port: &Value) -> Option<u16> {
    let same = old.as_array()?.iter().find(|old| {
        old["port"] == port["port"]
            && old["protocol"].as_str().unwrap_or("TCP")
                == port["protocol"].as_str().unwrap_or("TCP")
    })?;
    same["nodePort"]
        .as_u64()
        .filter(|port| *port != 0)
        .map(|port| port as u16)
}

fn fill_families(service: &mut Value, ip: IpAddr, text: &str) {
    let spec = &mut service["spec"];
    spec["clusterIP"] = text.into();
    spec["clusterIPs"] = vec![text].into();
    if spec["ipFamilies"].as_array().is_none_or(Vec::is_empty) {
        spec["ipFamilies"] = vec![if ip.is_ipv4() { "IPv4" } else { "IPv6" }].into();
    }
    if spec["ipFamilyPolicy"].is_null() {
        spec["ipFamilyPolicy"] = "SingleStack".into();
    }
}

fn ips(service: &Value) -> impl Iterator<Item = IpAddr> + '_ {
    let many = service["spec"]["clusterIPs"]
        .as_array()
        .into_iter()
        .flatten();
    std::iter::once(&service["spec"]["clusterIP"])
        .chain(many)
        .filter_map(|ip| ip.as_str()?.parse().ok())
}

fn ports(service: &Value) -> impl Iterator<Item = (u16, String)> + '_ {
    service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|port| {
            let number = port["nodePort"].as_u64().filter(|number| *number != 0)?;
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            Some((number as u16, protocol.to_owned()))
        })
}
