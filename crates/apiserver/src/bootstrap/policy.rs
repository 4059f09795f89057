//! The default RBAC policy, read from its table into objects. Aggregated roles come with their rules filled in, so
//! that they hold before any controller runs.

use serde_json::{Value, json};

const POLICY: &str = include_str!("policy.txt");
const GROUP: &str = "rbac.authorization.k8s.io";

/// One default object: plural, namespace (empty for cluster-wide ones), name, body.
pub(crate) struct Default {
    pub(crate) plural: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) object: Value,
}

/// All default roles and bindings.
pub(crate) fn defaults() -> Vec<Default> {
    let mut all: Vec<Default> = Vec::new();
    for line in POLICY.lines() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if let Some(rule) = line.strip_prefix("  ") {
            let role = all.last_mut().expect("the table starts with a role");
            let rules = role.object["rules"]
                .as_array_mut()
                .expect("roles have rules");
            rules.push(self::rule(rule));
        } else {
            all.push(header(line));
        }
    }
    fill_aggregated(&mut all);
    all.iter_mut().for_each(share_with_controller_manager);
    all
}

/// Upstream runs each controller under an account of its own; ours are one process with one identity, which gets
/// what those accounts get together.
fn share_with_controller_manager(default: &mut Default) {
    if !default.plural.ends_with("bindings") || !default.name.starts_with("system:controller:") {
        return;
    }
    if let Some(subjects) = default.object["subjects"].as_array_mut() {
        subjects.push(json!({
            "apiGroup": GROUP, "kind": "User", "name": "system:kube-controller-manager",
        }));
    }
}

fn split(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).collect()
}

fn rule(line: &str) -> Value {
    if let Some((verbs, urls)) = line.split_once(" / ") {
        return json!({ "verbs": split(verbs), "nonResourceURLs": split(urls) });
    }
    let mut parts = line.split(" | ");
    let mut next = || parts.next().unwrap_or("");
    let (verbs, groups, resources, names) = (next(), next(), next(), next());
    let groups: Vec<&str> = split(groups)
        .into_iter()
        .map(|group| if group == "-" { "" } else { group })
        .collect();
    let mut rule =
        json!({ "verbs": split(verbs), "apiGroups": groups, "resources": split(resources) });
    if !names.is_empty() {
        rule["resourceNames"] = json!(split(names));
    }
    rule
}

fn header(line: &str) -> Default {
    let (head, subjects) = match line.split_once(": ") {
        Some((head, subjects)) => (head, subjects),
        None => (line.trim_end_matches(':'), ""),
    };
    let mut words = head.split(' ');
    let kind = words.next().unwrap_or("");
    let namespace = if matches!(kind, "role" | "rolebinding") {
        words.next().unwrap_or("")
    } else {
        ""
    };
    let name = words.next().unwrap_or("");
    let mut object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {
            "name": name,
            "annotations": { "rbac.authorization.kubernetes.io/autoupdate": "true" },
            "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" },
        },
    });
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    let plural = match kind {
        "clusterrole" => {
            object["kind"] = "ClusterRole".into();
            object["rules"] = json!([]);
            label(&mut object, words);
            "clusterroles"
        }
        "role" => {
            object["kind"] = "Role".into();
            object["rules"] = json!([]);
            "roles"
        }
        "clusterrolebinding" => {
            object["kind"] = "ClusterRoleBinding".into();
            let role = words.next().unwrap_or("");
            object["roleRef"] = json!({ "apiGroup": GROUP, "kind": "ClusterRole", "name": role });
            bind(&mut object, subjects);
            "clusterrolebindings"
        }
        _ => {
            object["kind"] = "RoleBinding".into();
            let (kind, role) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            object["roleRef"] = json!({ "apiGroup": GROUP, "kind": kind, "name": role });
            bind(&mut object, subjects);
            "rolebindings"
        }
    };
    Default {
        plural,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        object,
    }
}

fn label<'a>(object: &mut Value, words: impl Iterator<Item = &'a str>) {
    for word in words {
        match word.split_once('=') {
            Some(("aggregate", label)) => {
                object["aggregationRule"] =
                    json!({ "clusterRoleSelectors": [{ "matchLabels": { label: "true" } }] });
            }
            Some((label, value)) => object["metadata"]["labels"][label] = value.into(),
            None => {}
        }
    }
}

