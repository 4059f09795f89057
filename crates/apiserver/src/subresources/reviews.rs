//! Questions about identities and permissions: answered from what authentication and authorization know, stored
//! nowhere.

use std::sync::Arc;

use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use http::StatusCode;
use serde_json::{Value, json};

use crate::authn::User;
use crate::authz::Question;
use crate::authz::rbac::Rule;
use crate::dispatch::{Answer, Request};
use crate::handlers::{body, options};
use crate::http::{accept, respond};

pub(crate) async fn handle(mut request: Request, resource: &'static Resource) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let (_, validation) = options::write(&request)?;
    let mut review = body::object(
        &mut request,
        resource.type_id,
        body::gvk(resource),
        validation,
    )
    .await?;
    let status = match resource.kind {
        "TokenReview" => token(&request, &review).await?,
        "SelfSubjectReview" => json!({ "userInfo": request.user.to_json() }),
        "SelfSubjectRulesReview" => rules(&request, &review)?,
        "SelfSubjectAccessReview" => access(&request, &review, request.user.clone()).await?,
        "LocalSubjectAccessReview" => {
            let namespace = review["spec"]["resourceAttributes"]["namespace"].as_str();
            if namespace != Some(request.info.namespace.as_str()) {
                return Err(Status::bad_request(
                    "spec.resourceAttributes.namespace must match namespace in the request",
                ));
            }
            access(&request, &review, subject(&review)).await?
        }
        _ => access(&request, &review, subject(&review)).await?,
    };
    review["status"] = status;
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    review["metadata"]["creationTimestamp"] = Value::Null;
    let bytes = respond::to_bytes(&review);
    Ok(respond::object(
        StatusCode::CREATED,
        bytes,
        accepted,
        &request.query,
    ))
}

async fn token(request: &Request, review: &Value) -> Result<Value, Status> {
    let core = &request.core;
    let text = review["spec"]["token"].as_str().unwrap_or("");
    if text.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let given: Vec<String> = review["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    let tokens = &core.authenticator.service_accounts;
    let wanted = if given.is_empty() {
        tokens.own_audiences()
    } else {
        given.clone()
    };
    if let Some(verified) = tokens.verify(core, text, &wanted).await {
        return Ok(json!({
            "authenticated": true,
            "user": verified.user.to_json(),
            "audiences": verified.audiences,
        }));
    }
    // Other tokens know no audiences: they are for this server.
    let ours = given.is_empty() || tokens.own_audiences().iter().any(|own| given.contains(own));
    if ours && let Some(user) = core.authenticator.token(core, text).await {
        return Ok(json!({ "authenticated": true, "user": user.to_json() }));
    }
    Ok(json!({ "user": {}, "error": "[invalid bearer token, token lookup failed]" }))
}

/// The user that a review asks about.
fn subject(review: &Value) -> Arc<User> {
    let spec = &review["spec"];
    let strings = |list: &Value| -> Vec<String> {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    Arc::new(User {
        name: spec["user"].as_str().unwrap_or("").to_owned(),
        uid: spec["uid"].as_str().unwrap_or("").to_owned(),
        groups: strings(&spec["groups"]),
        extra: spec["extra"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, values)| (key.clone(), strings(values)))
            .collect(),
    })
}

async fn access(request: &Request, review: &Value, user: Arc<User>) -> Result<Value, Status> {
    let spec = &review["spec"];
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let text = |value: &'static str| resource[value].as_str().unwrap_or("").to_owned();
    if resource.is_object() == other.is_object() {
        return Err(Status::bad_request(
            "spec: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    }
    let decision = if resource.is_object() {
        let (verb, group) = (text("verb"), text("group"));
        let (plural, subresource) = (text("resource"), text("subresource"));
        let (namespace, name) = (text("namespace"), text("name"));
        let question = Question {
            verb: &verb,
            group: &group,
            resource: &plural,
            subresource: &subresource,
            namespace: &namespace,
            name: &name,
            path: None,
        };
        request
            .core
            .authorizer
            .decide(&request.core, &user, &question)
            .await
    } else {
        let question = Question {
            verb: other["verb"].as_str().unwrap_or(""),
            path: Some(other["path"].as_str().unwrap_or("")),
            ..Default::default()
        };
        request
            .core
            .authorizer
            .decide(&request.core, &user, &question)
            .await
    };
    let mut status = json!({ "allowed": decision.allowed });
    if !decision.reason.is_empty() {
        status["reason"] = decision.reason.into();
    }
    Ok(status)
}

fn rules(request: &Request, review: &Value) -> Result<Value, Status> {
    let namespace = review["spec"]["namespace"].as_str().unwrap_or("");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let mut held = request
        .core
        .authorizer
        .rbac
        .rules_of(&request.user, namespace);
    if request.user.is_master() {
        let all = || vec!["*".to_owned()];
        held.push(Rule {
            verbs: all(),
            api_groups: all(),
            resources: all(),
            ..Default::default()
        });
        held.push(Rule {
            verbs: all(),
            non_resource_urls: all(),
            ..Default::default()
        });
    }
    let (mut resource_rules, mut other_rules) = (Vec::new(), Vec::new());
    for rule in held {
        if rule.non_resource_urls.is_empty() {
            let mut value = json!({
                "verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources,
            });
            if !rule.resource_names.is_empty() {
                value["resourceNames"] = rule.resource_names.into();
            }
            resource_rules.push(value);
        } else {
            other_rules.push(json!({
                "verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls,
            }));
        }
    }
    Ok(json!({
        "resourceRules": resource_rules, "nonResourceRules": other_rules, "incomplete": false,
    }))
}
