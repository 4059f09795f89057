//! Which form of name each kind demands.
//!
//! Invariant: a kind that is not listed has DNS subdomain names, as almost all have.

use fluyt_api::catalogue::Resource;
use fluyt_api::names;

/// A form of name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain.
    Subdomain,
    /// RFC 1123 label.
    Label,
    /// Anything that can stand between two slashes of a path.
    PathSegment,
    /// The canonical text of an IP address.
    Ip,
}

/// The form of names of a resource.
pub fn name_rule(resource: &Resource) -> NameRule {
    match (resource.group, resource.kind) {
        ("", "Namespace" | "Service") | ("apps", "StatefulSet") => NameRule::Label,
        ("networking.k8s.io", "IPAddress") => NameRule::Ip,
        ("rbac.authorization.k8s.io", _)
        | ("certificates.k8s.io", _)
        | ("internal.apiserver.k8s.io", _) => NameRule::PathSegment,
        _ => NameRule::Subdomain,
    }
}

impl NameRule {
    /// What is wrong with a name, in upstream's words. `prefix`: the name gets a suffix later.
    pub fn check(self, name: &str, prefix: bool) -> Vec<String> {
        let masked;
        let name = if prefix && matches!(self, NameRule::Subdomain | NameRule::Label) {
            masked = mask_trailing_dash(name);
            masked.as_str()
        } else {
            name
        };
        match self {
            NameRule::Subdomain => names::dns1123_subdomain(name),
            NameRule::Label => names::dns1123_label(name),
            NameRule::PathSegment => path_segment(name, prefix),
            NameRule::Ip => match name.parse::<std::net::IpAddr>() {
                Ok(ip) if ip.to_string() == name => Vec::new(),
                Ok(ip) => vec![format!("must be in canonical form (\"{ip}\")")],
                Err(_) => {
                    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
                }
            },
        }
    }
}

/// A dash at the end of a prefix is fine: characters follow.
fn mask_trailing_dash(name: &str) -> String {
    match name.strip_suffix('-') {
        Some(head) if name.len() > 1 => format!("{head}a"),
        _ => name.to_owned(),
    }
}

/// What is wrong with a name as part of a path.
pub(crate) fn path_segment(name: &str, prefix: bool) -> Vec<String> {
    if !prefix && (name == "." || name == "..") {
        return vec![format!("may not be '{name}'")];
    }
    ['/', '%']
        .iter()
        .filter(|c| name.contains(**c))
        .map(|c| format!("may not contain '{c}'"))
        .collect()
}
