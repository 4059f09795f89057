//! Who makes a request.

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const MASTERS: &str = "system:masters";
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
pub(crate) const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// The identity of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// An authenticated user of these groups.
    pub(crate) fn authenticated(name: &str, groups: impl IntoIterator<Item = String>) -> Arc<User> {
        let mut user = User {
            name: name.to_owned(),
            groups: groups.into_iter().collect(),
            ..Default::default()
        };
        user.add_authenticated();
        Arc::new(user)
    }

    pub(crate) fn add_authenticated(&mut self) {
        if !self.in_group(AUTHENTICATED) && !self.in_group(UNAUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
    }

    fn anonymous() -> Arc<User> {
        Arc::new(User {
            name: "system:anonymous".to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..Default::default()
        })
    }

    /// The one anonymous user.
    pub(crate) fn anonymous_shared() -> Arc<User> {
        static ANONYMOUS: std::sync::OnceLock<Arc<User>> = std::sync::OnceLock::new();
        ANONYMOUS.get_or_init(Self::anonymous).clone()
    }

    /// Who requests on the port without authentication are.
    pub(crate) fn unsecured() -> Arc<User> {
        Self::authenticated("system:unsecured", [MASTERS.to_owned()])
    }

    pub(crate) fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|known| known == group)
    }

    pub(crate) fn is_master(&self) -> bool {
        self.in_group(MASTERS)
    }

    /// The node's name, of a kubelet.
    pub(crate) fn node_name(&self) -> Option<&str> {
        let name = self.name.strip_prefix("system:node:")?;
        self.in_group("system:nodes").then_some(name)
    }

    /// The `userInfo` of reviews and admission.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::json!({ "username": self.name, "groups": self.groups });
        if !self.uid.is_empty() {
            value["uid"] = self.uid.clone().into();
        }
        if !self.extra.is_empty() {
            value["extra"] = serde_json::json!(self.extra);
        }
        value
    }
}
