//! DELETE: at once, after a grace period (pods), or when the last finalizer is gone.

use std::sync::Arc;

use bytes::Bytes;
use fluyt_api::catalogue::Resource;
use fluyt_api::field::{self, Path};
use fluyt_api::schema;
use fluyt_api::status::Status;
use fluyt_machinery::codec::{self, FieldValidation, Gvk, Media};
use fluyt_machinery::delete::{self, Deletion as Step};
use fluyt_store::{Entry, Op, Precondition, StoreError};
use http::StatusCode;
use serde_json::{Value, json};

use super::body::{self, meta};
use crate::admission::{Attributes, Operation};
use crate::authn::User;
use crate::core::Core;
use crate::dispatch::{Answer, Request};
use crate::http::query::Query;
use crate::http::{accept, respond};
use crate::lifecycle;
use crate::present::Presenter;
use crate::stored;

const TRIES: usize = 16;

/// metav1.DeleteOptions as JSON, from the body and, where that says nothing, the query.
#[derive(Clone, Debug)]
pub(crate) struct DeleteOptions {
    pub(crate) options: Value,
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    pub(crate) async fn read(request: &mut Request) -> Result<Self, Status> {
        let mut options = of_query(&request.query)?;
        let (mut dry_run, _) = super::options::write(request)?;
        let media = body::media(&request.headers)?;
        let bytes = request.read_body().await?;
        if !bytes.is_empty() {
            let ty = schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
                .expect("DeleteOptions is in the schema");
            let gvk = Gvk {
                group: "",
                version: "v1",
                kind: "DeleteOptions",
            };
            let value = parse(&bytes, media)?;
            let decoded = codec::decode_value(value, ty, &gvk, FieldValidation::Ignore)?.object;
            if let (Some(all), Some(given)) = (options.as_object_mut(), decoded.as_object()) {
                for (key, value) in given {
                    all.insert(key.clone(), value.clone());
                }
            }
        }
        let mut errors = Vec::new();
        let given = options["dryRun"].as_array().into_iter().flatten();
        let given = given.map(|value| value.as_str().unwrap_or("null"));
        dry_run |= super::options::dry_run(given, &mut errors);
        if let Some(policy) = options["propagationPolicy"].as_str() {
            let known = ["Foreground", "Background", "Orphan", "nil"];
            let path = Path::new("propagationPolicy");
            if !known[..3].contains(&policy) {
                errors.push(field::not_supported(&path, policy, &known));
            }
            if !options["orphanDependents"].is_null() {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                errors.push(field::invalid(&path, policy, why));
            }
        }
        super::options::check("DeleteOptions", errors)?;
        Ok(DeleteOptions { options, dry_run })
    }

    /// Options that only say how.
    pub(crate) fn of(options: Value, dry_run: bool) -> Self {
        DeleteOptions { options, dry_run }
    }
}

/// The body without its kind: options come as the kind of several groups.
fn parse(bytes: &[u8], media: Media) -> Result<Value, Status> {
    let wrong = |error: String| Status::bad_request(format!("decoding DeleteOptions: {error}"));
    let mut value: Value = match media {
        Media::Json => serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?,
        Media::Protobuf => codec::protobuf::envelope(bytes)
            .and_then(|unknown| unknown.object(delete_options_type()))
            .map_err(wrong)?,
        Media::Yaml => serde_saphyr::from_slice(bytes).map_err(|error| wrong(error.to_string()))?,
    };
    if let Some(map) = value.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
    }
    Ok(value)
}

