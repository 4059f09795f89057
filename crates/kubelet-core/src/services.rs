//! The environment variables by which containers find services.

/// What the variables need to know of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    pub cluster_ip: String,
    pub ports: Vec<Port>,
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub port: u16,
    pub protocol: String,
}

/// The service that every namespace sees.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// The variables for pods of a namespace; with `links` off only the API server's.
pub fn variables<'a>(
    services: impl Iterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> Vec<(String, String)> {
    let mut chosen: Vec<&Service> = Vec::new();
    for service in services {
        let master = (service.namespace.as_str(), service.name.as_str()) == MASTER;
        let has_ip = !service.cluster_ip.is_empty() && service.cluster_ip != "None";
        if has_ip && (master || (links && service.namespace == namespace)) {
            chosen.push(service);
        }
    }
    // The namespace's own service of that name comes before the API server's.
    chosen.sort_by_key(|service| (service.name.clone(), service.namespace != namespace));
    chosen.dedup_by(|b, a| a.name == b.name);
    chosen.into_iter().flat_map(of_service).collect()
}

fn of_service(service: &Service) -> Vec<(String, String)> {
    let Some(first) = service.ports.first() else {
        return Vec::new();
    };
    let name = variable_name(&service.name);
    let ip = &service.cluster_ip;
    let host = if ip.contains(':') {
        format!("[{ip}]")
    } else {
        ip.clone()
    };
    let mut list = vec![
        (format!("{name}_SERVICE_HOST"), ip.clone()),
        (format!("{name}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in service.ports.iter().filter(|port| !port.name.is_empty()) {
        list.push((
            format!("{name}_SERVICE_PORT_{}", variable_name(&port.name)),
            port.port.to_string(),
        ));
    }
    let url = |port: &Port| format!("{}://{host}:{}", protocol(port).to_lowercase(), port.port);
    list.push((format!("{name}_PORT"), url(first)));
    for port in &service.ports {
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol(port));
        list.push((prefix.clone(), url(port)));
        list.push((format!("{prefix}_PROTO"), protocol(port).to_lowercase()));
        list.push((format!("{prefix}_PORT"), port.port.to_string()));
        list.push((format!("{prefix}_ADDR"), ip.clone()));
    }
    list
}

fn protocol(port: &Port) -> &str {
    if port.protocol.is_empty() {
        "TCP"
    } else {
        &port.protocol
    }
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(namespace: &str, name: &str) -> Service {
        Service {
            namespace: namespace.into(),
            name: name.into(),
            cluster_ip: "10.0.0.1".into(),
            ports: vec![Port {
                name: "https".into(),
                port: 443,
                protocol: "TCP".into(),
            }],
        }
    }

    #[test]
    fn a_service_becomes_upstreams_variables() {
        let services = [service("default", "kubernetes")];
        let expected = [
            ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", "443"),
            ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
            ("KUBERNETES_PORT", "tcp://10.0.0.1:443"),
            ("KUBERNETES_PORT_443_TCP", "tcp://10.0.0.1:443"),
            ("KUBERNETES_PORT_443_TCP_PROTO", "tcp"),
            ("KUBERNETES_PORT_443_TCP_PORT", "443"),
            ("KUBERNETES_PORT_443_TCP_ADDR", "10.0.0.1"),
        ];
        let built = variables(services.iter(), "other", false);
        assert_eq!(
            built,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn links_are_of_the_pods_namespace() {
        let services = [
            service("default", "kubernetes"),
            service("a", "web-1"),
            service("b", "db"),
        ];
        let names = |links| -> Vec<String> {
            variables(services.iter(), "a", links)
                .into_iter()
                .filter(|(name, _)| name.ends_with("_SERVICE_HOST"))
                .map(|(name, _)| name)
                .collect()
        };
        assert_eq!(
            names(true),
            ["KUBERNETES_SERVICE_HOST", "WEB_1_SERVICE_HOST"]
        );
        assert_eq!(names(false), ["KUBERNETES_SERVICE_HOST"]);
    }
}
