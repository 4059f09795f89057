//! Component statuses: nothing is stored, each answer asks the parts of the control plane how they are. Upstream has the kind
//! deprecated since 1.19 and answers it still.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use http::StatusCode;
use serde_json::{Value, json};

use crate::core::Core;
use crate::dispatch::{Answer, Request};
use crate::handlers::method_not_allowed;
use crate::http::{accept, respond};
use crate::kubelet::Backend;
use crate::present::Presenter;
use crate::stored;
use crate::watch::filter::{Attributes, Filter};

/// The names, and the ports of localhost on which the others answer /healthz, as upstream.
const COMPONENTS: [(&str, Option<u16>); 3] = [
    ("controller-manager", Some(10257)),
    ("etcd-0", None),
    ("scheduler", Some(10259)),
];
const TIMEOUT: Duration = Duration::from_secs(20);
const WARNING: &str = "v1 ComponentStatus is deprecated in v1.19+";

pub(super) async fn handle(request: Request, resource: &'static Resource) -> Answer {
    match request.info.verb {
        "get" => get(request, resource).await,
        "list" => list(request, resource).await,
        _ => Err(method_not_allowed(&request)),
    }
}

async fn get(request: Request, resource: &'static Resource) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let presenter = Presenter::new(resource, accepted, &request.query)?;
    let name = request.info.name.as_str();
    let known = COMPONENTS.iter().find(|(known, _)| *known == name);
    let (name, port) = known.ok_or_else(|| Status::not_found("componentstatus", name))?;
    let object = bytes(&status(&request.core, name, *port).await);
    let object = presenter.object(&object)?;
    let mut response = respond::object(StatusCode::OK, object, accepted, &request.query);
    respond::add_warnings(&mut response, &[WARNING.to_owned()]);
    Ok(response)
}

async fn list(request: Request, resource: &'static Resource) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let presenter = Presenter::new(resource, accepted, &request.query)?;
    let filter = Filter::parse(resource, &request.query)?;
    let asked = COMPONENTS.map(|(name, port)| status(&request.core, name, port));
    let statuses = futures::future::join_all(asked).await;
    let chosen = statuses
        .iter()
        .filter(|object| filter.matches(&Attributes::of(resource, object)));
    let mut out = BytesMut::new();
    presenter.open_list(&mut out, &json!({}));
    let now = jiff::Timestamp::now();
    for (index, object) in chosen.enumerate() {
        if index > 0 {
            out.extend_from_slice(b",");
        }
        presenter.item(&mut out, &bytes(object), now);
    }
    out.extend_from_slice(b"]}");
    let mut response = respond::object(StatusCode::OK, out.freeze(), accepted, &request.query);
    respond::add_warnings(&mut response, &[WARNING.to_owned()]);
    Ok(response)
}

/// An object as the presenter takes stored ones: type and metadata first.
fn bytes(object: &Value) -> Bytes {
    let text = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ComponentStatus\",\"metadata\":{},\"conditions\":{}}}",
        object["metadata"], object["conditions"]
    );
    Bytes::from(text)
}

async fn status(core: &Core, name: &str, port: Option<u16>) -> Value {
    let health = match port {
        None => stored::revision(&*core.store)
            .await
            .map(|_| "ok".to_owned())
            .map_err(|error| stored::failure(&error).message),
        // It would have taken this process with it.
        Some(_) if core.options.companions.contains(&name) => Ok("ok".to_owned()),
        Some(port) => probe(core, port).await,
    };
    let condition = match health {
        Ok(message) => json!({"type": "Healthy", "status": "True", "message": message}),
        Err(error) => json!({"type": "Healthy", "status": "False", "message": error}),
    };
    json!({"metadata": {"name": name}, "conditions": [condition]})
}

/// What `https://127.0.0.1:PORT/healthz` says.
async fn probe(core: &Core, port: u16) -> Result<String, String> {
    let backend = Backend {
        host: "127.0.0.1".to_owned(),
        port,
        tls: Some(core.kubelet.plain_tls.clone()),
    };
    let url = format!("https://127.0.0.1:{port}/healthz");
    let asked = tokio::time::timeout(TIMEOUT, backend.get("/healthz")).await;
    match asked {
        Ok(Ok((code, text))) if code.is_success() => Ok(text),
        Ok(Ok((code, text))) => Err(format!("Get {url:?}: {code}: {text}")),
        Ok(Err(status)) => {
            let why = status.message.rsplit("error dialing backend: ").next();
            Err(format!("Get {url:?}: {}", why.unwrap_or_default()))
        }
        Err(_) => Err(format!("Get {url:?}: i/o timeout")),
    }
}
