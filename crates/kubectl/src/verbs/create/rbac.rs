//! Generators of roles and bindings.

use super::{CreateFlags, one_name};
use crate::context::Context;
use crate::failure::Failure;
use serde_json::{Value, json};

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";

/// Which requests a role allows.
#[derive(clap::Args, Debug, Clone)]
struct RuleFlags {
    /// Verb that applies to the resources contained in the rule
    #[arg(long = "verb", value_delimiter = ',')]
    verbs: Vec<String>,
    /// Resource that the rule applies to
    #[arg(long = "resource", value_delimiter = ',')]
    resources: Vec<String>,
    /// Resource in the white list that the rule applies to, repeat this flag for multiple items
    #[arg(long = "resource-name")]
    resource_names: Vec<String>,
}

impl RuleFlags {
    /// One rule for each group, in the order in which the groups come.
    async fn rules(&self, context: &Context) -> Result<Vec<Value>, Failure> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for word in &self.resources {
            let (resource, subresource) = match word.split_once('/') {
                Some((resource, subresource)) => (resource, format!("/{subresource}")),
                None => (word.as_str(), String::new()),
            };
            let (group, plural) = if resource == "*" {
                (String::new(), "*".to_owned())
            } else {
                let mapping = context.mapper().resource(context.rest().await?, resource).await?;
                (mapping.group, mapping.plural)
            };
            let name = format!("{plural}{subresource}");
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, names)) => names.push(name),
                None => groups.push((group, vec![name])),
            }
        }
        Ok(groups
            .into_iter()
            .map(|(group, resources)| {
                let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": self.verbs});
                if !self.resource_names.is_empty() {
                    rule["resourceNames"] = json!(self.resource_names);
                }
                rule
            })
            .collect())
    }
}

/// Create a role with single rule
#[derive(clap::Args, Debug)]
pub(super) struct Role {
    names: Vec<String>,
    #[command(flatten)]
    rule: RuleFlags,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl Role {
    pub(super) async fn object(&self, context: &Context) -> Result<Value, Failure> {
        let name = one_name(&self.names, "role")?;
        if self.rule.verbs.is_empty() {
            return Err(Failure::message("at least one verb must be specified"));
        }
        if self.rule.resources.is_empty() {
            return Err(Failure::message("at least one resource must be specified"));
        }
        Ok(json!({
            "apiVersion": API_VERSION,
            "kind": "Role",
            "metadata": {"name": name},
            "rules": self.rule.rules(context).await?,
        }))
    }
}

/// Create a cluster role
#[derive(clap::Args, Debug)]
pub(super) struct ClusterRole {
    names: Vec<String>,
    #[command(flatten)]
    rule: RuleFlags,
    /// A partial url that user should have access to
    #[arg(long = "non-resource-url")]
    non_resource_urls: Vec<String>,
    /// An aggregation label selector for combining ClusterRoles (key=value)
    #[arg(long, value_delimiter = ',')]
    aggregation_rule: Vec<String>,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl ClusterRole {
    pub(super) async fn object(&self, context: &Context) -> Result<Value, Failure> {
        let name = one_name(&self.names, "clusterrole")?;
        let mut object = json!({"apiVersion": API_VERSION, "kind": "ClusterRole", "metadata": {"name": name}});
        if !self.aggregation_rule.is_empty() {
            let mut labels = json!({});
            for item in &self.aggregation_rule {
                let (key, value) = super::pair(item, "aggregation-rule")?;
                labels[key] = json!(value);
            }
            object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
            object["rules"] = json!([]);
            return Ok(object);
        }
        if self.rule.verbs.is_empty() {
            return Err(Failure::message("at least one verb must be specified"));
        }
        if self.rule.resources.is_empty() && self.non_resource_urls.is_empty() {
            return Err(Failure::message("one of resource or nonResourceURL must be specified"));
        }
        let mut rules = self.rule.rules(context).await?;
        if !self.non_resource_urls.is_empty() {
            rules.push(json!({"nonResourceURLs": self.non_resource_urls, "verbs": self.rule.verbs}));
        }
        object["rules"] = json!(rules);
        Ok(object)
    }
}

/// Whom a binding is for.
#[derive(clap::Args, Debug, Clone)]
struct SubjectFlags {
    /// Usernames to bind to the role
    #[arg(long = "subject-user")]
    users: Vec<String>,
    /// Groups to bind to the role
    #[arg(long = "group")]
    groups: Vec<String>,
    /// Service accounts to bind to the role, in the format <namespace>:<name>
    #[arg(long = "serviceaccount")]
    service_accounts: Vec<String>,
}

impl SubjectFlags {
    fn subjects(&self) -> Result<Vec<Value>, Failure> {
        let of = |kind: &str, name: &String| json!({"kind": kind, "apiGroup": GROUP, "name": name});
        let mut subjects: Vec<Value> = self.users.iter().map(|name| of("User", name)).collect();
        subjects.extend(self.groups.iter().map(|name| of("Group", name)));
        for account in &self.service_accounts {
            let parts: Vec<&str> = account.split(':').collect();
            let [namespace, name] = parts.as_slice() else {
                return Err(Failure::message("serviceaccount must be <namespace>:<name>"));
            };
            subjects.push(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
        }
        Ok(subjects)
    }
}

/// Create a role binding for a particular role or cluster role
#[derive(clap::Args, Debug)]
pub(super) struct RoleBinding {
    names: Vec<String>,
    /// ClusterRole this RoleBinding should reference
    #[arg(long)]
    clusterrole: Option<String>,
    /// Role this RoleBinding should reference
    #[arg(long)]
    role: Option<String>,
    #[command(flatten)]
    subjects: SubjectFlags,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl RoleBinding {
    pub(super) fn object(&self) -> Result<Value, Failure> {
        let name = one_name(&self.names, "rolebinding")?;
        let (kind, role) = match (&self.clusterrole, &self.role) {
            (Some(role), None) => ("ClusterRole", role),
            (None, Some(role)) => ("Role", role),
            _ => return Err(Failure::message("exactly one of clusterrole or role must be specified")),
        };
        binding("RoleBinding", name, kind, role, &self.subjects)
    }
}

/// Create a cluster role binding for a particular cluster role
#[derive(clap::Args, Debug)]
pub(super) struct ClusterRoleBinding {
    names: Vec<String>,
    /// ClusterRole this ClusterRoleBinding should reference
    #[arg(long)]
    clusterrole: Option<String>,
    #[command(flatten)]
    subjects: SubjectFlags,
    #[command(flatten)]
    pub(super) flags: CreateFlags,
}

impl ClusterRoleBinding {
    pub(super) fn object(&self) -> Result<Value, Failure> {
        let name = one_name(&self.names, "clusterrolebinding")?;
        let Some(role) = &self.clusterrole else {
            return Err(Failure::message("required flag(s) \"clusterrole\" not set"));
        };
        binding("ClusterRoleBinding", name, "ClusterRole", role, &self.subjects)
    }
}

fn binding(kind: &str, name: &str, role_kind: &str, role: &str, subjects: &SubjectFlags) -> Result<Value, Failure> {
    let mut object = json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role},
    });
    let subjects = subjects.subjects()?;
    if !subjects.is_empty() {
        object["subjects"] = json!(subjects);
    }
    Ok(object)
}
