//! Binding: a pod gets its node, once.

use fluyt_api::catalogue;
use fluyt_api::status::Status;
use fluyt_machinery::binding;
use http::StatusCode;
use serde_json::json;

use crate::dispatch::{Answer, Request};
use crate::handlers::body::{self, meta};
use crate::handlers::change::Changer;
use crate::handlers::options;
use crate::http::respond;
use crate::lifecycle::Part;
use crate::stored;

const BINDINGS: (&str, &str, &str) = ("", "v1", "bindings");

pub(crate) async fn handle(mut request: Request) -> Answer {
    let (dry_run, validation) = options::write(&request)?;
    let bindings = stored::builtin(BINDINGS);
    let mut binding = body::object(
        &mut request,
        bindings.type_id,
        body::gvk(bindings),
        validation,
    )
    .await?;
    body::settle_namespace(bindings, &request.info.namespace, &mut binding)?;
    let name = if request.info.name.is_empty() {
        meta(&binding, "name").to_owned()
    } else {
        request.info.name.clone()
    };
    if !meta(&binding, "name").is_empty() && meta(&binding, "name") != name {
        return Err(Status::bad_request(format!(
            "name in URL does not match name in Binding object: {}",
            meta(&binding, "name")
        )));
    }
    let pods = catalogue::find("", "v1", "pods").expect("pods are in the catalogue");
    let changer = Changer {
        core: &request.core,
        user: &request.user,
        resource: pods,
        part: Part::Own,
        subresource: "binding",
        namespace: &request.info.namespace,
        name: &name,
        dry_run,
    };
    changer
        .run(|pod| binding::bind(pod, &binding, jiff::Timestamp::now()))
        .await?;
    Ok(respond::json(
        StatusCode::CREATED,
        respond::to_bytes(&json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
        })),
    ))
}
