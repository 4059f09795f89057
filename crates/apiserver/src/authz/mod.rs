//! Who may do what. Modes are asked in order; the first that allows decides. Members of system:masters are never
//! asked about.

pub(crate) mod node;
pub(crate) mod rbac;

use std::sync::Arc;

use fluyt_api::status::Status;

use crate::authn::User;
use crate::core::Core;
use crate::http::info::RequestInfo;

/// What is asked about: a request, or what a SubjectAccessReview names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Question<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// Set for requests that are not about resources.
    pub(crate) path: Option<&'a str>,
}

impl<'a> Question<'a> {
    pub(crate) fn of(info: &'a RequestInfo) -> Self {
        Question {
            verb: info.verb,
            group: &info.group,
            resource: &info.resource,
            subresource: &info.subresource,
            namespace: &info.namespace,
            name: &info.name,
            path: (!info.is_resource).then_some(&info.path),
        }
    }

    /// `pods` or `pods/log`.
    pub(crate) fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// An answer with its reason, as reviews report it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    pub(crate) reason: String,
}

impl Decision {
    pub(crate) fn allow(reason: String) -> Self {
        Decision {
            allowed: true,
            reason,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    AlwaysAllow,
    AlwaysDeny,
    Rbac,
    Node,
}

/// The authorizers in force.
pub(crate) struct Authorizer {
    modes: Vec<Mode>,
    pub(crate) rbac: rbac::Index,
}

impl Authorizer {
    pub(crate) fn new(modes: &[String]) -> anyhow::Result<Self> {
        let modes = modes
            .iter()
            .map(|mode| match mode.as_str() {
                "AlwaysAllow" => Ok(Mode::AlwaysAllow),
                "AlwaysDeny" => Ok(Mode::AlwaysDeny),
                "RBAC" => Ok(Mode::Rbac),
                "Node" => Ok(Mode::Node),
                other => Err(anyhow::anyhow!(
                    "--authorization-mode: {other:?} is not one of AlwaysAllow, AlwaysDeny, RBAC, Node"
                )),
            })
            .collect::<Result<_, _>>()?;
        Ok(Authorizer {
            modes,
            rbac: rbac::Index::default(),
        })
    }

    /// Returns when the default policy has come back through the watch.
    pub(crate) async fn wait_for_bootstrap(&self, core: &Core) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
        // Roles and bindings come over one watch per kind, in no order between them.
        let defaults = crate::bootstrap::policy::defaults();
        while self.uses_rbac()
            && !defaults.iter().all(|default| {
                let name = default.object["metadata"]["name"].as_str().unwrap_or("");
                let kind = match default.plural.ends_with("bindings") {
                    true => rbac::Kind::Binding,
                    false => rbac::Kind::Role,
                };
                self.rbac.holds(kind, &default.namespace, name)
            })
            && tokio::time::Instant::now() < deadline
            && !core.shutdown.is_cancelled()
        {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn uses_rbac(&self) -> bool {
        self.modes.contains(&Mode::Rbac)
    }

    /// Decides without words for a refusal.
    pub(crate) async fn decide(
        &self,
        core: &Arc<Core>,
        user: &User,
        question: &Question<'_>,
    ) -> Decision {
        if user.is_master() {
            return Decision::allow(String::new());
        }
        let mut reason = String::new();
        for mode in &self.modes {
            let decision = match mode {
                Mode::AlwaysAllow => Decision::allow(String::new()),
                Mode::AlwaysDeny => Decision::default(),
                Mode::Rbac => self.rbac.decide(user, question),
                Mode::Node => node::decide(core, user, question).await,
            };
            if decision.allowed {
                return decision;
            }
            if !decision.reason.is_empty() {
                reason = decision.reason;
            }
        }
        Decision {
            allowed: false,
            reason,
        }
    }

    /// Refuses in upstream's words.
    pub(crate) async fn require(
        &self,
        core: &Arc<Core>,
        user: &User,
        info: &RequestInfo,
    ) -> Result<(), Status> {
        if user.is_master() {
            return Ok(());
        }
        let question = Question::of(info);
        let decision = self.decide(core, user, &question).await;
        if decision.allowed {
            return Ok(());
        }
        Err(refusal(user, &question, &decision.reason))
    }
}

/// 403 in upstream's words.
pub(crate) fn refusal(user: &User, question: &Question<'_>, reason: &str) -> Status {
    let name = &user.name;
    let verb = question.verb;
    let mut message = match question.path {
        Some(path) => format!("User {name:?} cannot {verb} path {path:?}"),
        None => {
            let resource = question.full_resource();
            let group = question.group;
            let place = if question.namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {:?}", question.namespace)
            };
            format!(
                "User {name:?} cannot {verb} resource {resource:?} in API group {group:?} {place}"
            )
        }
    };
    if !reason.is_empty() {
        message = format!("{message}: {reason}");
    }
    if question.path.is_some() {
        return Status::forbidden("", "", &message);
    }
    let group_resource = if question.group.is_empty() {
        question.resource.to_owned()
    } else {
        format!("{}.{}", question.resource, question.group)
    };
    Status::forbidden(&group_resource, question.name, &message)
}
