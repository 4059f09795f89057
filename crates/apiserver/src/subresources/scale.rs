//! Scale: the replica count of a workload, whatever its kind, as an autoscaling/v1 Scale.

use fluyt_api::catalogue::Resource;
use fluyt_api::field::{self, Path};
use fluyt_api::schema;
use fluyt_api::selector::LabelSelector;
use fluyt_api::status::Status;
use fluyt_machinery::codec::{self, Gvk};
use fluyt_machinery::patch;
use http::StatusCode;
use serde_json::{Value, json};

use crate::dispatch::{Answer, Request};
use crate::handlers::body::{self, meta};
use crate::handlers::change::Changer;
use crate::handlers::options;
use crate::handlers::patch::Patch;
use crate::http::{accept, respond};
use crate::lifecycle::Part;
use crate::stored;

const GVK: Gvk = Gvk {
    group: "autoscaling",
    version: "v1",
    kind: "Scale",
};

fn type_id() -> schema::TypeId {
    schema::by_name("io.k8s.api.autoscaling.v1.Scale").expect("Scale is in the schema")
}

pub(crate) async fn handle(mut request: Request, resource: &'static Resource) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    if request.info.verb == "get" {
        let (object, _) = stored::require(
            &*request.core.store,
            resource,
            &request.info.namespace,
            &request.info.name,
        )
        .await?;
        let bytes = respond::to_bytes(&scale_of(&object));
        return Ok(respond::object(
            StatusCode::OK,
            bytes,
            accepted,
            &request.query,
        ));
    }
    let (dry_run, validation) = options::write(&request)?;
    let wanted = if request.info.verb == "patch" {
        Wanted::Patched(Patch::read(&mut request).await?)
    } else {
        Wanted::Whole(body::object(&mut request, type_id(), GVK, validation).await?)
    };
    let changer = Changer {
        core: &request.core,
        user: &request.user,
        resource,
        part: Part::Main,
        subresource: "scale",
        namespace: &request.info.namespace,
        name: &request.info.name,
        dry_run,
    };
    let changed = changer
        .run(|object| {
            let scale = match &wanted {
                Wanted::Whole(scale) => scale.clone(),
                Wanted::Patched(patch) => {
                    let patched = apply(patch, &scale_of(object))?;
                    codec::decode_value(patched, type_id(), &GVK, validation)?.object
                }
            };
            scaled(object, &scale)
        })
        .await?;
    let object = stored::object(resource, &changed.value)?;
    let bytes = respond::to_bytes(&scale_of(&object));
    Ok(respond::object(
        StatusCode::OK,
        bytes,
        accepted,
        &request.query,
    ))
}

enum Wanted {
    Whole(Value),
    Patched(Patch),
}

fn apply(patch: &Patch, scale: &Value) -> Result<Value, Status> {
    match patch {
        Patch::Json(bytes) => patch::json(scale, bytes),
        Patch::Merge(value) => patch::merge(scale, value),
        Patch::Strategic(value) => patch::strategic(type_id(), scale, value),
    }
}

fn scale_of(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {},
        "status": { "replicas": object["status"]["replicas"].as_i64().unwrap_or(0) },
    });
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas != 0 {
        scale["spec"]["replicas"] = replicas.into();
    }
    let selector = selector_text(object);
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

fn selector_text(object: &Value) -> String {
    let selector = &object["spec"]["selector"];
    if object["kind"] == "ReplicationController" {
        let pairs: Vec<String> = selector
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
            .collect();
        return pairs.join(",");
    }
    LabelSelector::from_json(selector).map_or(String::new(), |selector| selector.to_string())
}

fn scaled(object: &Value, scale: &Value) -> Result<Value, Status> {
    let name = meta(object, "name");
    if meta(scale, "name") != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            meta(scale, "name")
        )));
    }
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let path = Path::new("spec").child("replicas");
        let error = field::invalid(&path, replicas, "must be greater than or equal to 0");
        return Err(Status::invalid("autoscaling", "Scale", name, vec![error]));
    }
    let mut object = object.clone();
    object["spec"]["replicas"] = replicas.into();
    let version = meta(scale, "resourceVersion");
    if !version.is_empty() {
        body::set(&mut object, "resourceVersion", version.into());
    }
    Ok(object)
}
