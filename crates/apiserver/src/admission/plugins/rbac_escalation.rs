//! Nobody grants what they do not hold: roles and bindings are checked against their author's own rules, unless the
//! author may `escalate` or `bind`. Upstream does this in the storage of the RBAC kinds; it cannot be turned off.

use async_trait::async_trait;
use fluyt_api::status::Status;
use serde_json::Value;

use crate::admission::{Attributes, Operation, Plugin};
use crate::authz::Question;
use crate::authz::rbac::{Rule, missing};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) struct RbacEscalation;

#[async_trait]
impl Plugin for RbacEscalation {
    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.resource.group == GROUP
            && attributes.operation != Operation::Delete
            && attributes.core.authorizer.uses_rbac()
            && !attributes.user.is_master()
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: &Value) -> Result<(), Status> {
        let binding = attributes.resource.plural.ends_with("bindings");
        let field = if binding { "subjects" } else { "rules" };
        if attributes
            .old
            .is_some_and(|old| old[field] == object[field] && old["roleRef"] == object["roleRef"])
        {
            return Ok(());
        }
        let role = &object["roleRef"];
        let (verb, resource, name) = if binding {
            let kind = if role["kind"] == "Role" {
                "roles"
            } else {
                "clusterroles"
            };
            ("bind", kind, role["name"].as_str().unwrap_or(""))
        } else {
            let name = object["metadata"]["name"].as_str().unwrap_or("");
            ("escalate", attributes.resource.plural, name)
        };
        let question = Question {
            verb,
            group: GROUP,
            resource,
            namespace: attributes.namespace,
            name,
            ..Default::default()
        };
        let authorizer = &attributes.core.authorizer;
        if authorizer
            .decide(attributes.core, attributes.user, &question)
            .await
            .allowed
        {
            return Ok(());
        }
        let wanted: Vec<Rule> = if binding {
            let namespace = if resource == "roles" {
                attributes.namespace
            } else {
                ""
            };
            match authorizer.rbac.role(namespace, name) {
                Some(rules) => rules.to_vec(),
                None => return Err(Status::not_found(&format!("{resource}.{GROUP}"), name)),
            }
        } else {
            serde_json::from_value(object["rules"].clone()).unwrap_or_default()
        };
        let held = authorizer
            .rbac
            .rules_of(attributes.user, attributes.namespace);
        let missing = missing(&held, &wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = missing.iter().map(describe).collect();
        Err(attributes.forbidden(format!(
            "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
            attributes.user.name,
            attributes.user.groups,
            lines.join("\n")
        )))
    }
}

fn describe(rule: &Rule) -> String {
    let mut parts = Vec::new();
    for (name, list) in [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.resource_names),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("Verbs", &rule.verbs),
    ] {
        if !list.is_empty() {
            parts.push(format!("{name}:{list:?}"));
        }
    }
    format!("{{{}}}", parts.join(", "))
}
