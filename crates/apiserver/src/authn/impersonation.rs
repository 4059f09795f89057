//! Impersonation: a request may ask to be treated as another user, group by group, if RBAC lets it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fluyt_api::status::Status;

use super::{AUTHENTICATED, SERVICE_ACCOUNT_PREFIX, UNAUTHENTICATED, User};
use crate::authz::{Question, refusal};
use crate::dispatch::Request;

const EXTRA: &str = "impersonate-extra-";

/// The user to go on as, if the request impersonates one.
pub(crate) async fn apply(request: &Request) -> Result<Option<Arc<User>>, Status> {
    let headers = &request.headers;
    if !headers
        .keys()
        .any(|name| name.as_str().starts_with("impersonate-"))
    {
        return Ok(None);
    }
    let text = |name: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let Some(name) = text("impersonate-user").into_iter().next() else {
        return Err(Status::internal(
            "requested impersonation without specifying a user name",
        ));
    };
    let mut groups = text("impersonate-group");
    let uid = text("impersonate-uid")
        .into_iter()
        .next()
        .unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in headers.keys() {
        if let Some(encoded) = key.as_str().strip_prefix(EXTRA) {
            let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8_lossy();
            extra.insert(decoded.into_owned(), text(key.as_str()));
        }
    }
    check(request, &name, &groups, &uid, &extra).await?;
    let account = name
        .strip_prefix(SERVICE_ACCOUNT_PREFIX)
        .and_then(|rest| rest.split_once(':'))
        .map(|(namespace, _)| namespace.to_owned());
    if groups.is_empty()
        && let Some(namespace) = account
    {
        groups = super::service_account::groups(&namespace);
    }
    let mut user = User {
        name,
        uid,
        groups,
        extra,
    };
    if user.name == "system:anonymous" {
        if !user.in_group(UNAUTHENTICATED) {
            user.groups.push(UNAUTHENTICATED.to_owned());
        }
    } else if !user.in_group(AUTHENTICATED) {
        user.add_authenticated();
    }
    Ok(Some(Arc::new(user)))
}

async fn check(
    request: &Request,
    name: &str,
    groups: &[String],
    uid: &str,
    extra: &BTreeMap<String, Vec<String>>,
) -> Result<(), Status> {
    let mut questions = Vec::new();
    match name
        .strip_prefix(SERVICE_ACCOUNT_PREFIX)
        .and_then(|rest| rest.split_once(':'))
    {
        Some((namespace, name)) => questions.push(Question {
            resource: "serviceaccounts",
            namespace,
            name,
            ..Default::default()
        }),
        None => questions.push(Question {
            resource: "users",
            name,
            ..Default::default()
        }),
    }
    questions.extend(groups.iter().map(|group| Question {
        resource: "groups",
        name: group,
        ..Default::default()
    }));
    if !uid.is_empty() {
        questions.push(Question {
            group: "authentication.k8s.io",
            resource: "uids",
            name: uid,
            ..Default::default()
        });
    }
    for (key, values) in extra {
        questions.extend(values.iter().map(|value| Question {
            group: "authentication.k8s.io",
            resource: "userextras",
            subresource: key,
            name: value,
            ..Default::default()
        }));
    }
    for question in questions {
        let question = Question {
            verb: "impersonate",
            ..question
        };
        let core = &request.core;
        let decision = core.authorizer.decide(core, &request.user, &question).await;
        if !decision.allowed {
            return Err(refusal(&request.user, &question, &decision.reason));
        }
    }
    Ok(())
}
