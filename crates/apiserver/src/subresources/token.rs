//! `serviceaccounts/token`: a signed token for an account, bound to a pod, secret or node if asked.

use std::sync::Arc;

use fluyt_api::catalogue::Resource;
use fluyt_api::field::{self, Path};
use fluyt_api::schema;
use fluyt_api::status::Status;
use fluyt_machinery::codec::{Gvk, format_time};
use http::StatusCode;
use serde_json::{Value, json};

use crate::authn::service_account::{Audiences, Claims, Private, Reference};
use crate::core::Core;
use crate::dispatch::{Answer, Request};
use crate::handlers::body::{self, meta};
use crate::handlers::options;
use crate::http::{accept, respond};
use crate::stored;

const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
/// What pods ask for by default; such tokens live a year, with a warning after the hour, because old clients do not
/// read the file again.
const POD_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

pub(crate) async fn handle(mut request: Request, resource: &'static Resource) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let ty = schema::by_name("io.k8s.api.authentication.v1.TokenRequest")
        .expect("TokenRequest is in the schema");
    let gvk = Gvk {
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
    };
    let (_, validation) = options::write(&request)?;
    let mut token = body::object(&mut request, ty, gvk, validation).await?;
    let core = request.core.clone();
    let (namespace, name) = (request.info.namespace.as_str(), request.info.name.as_str());
    let (account, _) = stored::require(&*core.store, resource, namespace, name).await?;
    let tokens = &core.authenticator.service_accounts;
    let seconds = token["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
    check_seconds(seconds)?;
    let given: Vec<String> = token["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    let audiences = if given.is_empty() {
        tokens.own_audiences()
    } else {
        given
    };
    let now = jiff::Timestamp::now().as_second();
    let mut claims = Claims {
        exp: now + seconds,
        iat: now,
        nbf: now,
        iss: tokens.issuer().to_owned(),
        jti: uuid::Uuid::new_v4().to_string(),
        sub: format!("system:serviceaccount:{namespace}:{name}"),
        private: Private {
            namespace: namespace.to_owned(),
            service_account: reference(&account),
            ..Default::default()
        },
        aud: Audiences(audiences.clone()),
    };
    bind(
        &core,
        &token["spec"]["boundObjectRef"],
        name,
        &mut claims.private,
    )
    .await?;
    let own = audiences == tokens.own_audiences();
    if seconds == POD_SECONDS && claims.private.pod.is_some() && own {
        claims.private.warn_after = Some(now + seconds);
        claims.exp = now + EXTENDED_SECONDS;
    }
    let signed = tokens.sign(&claims)?;
    let expires = jiff::Timestamp::from_second(now + seconds).map_err(Status::internal)?;
    token["spec"]["expirationSeconds"] = seconds.into();
    token["spec"]["audiences"] = audiences.into();
    token["metadata"] = json!({
        "name": name, "namespace": namespace,
        "creationTimestamp": format_time(jiff::Timestamp::now()),
    });
    token["status"] = json!({ "token": signed, "expirationTimestamp": format_time(expires) });
    let bytes = respond::to_bytes(&token);
    Ok(respond::object(
        StatusCode::CREATED,
        bytes,
        accepted,
        &request.query,
    ))
}

fn check_seconds(seconds: i64) -> Result<(), Status> {
    let why = if seconds < MIN_SECONDS {
        "may not specify a duration less than 10 minutes"
    } else if seconds > MAX_SECONDS {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(());
    };
    let path = Path::new("spec").child("expirationSeconds");
    let error = field::invalid(&path, seconds, why);
    Err(Status::invalid(
        "authentication.k8s.io",
        "TokenRequest",
        "",
        vec![error],
    ))
}

fn reference(object: &Value) -> Reference {
    Reference {
        name: meta(object, "name").to_owned(),
        uid: meta(object, "uid").to_owned(),
    }
}

/// Looks up what the token is to be bound to, and writes it into the claims.
async fn bind(
    core: &Arc<Core>,
    wanted: &Value,
    account: &str,
    private: &mut Private,
) -> Result<(), Status> {
    if !wanted.is_object() {
        return Ok(());
    }
    let name = wanted["name"].as_str().unwrap_or("");
    let kind = wanted["kind"].as_str().unwrap_or("");
    let (plural, namespace) = match kind {
        "Pod" => ("pods", private.namespace.clone()),
        "Secret" => ("secrets", private.namespace.clone()),
        "Node" => ("nodes", String::new()),
        _ => {
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {}, Kind={kind}",
                wanted["apiVersion"].as_str().unwrap_or("")
            )));
        }
    };
    let store = &*core.store;
    let found = stored::find(store, ("", "v1", plural), &namespace, name).await?;
    let found = found.ok_or_else(|| Status::not_found(plural, name))?;
    let uid = wanted["uid"].as_str().unwrap_or("");
    if !uid.is_empty() && uid != meta(&found, "uid") {
        return Err(Status::conflict(
            plural,
            name,
            &format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            ),
        ));
    }
    match kind {
        "Pod" => {
            let runs_as = found["spec"]["serviceAccountName"].as_str().unwrap_or("");
            if runs_as != account {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                )));
            }
            if let Some(node) = found["spec"]["nodeName"]
                .as_str()
                .filter(|node| !node.is_empty())
            {
                let node_object = stored::find(store, ("", "v1", "nodes"), "", node).await?;
                private.node = Some(Reference {
                    name: node.to_owned(),
                    uid: node_object
                        .map(|node| meta(&node, "uid").to_owned())
                        .unwrap_or_default(),
                });
            }
            private.pod = Some(reference(&found));
        }
        "Secret" => private.secret = Some(reference(&found)),
        _ => private.node = Some(reference(&found)),
    }
    Ok(())
}
