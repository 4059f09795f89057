//! Roles and their bindings.

use std::collections::HashMap;

use super::Facts;
use super::parts::{annotations, labels};
use super::writer::Writer;
use crate::object::Object;
use serde_json::Value;

/// Of a Role or a ClusterRole: what may be done to what, one line for each resource.
pub(crate) fn role(object: &Value, _: &Facts) -> String {
    let mut w = heading(object);
    w.line(0, "PolicyRule:");
    w.line(1, "Resources\tNon-Resource URLs\tResource Names\tVerbs");
    w.line(1, "---------\t-----------------\t--------------\t-----");
    for line in rule_lines(object.list("rules")) {
        w.line(1, line);
    }
    w.finish()
}

/// Policy rules as rows: one for each resource (and name) with all its verbs, in the order of their text in Go.
pub(crate) fn rule_lines(rules: &[Value]) -> Vec<String> {
    let row = |rule: &Rule<'_>| {
        format!(
            "{}\t{}\t{}\t{}",
            rule.target(),
            bracketed(rule.url.as_slice()),
            bracketed(rule.name.as_slice()),
            bracketed(&rule.verbs)
        )
    };
    compact(rules).iter().map(row).collect()
}

/// Of a RoleBinding or a ClusterRoleBinding.
pub(crate) fn binding(object: &Value, _: &Facts) -> String {
    let mut w = heading(object);
    w.line(0, "Role:");
    w.field(1, "Kind", object.text("roleRef.kind"));
    w.field(1, "Name", object.text("roleRef.name"));
    w.line(0, "Subjects:");
    w.line(1, "Kind\tName\tNamespace");
    w.line(1, "----\t----\t---------");
    for subject in object.list("subjects") {
        let (kind, name) = (subject.text("kind"), subject.text("name"));
        w.line(1, format!("{kind}\t{name}\t{}", subject.text("namespace")));
    }
    w.finish()
}

fn heading(object: &Value) -> Writer {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    w
}

fn bracketed(words: &[&str]) -> String {
    format!("[{}]", words.join(" "))
}

/// The smallest piece of a policy rule, with the verbs of all pieces about the same resource (and name).
struct Rule<'a> {
    /// API group and resource.
    resource: Option<(&'a str, &'a str)>,
    name: Option<&'a str>,
    url: Option<&'a str>,
    verbs: Vec<&'a str>,
}

impl Rule<'_> {
    /// `pods`, `deployments.apps/scale`; nothing for a URL.
    fn target(&self) -> String {
        let Some((group, resource)) = self.resource else {
            return String::new();
        };
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, subresource)) => (resource, format!("/{subresource}")),
            None => (resource, String::new()),
        };
        match group {
            "" => format!("{resource}{subresource}"),
            group => format!("{resource}.{group}{subresource}"),
        }
    }

    /// The text in Go by which rules are sorted.
    fn order(&self) -> String {
        let (group, resource) = self.resource.unzip();
        format!(
            "Verbs:{},APIGroups:{},Resources:{},ResourceNames:{},NonResourceURLs:{},",
            bracketed(&self.verbs),
            bracketed(group.as_slice()),
            bracketed(resource.as_slice()),
            bracketed(self.name.as_slice()),
            bracketed(self.url.as_slice()),
        )
    }
}

fn compact(rules: &[Value]) -> Vec<Rule<'_>> {
    let mut found: Vec<Rule<'_>> = Vec::new();
    let mut places = HashMap::new();
    for ((group, resource), name, verb) in rules.iter().flat_map(on_resources) {
        let place = *places.entry((group, resource, name)).or_insert(found.len());
        if place == found.len() {
            found.push(Rule {
                resource: Some((group, resource)),
                name,
                url: None,
                verbs: Vec::new(),
            });
        }
        if !found[place].verbs.contains(&verb) {
            found[place].verbs.push(verb);
        }
    }
    found.extend(rules.iter().flat_map(on_urls));
    found.sort_by_cached_key(Rule::order);
    found
}

/// A group with a resource, a name if the rule has any, a verb.
type OnResource<'a> = ((&'a str, &'a str), Option<&'a str>, &'a str);

/// A rule taken apart, as far as it is about resources.
fn on_resources(rule: &Value) -> Vec<OnResource<'_>> {
    let text = |field: &str| strings(rule, field);
    let (resources, verbs) = (text("resources"), text("verbs"));
    let names = match text("resourceNames") {
        names if names.is_empty() => vec![None],
        names => names.into_iter().map(Some).collect(),
    };
    let mut found = Vec::new();
    for group in text("apiGroups") {
        for resource in &resources {
            for verb in &verbs {
                found.extend(names.iter().map(|name| ((group, *resource), *name, *verb)));
            }
        }
    }
    found
}

/// A rule taken apart, as far as it is about URLs: these stay apart.
fn on_urls(rule: &Value) -> Vec<Rule<'_>> {
    let verbs = strings(rule, "verbs");
    let of_url = |url| {
        verbs.iter().map(move |verb| Rule {
            resource: None,
            name: None,
            url: Some(url),
            verbs: vec![*verb],
        })
    };
    let urls = strings(rule, "nonResourceURLs");
    urls.into_iter().flat_map(of_url).collect()
}

fn strings<'a>(rule: &'a Value, field: &str) -> Vec<&'a str> {
    rule.list(field).iter().filter_map(Value::as_str).collect()
}
