//! Eviction: a deletion that a disruption budget may refuse.

use fluyt_api::catalogue::Resource;
use fluyt_api::schema;
use fluyt_api::status::Status;
use fluyt_machinery::codec::Gvk;
use fluyt_machinery::eviction::{self, Eviction};
use fluyt_store::{Durability, Op, Precondition, StoreError};
use http::StatusCode;
use serde_json::{Value, json};

use crate::dispatch::{Answer, Request};
use crate::handlers::body::{self, meta};
use crate::handlers::delete::{DeleteOptions, Deletion};
use crate::handlers::options;
use crate::http::respond;
use crate::stored;

const BUDGETS: (&str, &str, &str) = ("policy", "v1", "poddisruptionbudgets");
/// Tries of charging a budget that others charge at the same time.
const TRIES: usize = 10;

pub(crate) async fn handle(mut request: Request, resource: &'static Resource) -> Answer {
    let (mut dry_run, validation) = options::write(&request)?;
    let ty = schema::by_name("io.k8s.api.policy.v1.Eviction").expect("Eviction is in the schema");
    let gvk = Gvk {
        group: "policy",
        version: "v1",
        kind: "Eviction",
    };
    let asked = body::object(&mut request, ty, gvk, validation).await?;
    let name = request.info.name.clone();
    if meta(&asked, "name") != name {
        return Err(Status::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let mut options = asked["deleteOptions"].clone();
    if !options.is_object() {
        options = json!({});
    }
    dry_run |= options["dryRun"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    let namespace = request.info.namespace.clone();
    let store = &*request.core.store;
    let (pod, _) = stored::require(store, resource, &namespace, &name).await?;
    judge(&request, &pod, &mut options, dry_run).await?;
    let options = DeleteOptions::of(options, dry_run);
    let deletion = Deletion {
        core: &request.core,
        user: &request.user,
        resource,
        namespace: &namespace,
        name: &name,
        options: &options,
    };
    deletion.run().await?;
    Ok(respond::json(
        StatusCode::CREATED,
        respond::to_bytes(&json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
        })),
    ))
}

/// Asks the pod's disruption budget, and charges it, until both agree on one state.
async fn judge(
    request: &Request,
    pod: &Value,
    options: &mut Value,
    dry_run: bool,
) -> Result<(), Status> {
    let store = &*request.core.store;
    for _ in 0..TRIES {
        let budgets = stored::all(store, BUDGETS, &request.info.namespace).await?;
        match eviction::evict(pod, &budgets, jiff::Timestamp::now())? {
            Eviction::Delete { guarded: false } => return Ok(()),
            Eviction::Delete { guarded: true } => {
                let conditions = &mut options["preconditions"];
                if !conditions.is_object() {
                    *conditions = json!({});
                }
                if conditions["resourceVersion"].is_null() {
                    conditions["resourceVersion"] = meta(pod, "resourceVersion").into();
                }
                return Ok(());
            }
            Eviction::Charge(_) if dry_run => return Ok(()),
            Eviction::Charge(budget) => match store.commit(vec![charge(&budget)]).await {
                Ok(_) => return Ok(()),
                Err(StoreError::PreconditionFailed { .. }) => {}
                Err(error) => return Err(stored::failure(&error)),
            },
        }
    }
    Err(Status::too_many_requests(
        "the disruption budget changes faster than it can be charged",
        1,
    ))
}

fn charge(budget: &Value) -> Op {
    let resource = stored::builtin(BUDGETS);
    let revision = meta(budget, "resourceVersion").parse().unwrap_or(0);
    Op::Put {
        key: stored::key(resource, meta(budget, "namespace"), meta(budget, "name")),
        value: stored::encode(resource, budget),
        precondition: Precondition::ModRevision(revision),
        durability: Durability::Durable,
    }
}
