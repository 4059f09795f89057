//! Roles and their bindings.

use serde_json::Value;

use crate::at::At;
use crate::errors::Errors;
use crate::get::Get;
use crate::kinds::check_selector;
use crate::meta::NameRule;
use crate::strategy::Rules;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn extend_role(rules: &mut Rules) {
    rules.check = |role, errors| check_rules(role, true, errors);
    rules.check_update = |new, _, errors| check_rules(new, true, errors);
}

pub(super) fn extend_cluster_role(rules: &mut Rules) {
    rules.check = check_cluster_role;
    rules.check_update = |new, _, errors| check_cluster_role(new, errors);
}

pub(super) fn extend_binding(rules: &mut Rules) {
    rules.check = |binding, errors| check_binding(binding, true, errors);
    rules.check_update = |new, old, errors| {
        check_binding(new, true, errors);
        check_same_role(new, old, errors);
    };
}

pub(super) fn extend_cluster_binding(rules: &mut Rules) {
    rules.check = |binding, errors| check_binding(binding, false, errors);
    rules.check_update = |new, old, errors| {
        check_binding(new, false, errors);
        check_same_role(new, old, errors);
    };
}

fn check_cluster_role(role: &Value, errors: &mut Errors) {
    check_rules(role, false, errors);
    let aggregation = role.at("aggregationRule");
    if aggregation.is_null() {
        return;
    }
    let at = At::root("aggregationRule");
    let list = at.child("clusterRoleSelectors");
    let selectors = aggregation.items("clusterRoleSelectors");
    if selectors.is_empty() {
        errors.required(
            &list,
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        );
    }
    for (index, selector) in selectors.iter().enumerate() {
        check_selector(selector, &list.index(index), errors);
    }
}

fn check_rules(role: &Value, namespaced: bool, errors: &mut Errors) {
    let list = At::root("rules");
    for (index, rule) in role.items("rules").iter().enumerate() {
        let at = list.index(index);
        if rule.items("verbs").is_empty() {
            errors.required(&at.child("verbs"), "verbs must contain at least one value");
        }
        let urls = rule.items("nonResourceURLs");
        if !urls.is_empty() {
            let at = at.child("nonResourceURLs");
            if namespaced {
                errors.invalid(
                    &at,
                    urls.to_vec(),
                    "namespaced rules cannot apply to non-resource URLs",
                );
            }
            let also = ["apiGroups", "resources", "resourceNames"]
                .iter()
                .any(|field| !rule.items(field).is_empty());
            if also {
                errors.invalid(
                    &at,
                    urls.to_vec(),
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
            continue;
        }
        for (field, what) in [("apiGroups", "api group"), ("resources", "resource")] {
            if rule.items(field).is_empty() {
                errors.required(
                    &at.child(field),
                    &format!("resource rules must supply at least one {what}"),
                );
            }
        }
    }
}

fn check_binding(binding: &Value, namespaced: bool, errors: &mut Errors) {
    let role = binding.at("roleRef");
    let at = At::root("roleRef");
    if role.text("apiGroup") != GROUP {
        errors.not_supported(&at.child("apiGroup"), role.text("apiGroup"), &[GROUP]);
    }
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    if !kinds.contains(&role.text("kind")) {
        errors.not_supported(&at.child("kind"), role.text("kind"), kinds);
    }
    let name = role.text("name");
    if name.is_empty() {
        errors.required(&at.child("name"), "");
    } else {
        errors.all_invalid(
            &at.child("name"),
            name,
            NameRule::PathSegment.check(name, false),
        );
    }
    let list = At::root("subjects");
    for (index, subject) in binding.items("subjects").iter().enumerate() {
        check_subject(subject, namespaced, &list.index(index), errors);
    }
}

fn check_subject(subject: &Value, namespaced: bool, at: &At, errors: &mut Errors) {
    let (name, group) = (subject.text("name"), subject.text("apiGroup"));
    if name.is_empty() {
        errors.required(&at.child("name"), "");
    }
    match subject.text("kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                errors.all_invalid(
                    &at.child("name"),
                    name,
                    NameRule::Subdomain.check(name, false),
                );
            }
            if !group.is_empty() {
                errors.not_supported(&at.child("apiGroup"), group, &[""]);
            }
            if !namespaced && subject.text("namespace").is_empty() {
                errors.required(&at.child("namespace"), "");
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.not_supported(&at.child("apiGroup"), group, &[GROUP]);
            }
        }
        other => errors.not_supported(
            &at.child("kind"),
            other,
            &["ServiceAccount", "User", "Group"],
        ),
    }
}

fn check_same_role(new: &Value, old: &Value, errors: &mut Errors) {
    if new.at("roleRef") != old.at("roleRef") {
        errors.invalid(
            &At::root("roleRef"),
            new.at("roleRef").clone(),
            "cannot change roleRef",
        );
    }
}
