//! The files that a pod finds in /etc: hosts and what resolv.conf is made of.

use crate::api::{HostAlias, Pod};
use crate::model::{host_network, namespace};

/// What resolv.conf says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

/// The cluster's DNS as the kubelet was told.
#[derive(Clone, Debug, Default)]
pub struct ClusterDns {
    pub servers: Vec<String>,
    pub domain: String,
}

/// Reads the node's resolv.conf.
pub fn parse_resolv_conf(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            Some("search") => dns.searches = words.map(str::to_owned).collect(),
            Some("options") => dns.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    dns
}

/// The pod's DNS by its policy.
pub fn dns(pod: &Pod, cluster: &ClusterDns, host: &Dns) -> Dns {
    let spec = pod.spec.as_ref();
    let policy = spec
        .and_then(|spec| spec.dns_policy.as_deref())
        .unwrap_or("ClusterFirst");
    let with_cluster = match policy {
        "ClusterFirst" => !host_network(pod),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut dns = if policy == "None" {
        Dns::default()
    } else if with_cluster && !cluster.servers.is_empty() {
        cluster_first(pod, cluster, host)
    } else {
        host.clone()
    };
    if let Some(config) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        append(&mut dns.servers, config.nameservers.iter().flatten());
        append(&mut dns.searches, config.searches.iter().flatten());
        for option in config.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            // The pod's option takes the place of one of the same name.
            dns.options
                .retain(|known| known.split(':').next() != Some(name));
            dns.options.push(match &option.value {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name.clone(),
            });
        }
    }
    dns
}

fn cluster_first(pod: &Pod, cluster: &ClusterDns, host: &Dns) -> Dns {
    let mut searches = Vec::new();
    if !cluster.domain.is_empty() {
        let domain = &cluster.domain;
        searches.push(format!("{}.svc.{domain}", namespace(pod)));
        searches.push(format!("svc.{domain}"));
        searches.push(domain.clone());
    }
    append(&mut searches, host.searches.iter());
    Dns {
        servers: cluster.servers.clone(),
        searches,
        options: vec!["ndots:5".to_owned()],
    }
}

fn append<'a>(list: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

/// The pod's host name and, if it has a subdomain, its domain.
pub fn hostname(pod: &Pod, cluster_domain: &str) -> (String, Option<String>) {
    let spec = pod.spec.as_ref();
    let name = crate::model::name(pod);
    let chosen = spec
        .and_then(|spec| spec.hostname.clone())
        .filter(|name| !name.is_empty());
    let mut host = chosen.unwrap_or_else(|| name.to_owned());
    // The kernel's limit; a name must not end in a separator.
    host.truncate(63);
    let host = host.trim_end_matches(['-', '.']).to_owned();
    let subdomain = spec
        .and_then(|spec| spec.subdomain.as_deref())
        .filter(|name| !name.is_empty());
    let domain = subdomain.map(|sub| format!("{sub}.{}.svc.{cluster_domain}", namespace(pod)));
    (host, domain)
}

/// /etc/hosts of a pod with a network of its own.
pub fn hosts(ips: &[String], host: &str, domain: Option<&str>, aliases: &[HostAlias]) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    for ip in ips {
        match domain {
            Some(domain) => text.push_str(&format!("{ip}\t{host}.{domain}\t{host}\n")),
            None => text.push_str(&format!("{ip}\t{host}\n")),
        }
    }
    text.push_str(&alias_lines(aliases));
    text
}

/// /etc/hosts of a pod with the node's network: the node's file and the pod's aliases.
pub fn host_network_hosts(node_hosts: &str, aliases: &[HostAlias]) -> String {
    format!(
        "# Kubernetes-managed hosts file (host network).\n{node_hosts}{}",
        alias_lines(aliases)
    )
}

fn alias_lines(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}))
            .unwrap()
    }

    fn cluster() -> ClusterDns {
        ClusterDns {
            servers: vec!["10.0.0.10".into()],
            domain: "cluster.local".into(),
        }
    }

    #[test]
    fn dns_by_policy() {
        let host =
            parse_resolv_conf("# c\nnameserver 1.1.1.1\nsearch example.org\noptions edns0\n");
        let first =
            "10.0.0.10|n.svc.cluster.local svc.cluster.local cluster.local example.org|ndots:5";
        let table = [
            (json!({"containers": []}), first),
            (
                json!({"containers": [], "dnsPolicy": "Default"}),
                "1.1.1.1|example.org|edns0",
            ),
            (
                json!({"containers": [], "hostNetwork": true}),
                "1.1.1.1|example.org|edns0",
            ),
            (
                json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
                first,
            ),
            (
                json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {
                "nameservers": ["9.9.9.9"], "options": [{"name": "ndots", "value": "2"}]}}),
                "9.9.9.9||ndots:2",
            ),
        ];
        for (spec, expected) in table {
            let dns = dns(&pod(spec.clone()), &cluster(), &host);
            let text = format!(
                "{}|{}|{}",
                dns.servers.join(" "),
                dns.searches.join(" "),
                dns.options.join(" ")
            );
            assert_eq!(text, expected, "{spec}");
        }
    }

    #[test]
    fn a_pods_option_replaces_the_default() {
        let pod = pod(
            json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}),
        );
        assert_eq!(dns(&pod, &cluster(), &Dns::default()).options, ["ndots:1"]);
    }

    #[test]
    fn hosts_names_the_pod_and_its_aliases() {
        let aliases = vec![HostAlias {
            ip: "1.2.3.4".into(),
            hostnames: Some(vec!["x".into(), "y".into()]),
        }];
        let text = hosts(
            &["10.0.0.2".into()],
            "p",
            Some("sub.n.svc.cluster.local"),
            &aliases,
        );
        assert!(text.contains("10.0.0.2\tp.sub.n.svc.cluster.local\tp\n"));
        assert!(text.ends_with("\n# Entries added by HostAliases.\n1.2.3.4\tx\ty\n"));
    }

    #[test]
    fn long_names_are_cut() {
        let mut long = pod(json!({"containers": []}));
        long.metadata.name = Some(format!("{}-abc", "x".repeat(62)));
        assert_eq!(hostname(&long, "cluster.local").0, "x".repeat(62));
    }
}
