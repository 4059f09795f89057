//! Services and what carries traffic to and from them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::view::{View, with_more};
use super::{AGE, NAME, Printer, text, wide};

pub(super) static PRINTERS: &[Printer] = &[
    Printer {
        group: "",
        kind: "Service",
        columns: &[
            NAME,
            text("Type"),
            text("Cluster-IP"),
            text("External-IP"),
            text("Port(s)"),
            AGE,
            wide("Selector"),
        ],
        cells: service,
    },
    Printer {
        group: "",
        kind: "Endpoints",
        columns: &[NAME, text("Endpoints"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(endpoints(object)),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        columns: &[
            NAME,
            text("AddressType"),
            text("Ports"),
            text("Endpoints"),
            AGE,
        ],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.text("addressType")),
                json!(slice_ports(object)),
                json!(slice_endpoints(object)),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "networking.k8s.io",
        kind: "Ingress",
        columns: &[
            NAME,
            text("Class"),
            text("Hosts"),
            text("Address"),
            text("Ports"),
            AGE,
        ],
        cells: ingress,
    },
    Printer {
        group: "networking.k8s.io",
        kind: "IngressClass",
        columns: &[NAME, text("Controller"), text("Parameters"), AGE],
        cells: ingress_class,
    },
    Printer {
        group: "networking.k8s.io",
        kind: "NetworkPolicy",
        columns: &[NAME, text("Pod-Selector"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.selector("spec.podSelector")),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "networking.k8s.io",
        kind: "ServiceCIDR",
        columns: &[NAME, text("CIDRs"), AGE],
        cells: |object| {
            vec![
                json!(object.name()),
                json!(object.texts("spec.cidrs").join(",")),
                json!(object.age()),
            ]
        },
    },
    Printer {
        group: "networking.k8s.io",
        kind: "IPAddress",
        columns: &[NAME, text("ParentRef")],
        cells: |object| vec![json!(object.name()), json!(parent(object))],
    },
];

fn service(object: &View<'_>) -> Vec<Value> {
    let cluster_ip = object
        .texts("spec.clusterIPs")
        .first()
        .copied()
        .unwrap_or("<none>");
    let ports = ports(object);
    vec![
        json!(object.name()),
        json!(object.text("spec.type")),
        json!(cluster_ip),
        json!(external_ip(object)),
        json!(if ports.is_empty() { "<none>" } else { &ports }),
        json!(object.age()),
        json!(object.labels("spec.selector")),
    ]
}

fn ports(object: &View<'_>) -> String {
    let ports: Vec<_> = object
        .list("spec.ports")
        .map(|port| {
            let (number, protocol) = (port.number("port"), port.text("protocol"));
            match port.number("nodePort") {
                node if node > 0 => format!("{number}:{node}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    ports.join(",")
}

fn external_ip(object: &View<'_>) -> String {
    let external = object.texts("spec.externalIPs");
    match object.text("spec.type") {
        "ClusterIP" | "NodePort" if external.is_empty() => "<none>".to_owned(),
        "ClusterIP" | "NodePort" => external.join(","),
        "LoadBalancer" => {
            let mut all: Vec<_> = load_balancer(object).into_iter().collect();
            all.extend(external);
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        "ExternalName" => object.text("spec.externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// The addresses of the load balancer: of each ingress the IP, or else the name.
fn load_balancer<'a>(object: &View<'a>) -> BTreeSet<&'a str> {
    object
        .list("status.loadBalancer.ingress")
        .map(|ingress| ingress.text_or("ip", ingress.text("hostname")))
        .filter(|address| !address.is_empty())
        .collect()
}

fn endpoints(object: &View<'_>) -> String {
    if object.count("subsets") == 0 {
        return "<none>".to_owned();
    }
    let mut all = Vec::new();
    for subset in object.list("subsets") {
        let addresses: Vec<_> = subset
            .list("addresses")
            .map(|address| address.text("ip"))
            .collect();
        if subset.count("ports") == 0 {
            all.extend(addresses.iter().map(|ip| (*ip).to_owned()));
            continue;
        }
        for port in subset.list("ports") {
            let port = port.number("port");
            all.extend(addresses.iter().map(|ip| host_port(ip, port)));
        }
    }
    if all.is_empty() {
        return String::new();
    }
    with_more(&all, 3)
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}

fn slice_ports(object: &View<'_>) -> String {
    let ports: Vec<_> = object
        .list("ports")
        .map(|port| {
            if port.has("port") {
                port.number("port").to_string()
            } else if port.has("name") {
                port.text("name").to_owned()
            } else {
                "*".to_owned()
            }
        })
        .collect();
    with_more(&ports, 3)
}

fn slice_endpoints(object: &View<'_>) -> String {
    let addresses: Vec<_> = object
        .list("endpoints")
        .flat_map(|endpoint| endpoint.texts("addresses"))
        .map(str::to_owned)
        .collect();
    with_more(&addresses, 3)
}

fn ingress(object: &View<'_>) -> Vec<Value> {
    let class = object
        .get("spec.ingressClassName")
        .as_str()
        .unwrap_or("<none>");
    let addresses: Vec<_> = load_balancer(object).into_iter().collect();
    let ports = if object.count("spec.tls") == 0 {
        "80"
    } else {
        "80, 443"
    };
    vec![
        json!(object.name()),
        json!(class),
        json!(hosts(object)),
        json!(addresses.join(",")),
        json!(ports),
        json!(object.age()),
    ]
}

fn hosts(object: &View<'_>) -> String {
    const SHOWN: usize = 3;
    let mut shown: Vec<&str> = Vec::new();
    let mut more = false;
    for rule in object.list("spec.rules") {
        more |= shown.len() == SHOWN;
        let host = rule.text("host");
        if !more && !host.is_empty() {
            shown.push(host);
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (false, false) => shown.join(","),
        (false, true) => {
            let more = object.count("spec.rules") - SHOWN;
            format!("{} + {more} more...", shown.join(","))
        }
    }
}

fn ingress_class(object: &View<'_>) -> Vec<Value> {
    let default = object.entry(
        "metadata.annotations",
        "ingressclass.kubernetes.io/is-default-class",
    ) == "true";
    let name = format!(
        "{}{}",
        object.name(),
        if default { " (default)" } else { "" }
    );
    let parameters = object.part("spec.parameters");
    let parameters = if object.has("spec.parameters") {
        let group = parameters
            .get("apiGroup")
            .as_str()
            .map(|group| format!(".{group}"));
        format!(
            "{}{}/{}",
            parameters.text("kind"),
            group.unwrap_or_default(),
            parameters.text("name")
        )
    } else {
        "<none>".to_owned()
    };
    vec![
        json!(name),
        json!(object.text("spec.controller")),
        json!(parameters),
        json!(object.age()),
    ]
}

fn parent(object: &View<'_>) -> String {
    if !object.has("spec.parentRef") {
        return "<none>".to_owned();
    }
    let parent = object.part("spec.parentRef");
    let mut text = match parent.text("group") {
        "" => parent.text("resource").to_lowercase(),
        group => format!("{}.{group}", parent.text("resource")).to_lowercase(),
    };
    for part in [parent.text("namespace"), parent.text("name")] {
        if !part.is_empty() {
            text.push('/');
            text.push_str(part);
        }
    }
    text
}
