//! Services and their endpoints.

use super::Facts;
use super::parts::{annotations, events, format_labels, labels};
use super::writer::Writer;
use crate::object::Object;
use crate::printers::custom_columns::go_value;
use serde_json::Value;

/// More endpoints than these are only counted.
const SHOWN_ENDPOINTS: usize = 3;

pub(crate) fn service(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    let spec = &object["spec"];
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    w.field(0, "Selector", format_labels(&spec["selector"]));
    w.field(0, "Type", spec.text("type"));
    w.field_if(0, "IP Family Policy", spec.text("ipFamilyPolicy"));
    w.field(0, "IP Families", or_none(&joined(spec, "ipFamilies")));
    w.field(0, "IP", spec.text("clusterIP"));
    w.field(0, "IPs", or_none(&joined(spec, "clusterIPs")));
    w.field_if(0, "External IPs", &joined(spec, "externalIPs"));
    w.field_if(0, "Desired LoadBalancer IP", spec.text("loadBalancerIP"));
    w.field_if(0, "External Name", spec.text("externalName"));
    ingress(&mut w, object);
    for port in spec.list("ports") {
        service_port(&mut w, port, &facts.endpoint_slices);
    }
    w.field(0, "Session Affinity", spec.text("sessionAffinity"));
    w.field_if(
        0,
        "External Traffic Policy",
        spec.text("externalTrafficPolicy"),
    );
    w.field_if(
        0,
        "Internal Traffic Policy",
        spec.text("internalTrafficPolicy"),
    );
    if spec.number("healthCheckNodePort") != 0 {
        w.field(
            0,
            "HealthCheck NodePort",
            spec.number("healthCheckNodePort"),
        );
    }
    w.field_if(
        0,
        "LoadBalancer Source Ranges",
        &joined(spec, "loadBalancerSourceRanges"),
    );
    w.field_if(0, "Traffic Distribution", spec.text("trafficDistribution"));
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

fn joined(spec: &Value, field: &str) -> String {
    let texts: Vec<&str> = spec.list(field).iter().filter_map(Value::as_str).collect();
    texts.join(",")
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

fn ingress(w: &mut Writer, object: &Value) {
    let points: Vec<String> = object
        .list("status.loadBalancer.ingress")
        .iter()
        .map(|point| {
            match (
                point.text("ip"),
                point.text("hostname"),
                point.text("ipMode"),
            ) {
                ("", hostname, _) => hostname.to_owned(),
                (ip, _, "") => ip.to_owned(),
                (ip, _, mode) => format!("{ip} ({mode})"),
            }
        })
        .collect();
    w.field_if(0, "LoadBalancer Ingress", &points.join(", "));
}

fn service_port(w: &mut Writer, port: &Value, slices: &[Value]) {
    let name = match port.text("name") {
        "" => "<unset>",
        name => name,
    };
    let protocol = port.text("protocol");
    w.line(
        0,
        format!("Port:\t{name}\t{}/{protocol}", port.number("port")),
    );
    w.field(
        0,
        "TargetPort",
        format!("{}/{protocol}", go_value(&port["targetPort"])),
    );
    w.field_if(0, "AppProtocol", port.text("appProtocol"));
    if port.number("nodePort") != 0 {
        w.line(
            0,
            format!("NodePort:\t{name}\t{}/{protocol}", port.number("nodePort")),
        );
    }
    w.field(0, "Endpoints", endpoints_of(slices, port.text("name")));
}

/// The ready addresses behind a port, the first few by name.
fn endpoints_of(slices: &[Value], port_name: &str) -> String {
    if slices.is_empty() {
        return "<none>".to_owned();
    }
    let mut ready = Vec::new();
    for slice in slices {
        let ports = slice.list("ports");
        let numbers: Vec<Option<i64>> = if ports.is_empty() {
            vec![None]
        } else {
            ports
                .iter()
                .filter(|port| port.text("name") == port_name)
                .map(|port| Some(port.number("port")))
                .collect()
        };
        for number in numbers {
            for endpoint in slice.list("endpoints") {
                if endpoint.at("conditions.ready") == false {
                    continue;
                }
                let address = endpoint
                    .list("addresses")
                    .first()
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                ready.push(match number {
                    None => address.to_owned(),
                    Some(number) if address.contains(':') => format!("[{address}]:{number}"),
                    Some(number) => format!("{address}:{number}"),
                });
            }
        }
    }
    if ready.len() > SHOWN_ENDPOINTS {
        let more = ready.len() - SHOWN_ENDPOINTS;
        return format!("{} + {more} more...", ready[..SHOWN_ENDPOINTS].join(","));
    }
    ready.join(",")
}

pub(crate) fn endpoints(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    w.line(0, "Subsets:");
    for subset in object.list("subsets") {
        for (label, field) in [
            ("Addresses", "addresses"),
            ("NotReadyAddresses", "notReadyAddresses"),
        ] {
            let ips: Vec<&str> = subset
                .list(field)
                .iter()
                .map(|address| address.text("ip"))
                .collect();
            w.field(1, label, or_none(&ips.join(",")));
        }
        if !subset.list("ports").is_empty() {
            w.line(1, "Ports:");
            w.line(2, "Name\tPort\tProtocol");
            w.line(2, "----\t----\t--------");
            for port in subset.list("ports") {
                let name = match port.text("name") {
                    "" => "<unset>",
                    name => name,
                };
                w.line(
                    2,
                    format!("{name}\t{}\t{}", port.number("port"), port.text("protocol")),
                );
            }
        }
        w.line(0, "");
    }
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

pub(crate) fn endpoint_slice(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    w.field(0, "AddressType", object.text("addressType"));
    let (ports, endpoints) = (object.list("ports"), object.list("endpoints"));
    if ports.is_empty() {
        w.line(0, "Ports: <unset>");
    } else {
        w.line(0, "Ports:");
        w.line(1, "Name\tPort\tProtocol");
        w.line(1, "----\t----\t--------");
    }
    for port in ports {
        let (name, number) = (or_unset(&port["name"]), or_unset(&port["port"]));
        w.line(1, format!("{name}\t{number}\t{}", port.text("protocol")));
    }
    match endpoints.is_empty() {
        true => w.line(0, "Endpoints: <none>"),
        false => w.line(0, "Endpoints:"),
    }
    for endpoint in endpoints {
        let addresses: Vec<&str> = endpoint
            .list("addresses")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        w.field(1, "- Addresses", or_none(&addresses.join(", ")));
        w.line(2, "Conditions:");
        w.field(3, "Ready", or_unset(endpoint.at("conditions.ready")));
        w.field(2, "Hostname", or_unset(&endpoint["hostname"]));
        let target = &endpoint["targetRef"];
        if target.is_object() {
            let name = format!("{}/{}", target.text("kind"), target.text("name"));
            w.field(2, "TargetRef", name);
        }
        w.field(2, "NodeName", or_unset(&endpoint["nodeName"]));
        w.field(2, "Zone", or_unset(&endpoint["zone"]));
    }
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

fn or_unset(value: &Value) -> String {
    match value {
        Value::Null => "<unset>".to_owned(),
        Value::String(text) if text.is_empty() => "<unset>".to_owned(),
        value => go_value(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn endpoints_are_counted_beyond_the_third() {
        let endpoint = |last: usize, ready: bool| json!({"addresses": [format!("10.0.0.{last}")], "conditions": {"ready": ready}});
        let slice = |count: usize| {
            json!({
                "ports": [{"name": "", "port": 80}],
                "endpoints": (1..=count).map(|last| endpoint(last, last != 2)).collect::<Vec<_>>(),
            })
        };
        assert_eq!(endpoints_of(&[], ""), "<none>");
        assert_eq!(endpoints_of(&[slice(3)], ""), "10.0.0.1:80,10.0.0.3:80");
        assert_eq!(
            endpoints_of(&[slice(6)], ""),
            "10.0.0.1:80,10.0.0.3:80,10.0.0.4:80 + 2 more..."
        );
        assert_eq!(endpoints_of(&[slice(6)], "other"), "");
    }
}
