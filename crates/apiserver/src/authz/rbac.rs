//! Role-based access control over an index by subject, kept up to date from watches on the four RBAC kinds: a
//! request looks only at the bindings of its own user and groups.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::RwLock;
use serde::Deserialize;

use super::{Decision, Question};
use crate::authn::User;

/// A PolicyRule.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    #[serde(deserialize_with = "nullable")]
    pub(crate) verbs: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) api_groups: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) resources: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", deserialize_with = "nullable")]
    pub(crate) non_resource_urls: Vec<String>,
}

fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Role {
    #[serde(default, deserialize_with = "nullable")]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    role_ref: RoleRef,
    #[serde(default, deserialize_with = "nullable")]
    subjects: Vec<Subject>,
}

#[derive(Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

/// A subject as the index knows it; service accounts are users by their full name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum SubjectKey {
    User(String),
    Group(String),
}

/// A (cluster) role or binding: its namespace is empty when it is cluster-wide.
type ObjectKey = (String, String);

/// What a binding gives to each of its subjects.
#[derive(Clone, Debug)]
struct Grant {
    /// Where the grant holds; empty for everywhere.
    namespace: String,
    role: ObjectKey,
    binding: ObjectKey,
}

#[derive(Default)]
struct Tables {
    roles: HashMap<ObjectKey, Arc<[Rule]>>,
    bindings: HashMap<ObjectKey, Vec<SubjectKey>>,
    grants: HashMap<SubjectKey, Vec<Grant>>,
}

/// Which of the four kinds an object is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Role,
    Binding,
}

/// The index; reading takes a shared lock that is never held across an await.
#[derive(Default)]
pub(crate) struct Index {
    tables: RwLock<Tables>,
}

impl Index {
    /// Takes in an object's new state; `None` means that it is gone. An object that does not decode counts as gone.
    pub(crate) fn update(&self, kind: Kind, namespace: &str, name: &str, value: Option<&[u8]>) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut tables = self.tables.write();
        match kind {
            Kind::Role => {
                let rules = value.and_then(|value| serde_json::from_slice::<Role>(value).ok());
                match rules {
                    Some(role) => tables.roles.insert(key, role.rules.into()),
                    None => tables.roles.remove(&key),
                };
            }
            Kind::Binding => {
                tables.unbind(&key);
                let binding = value.and_then(|value| serde_json::from_slice::<Binding>(value).ok());
                if let Some(binding) = binding {
                    tables.bind(key, binding);
                }
            }
        }
    }

    /// Whether RBAC allows it, and through which binding.
    pub(crate) fn decide(&self, user: &User, question: &Question<'_>) -> Decision {
        let mut reason = None;
        self.visit(user, question.namespace, |grant, rules| {
            if rules.iter().any(|rule| rule.allows(question)) {
                reason = Some(describe(grant, user));
                return false;
            }
            true
        });
        match reason {
            Some(reason) => Decision::allow(reason),
            None => Decision::default(),
        }
    }

    /// All rules that hold for the user in a namespace.
    pub(crate) fn rules_of(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let mut all = Vec::new();
        self.visit(user, namespace, |_, rules| {
            all.extend(rules.iter().cloned());
            true
        });
        all
    }

    /// Whether an object has been taken in.
    pub(crate) fn holds(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        let tables = self.tables.read();
        match kind {
            Kind::Role => tables.roles.contains_key(&key),
            Kind::Binding => tables.bindings.contains_key(&key),
        }
    }

    /// The rules of a role, for escalation checks.
    pub(crate) fn role(&self, namespace: &str, name: &str) -> Option<Arc<[Rule]>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.tables.read().roles.get(&key).cloned()
    }

    /// Calls `see` with each grant that holds for the user in `namespace`, until it returns false.
    fn visit(&self, user: &User, namespace: &str, mut see: impl FnMut(&Grant, &[Rule]) -> bool) {
        let tables = self.tables.read();
        let own = std::iter::once(SubjectKey::User(user.name.clone()));
        let groups = user
            .groups
            .iter()
            .map(|group| SubjectKey::Group(group.clone()));
        for subject in own.chain(groups) {
            for grant in tables.grants.get(&subject).into_iter().flatten() {
                if !grant.namespace.is_empty() && grant.namespace != namespace {
                    continue;
                }
                let rules = tables.roles.get(&grant.role).map_or(&[][..], |rules| rules);
                if !see(grant, rules) {
                    return;
                }
            }
        }
    }
}