fn of_query(query: &Query) -> Result<Value, Status> {
    let mut options = json!({});
    if let Some(text) = query.non_empty("gracePeriodSeconds") {
        let seconds: i64 = text.parse().map_err(|_| {
            Status::bad_request(format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })?;
        options["gracePeriodSeconds"] = seconds.into();
    }
    if query.non_empty("orphanDependents").is_some() {
        options["orphanDependents"] = query.flag("orphanDependents").into();
    }
    if let Some(policy) = query.non_empty("propagationPolicy") {
        options["propagationPolicy"] = policy.into();
    }
    Ok(options)
}

pub(crate) async fn handle(mut request: Request, resource: &'static Resource) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let presenter = Presenter::new(resource, accepted, &request.query)?;
    let options = DeleteOptions::read(&mut request).await?;
    let deletion = Deletion {
        core: &request.core,
        user: &request.user,
        resource,
        namespace: if resource.namespaced {
            &request.info.namespace
        } else {
            ""
        },
        name: &request.info.name,
        options: &options,
    };
    match deletion.run().await? {
        Deleted::Pending(value) => {
            let bytes = presenter.object(&value)?;
            Ok(respond::object(
                StatusCode::OK,
                bytes,
                accepted,
                &request.query,
            ))
        }
        Deleted::Gone(object) if returns_object(resource) => {
            let bytes = presenter.object(&object)?;
            Ok(respond::object(
                StatusCode::OK,
                bytes,
                accepted,
                &request.query,
            ))
        }
        Deleted::Gone(value) => {
            let object = stored::object(resource, &value)?;
            super::success(resource, &request.info.name, meta(&object, "uid"))
        }
    }
}

/// Resources whose deletion is answered with the object, as upstream's storages are set.
fn returns_object(resource: &Resource) -> bool {
    matches!(
        (resource.group, resource.plural),
        (
            "",
            "pods"
                | "services"
                | "serviceaccounts"
                | "podtemplates"
                | "resourcequotas"
                | "persistentvolumes"
                | "persistentvolumeclaims"
        ) | ("storage.k8s.io", _)
            | ("resource.k8s.io", _)
            | ("policy", "podsecuritypolicies")
    )
}

/// The outcome of a deletion.
pub(crate) enum Deleted {
    /// Marked; a finalizer or the kubelet finishes it.
    Pending(Bytes),
    /// Gone; its last state.
    Gone(Bytes),
}

/// One deletion, from whichever request it comes.
pub(crate) struct Deletion<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) user: &'a Arc<User>,
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) options: &'a DeleteOptions,
}

impl Deletion<'_> {
    pub(crate) async fn run(&self) -> Result<Deleted, Status> {
        let key = stored::key(self.resource, self.namespace, self.name);
        let mut known: Option<Entry> = None;
        for _ in 0..TRIES {
            let entry = match known.take() {
                Some(entry) => entry,
                None => self.read(&key).await?,
            };
            let object = stored::object(self.resource, &entry.value)?;
            self.admit(&object).await?;
            let now = jiff::Timestamp::now();
            let step = delete::delete(self.resource, &object, &self.options.options, now)?;
            let (op, pending) = match step {
                Step::Pending => return Ok(Deleted::Pending(entry.value)),
                Step::Remove if self.options.dry_run => return Ok(Deleted::Gone(entry.value)),
                Step::Remove => (self.removal(&key, &entry), false),
                Step::Mark(marked) if self.options.dry_run => {
                    return Ok(Deleted::Pending(respond::to_bytes(&marked)));
                }
                Step::Mark(marked) => (self.marking(&key, &entry, &marked), true),
            };
            match self.core.store.commit(vec![op]).await {
                Ok(mut committed) => {
                    let revision = committed.revision;
                    let stored = committed.entries.pop().flatten();
                    if pending {
                        let value = stored.map(|entry| entry.value).unwrap_or_default();
                        return Ok(Deleted::Pending(value));
                    }
                    self.core.allocators.release(self.resource, &object);
                    let last = crate::watch::frame::with_revision(&entry, revision);
                    return Ok(Deleted::Gone(last));
                }
                Err(StoreError::PreconditionFailed { current, .. }) => known = current,
                Err(error) => return Err(stored::failure(&error)),
            }
        }
        Err(Status::conflict(
            &self.resource.group_resource(),
            self.name,
            super::change::MODIFIED,
        ))
    }

    async fn read(&self, key: &str) -> Result<Entry, Status> {
        stored::get(&*self.core.store, key)
            .await
            .map_err(|error| stored::failure(&error))?
            .0
            .ok_or_else(|| Status::not_found(&self.resource.group_resource(), self.name))
    }

    async fn admit(&self, object: &Value) -> Result<(), Status> {
        let attributes = Attributes {
            core: self.core,
            user: self.user,
            resource: self.resource,
            subresource: "",
            operation: Operation::Delete,
            namespace: self.namespace,
            name: self.name,
            dry_run: self.options.dry_run,
            old: Some(object),
        };
        self.core
            .admission
            .validate(&attributes, &Value::Null)
            .await
    }

    fn removal(&self, key: &str, entry: &Entry) -> Op {
        Op::Delete {
            key: key.to_owned(),
            precondition: Precondition::ModRevision(entry.mod_revision),
        }
    }

    fn marking(&self, key: &str, entry: &Entry, marked: &Value) -> Op {
        Op::Put {
            key: key.to_owned(),
            value: stored::encode(self.resource, marked),
            precondition: Precondition::ModRevision(entry.mod_revision),
            durability: lifecycle::durability(self.resource),
        }
    }
}

/// metav1.DeleteOptions, which every group serves.
fn delete_options_type() -> schema::TypeId {
    schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        .expect("the schema tables hold DeleteOptions")
}