fn bind(object: &mut Value, subjects: &str) {
    let subjects: Vec<Value> = subjects
        .split(' ')
        .filter_map(|subject| subject.split_once('='))
        .map(|(kind, name)| match name.split_once('/') {
            Some((namespace, name)) if kind == "ServiceAccount" => {
                json!({ "kind": kind, "name": name, "namespace": namespace })
            }
            _ => json!({ "apiGroup": GROUP, "kind": kind, "name": name }),
        })
        .collect();
    if !subjects.is_empty() {
        object["subjects"] = subjects.into();
    }
}

/// Gives aggregated roles the rules of the roles that they select; twice, because `admin` selects `edit`.
fn fill_aggregated(all: &mut [Default]) {
    for _ in 0..3 {
        for index in 0..all.len() {
            let selectors = &all[index].object["aggregationRule"]["clusterRoleSelectors"];
            let Some(wanted) = selectors[0]["matchLabels"].as_object().cloned() else {
                continue;
            };
            let mut rules: Vec<Value> = Vec::new();
            for (position, other) in all.iter().enumerate() {
                let labels = &other.object["metadata"]["labels"];
                let selected = wanted
                    .iter()
                    .all(|(key, value)| labels.get(key) == Some(value));
                if position == index || !selected {
                    continue;
                }
                for rule in other.object["rules"].as_array().into_iter().flatten() {
                    if !rules.contains(rule) {
                        rules.push(rule.clone());
                    }
                }
            }
            all[index].object["rules"] = rules.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(all: &'a [Default], plural: &str, name: &str) -> &'a Value {
        &all.iter()
            .find(|one| one.plural == plural && one.name == name)
            .unwrap()
            .object
    }

    #[test]
    fn the_table_reads_into_roles_and_bindings() {
        let all = defaults();
        let admin = find(&all, "clusterroles", "cluster-admin");
        assert_eq!(admin["rules"][0]["apiGroups"], json!(["*"]));
        assert_eq!(admin["rules"][1]["nonResourceURLs"], json!(["*"]));
        let binding = find(&all, "clusterrolebindings", "cluster-admin");
        assert_eq!(binding["subjects"][0]["name"], "system:masters");
        let leader = find(
            &all,
            "rolebindings",
            "system::leader-locking-kube-scheduler",
        );
        assert_eq!(leader["metadata"]["namespace"], "kube-system");
        assert_eq!(leader["roleRef"]["kind"], "Role");
        let node = find(&all, "clusterrolebindings", "system:node");
        assert_eq!(node["roleRef"]["name"], "system:node");
        assert!(node.get("subjects").is_none());
    }

    #[test]
    fn the_scheduler_may_read_groups_and_say_what_became_of_them() {
        let all = defaults();
        let rules = &find(&all, "clusterroles", "system:kube-scheduler")["rules"];
        for (resource, verb) in [
            ("podgroups", "watch"),
            ("podgroups/status", "patch"),
            ("resourceclaims/status", "update"),
        ] {
            let mut rules = rules.as_array().unwrap().iter();
            let has = |list: &Value, word: &str| {
                let mut words = list.as_array().unwrap().iter();
                words.any(|own| own == word)
            };
            assert!(
                rules.any(|rule| has(&rule["resources"], resource) && has(&rule["verbs"], verb)),
                "{verb} {resource}"
            );
        }
    }

    #[test]
    fn aggregated_roles_hold_what_they_select() {
        let all = defaults();
        for role in ["admin", "edit", "view"] {
            let rules = find(&all, "clusterroles", role)["rules"]
                .as_array()
                .unwrap();
            let reads_pods = rules.iter().any(|rule| {
                let says = |field: &str, word: &str| {
                    rule[field]
                        .as_array()
                        .is_some_and(|list| list.iter().any(|v| v == word))
                };
                says("resources", "pods") && says("verbs", "list")
            });
            assert!(reads_pods, "{role}");
        }
    }
}