impl Tables {
    fn bind(&mut self, key: ObjectKey, binding: Binding) {
        let role_namespace = if binding.role_ref.kind == "ClusterRole" {
            String::new()
        } else {
            key.0.clone()
        };
        let grant = Grant {
            namespace: key.0.clone(),
            role: (role_namespace, binding.role_ref.name),
            binding: key.clone(),
        };
        let mut subjects = Vec::new();
        for subject in binding.subjects {
            let subject = match subject.kind.as_str() {
                "User" => SubjectKey::User(subject.name),
                "Group" => SubjectKey::Group(subject.name),
                "ServiceAccount" => {
                    let namespace = if subject.namespace.is_empty() {
                        &key.0
                    } else {
                        &subject.namespace
                    };
                    SubjectKey::User(format!(
                        "{}{namespace}:{}",
                        crate::authn::SERVICE_ACCOUNT_PREFIX,
                        subject.name
                    ))
                }
                _ => continue,
            };
            if subjects.contains(&subject) {
                continue;
            }
            self.grants
                .entry(subject.clone())
                .or_default()
                .push(grant.clone());
            subjects.push(subject);
        }
        self.bindings.insert(key, subjects);
    }

    fn unbind(&mut self, key: &ObjectKey) {
        for subject in self.bindings.remove(key).unwrap_or_default() {
            if let Some(grants) = self.grants.get_mut(&subject) {
                grants.retain(|grant| grant.binding != *key);
                if grants.is_empty() {
                    self.grants.remove(&subject);
                }
            }
        }
    }
}

fn describe(grant: &Grant, user: &User) -> String {
    let (namespace, name) = &grant.binding;
    let (kind, binding) = if namespace.is_empty() {
        ("ClusterRoleBinding", name.clone())
    } else {
        ("RoleBinding", format!("{name}/{namespace}"))
    };
    let role_kind = if grant.role.0.is_empty() {
        "ClusterRole"
    } else {
        "Role"
    };
    format!(
        "RBAC: allowed by {kind} {binding:?} of {role_kind} {:?} to User {:?}",
        grant.role.1, user.name
    )
}

fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry == word)
}

impl Rule {
    pub(crate) fn allows(&self, question: &Question<'_>) -> bool {
        if !has(&self.verbs, question.verb) {
            return false;
        }
        if let Some(path) = question.path {
            return self
                .non_resource_urls
                .iter()
                .any(|url| url_matches(url, path));
        }
        has(&self.api_groups, question.group)
            && self.names_resource(question)
            && (self.resource_names.is_empty()
                || self.resource_names.iter().any(|name| name == question.name))
    }

    fn names_resource(&self, question: &Question<'_>) -> bool {
        self.resources.iter().any(|resource| {
            if resource == "*" {
                return true;
            }
            match resource.split_once('/') {
                None => question.subresource.is_empty() && resource == question.resource,
                Some((main, sub)) => {
                    sub == question.subresource && (main == "*" || main == question.resource)
                }
            }
        })
    }

    /// Whether `self`, held by the user, covers the one-element rule `wanted`.
    fn covers_single(&self, wanted: &Rule) -> bool {
        if !wanted.non_resource_urls.is_empty() {
            return covers(&self.verbs, &wanted.verbs)
                && wanted.non_resource_urls.iter().all(|url| {
                    self.non_resource_urls
                        .iter()
                        .any(|held| url_matches(held, url))
                });
        }
        let names = self.resource_names.is_empty()
            || (!wanted.resource_names.is_empty()
                && wanted
                    .resource_names
                    .iter()
                    .all(|name| self.resource_names.contains(name)));
        covers(&self.verbs, &wanted.verbs)
            && covers(&self.api_groups, &wanted.api_groups)
            && wanted.resources.iter().all(|resource| {
                has(&self.resources, resource)
                    || resource
                        .split_once('/')
                        .is_some_and(|(_, sub)| self.resources.contains(&format!("*/{sub}")))
            })
            && names
    }

    /// The rule as rules of one verb, group, resource and name each.
    fn break_down(&self) -> Vec<Rule> {
        let one = |text: &String| vec![text.clone()];
        let mut out = Vec::new();
        for verb in &self.verbs {
            for url in &self.non_resource_urls {
                out.push(Rule {
                    verbs: one(verb),
                    non_resource_urls: one(url),
                    ..Default::default()
                });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    let base = Rule {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..Default::default()
                    };
                    if self.resource_names.is_empty() {
                        out.push(base.clone());
                    }
                    for name in &self.resource_names {
                        out.push(Rule {
                            resource_names: one(name),
                            ..base.clone()
                        });
                    }
                }
            }
        }
        out
    }
}

fn covers(held: &[String], wanted: &[String]) -> bool {
    let held: HashSet<&str> = held.iter().map(String::as_str).collect();
    held.contains("*") || wanted.iter().all(|word| held.contains(word.as_str()))
}

fn url_matches(pattern: &str, path: &str) -> bool {
    pattern == "*"
        || pattern == path
        || pattern
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix))
}

/// The single permissions of `wanted` that `held` does not cover.
pub(crate) fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    wanted
        .iter()
        .flat_map(Rule::break_down)
        .filter(|single| !held.iter().any(|rule| rule.covers_single(single)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, groups: &[&str]) -> User {
        User {
            name: name.into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Default::default()
        }
    }

    fn asks<'a>(verb: &'a str, resource: &'a str, namespace: &'a str) -> Question<'a> {
        Question {
            verb,
            resource,
            namespace,
            ..Default::default()
        }
    }

    #[test]
    fn grants_follow_their_bindings() {
        let index = Index::default();
        let role = br#"{"rules":[{"verbs":["get","list"],"apiGroups":[""],"resources":["pods","*/status"]}]}"#;
        index.update(Kind::Role, "", "reader", Some(role));
        let binding = br#"{"roleRef":{"kind":"ClusterRole","name":"reader"},"subjects":[{"kind":"ServiceAccount","name":"robot"},{"kind":"Group","name":"staff"}]}"#;
        index.update(Kind::Binding, "a", "readers", Some(binding));
        let robot = user("system:serviceaccount:a:robot", &[]);
        let staff = user("eve", &["staff"]);
        for user in [&robot, &staff] {
            assert!(index.decide(user, &asks("get", "pods", "a")).allowed);
            assert!(!index.decide(user, &asks("get", "pods", "b")).allowed);
            assert!(!index.decide(user, &asks("delete", "pods", "a")).allowed);
            let status = Question {
                subresource: "status",
                ..asks("get", "nodes", "a")
            };
            assert!(index.decide(user, &status).allowed);
            let log = Question {
                subresource: "log",
                ..asks("get", "pods", "a")
            };
            assert!(!index.decide(user, &log).allowed);
        }
        index.update(Kind::Binding, "a", "readers", None);
        assert!(!index.decide(&robot, &asks("get", "pods", "a")).allowed);
    }

    #[test]
    fn escalation_is_what_nobody_holds() {
        let rule = |text: &str| serde_json::from_str::<Rule>(text).unwrap();
        let held = [rule(
            r#"{"verbs":["get"],"apiGroups":["*"],"resources":["*"]}"#,
        )];
        let wanted = [rule(
            r#"{"verbs":["get","delete"],"apiGroups":[""],"resources":["pods"]}"#,
        )];
        let missing = missing(&held, &wanted);
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].verbs, ["delete"]);
    }
}
