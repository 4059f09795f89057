//! POST: decode, default, admit, prepare, validate, allocate, commit; the answer is what was stored.

use std::sync::Arc;

use bytes::Bytes;
use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use fluyt_machinery::{defaults, strategy};
use fluyt_store::{Entry, Op, Precondition, StoreError};
use http::StatusCode;
use serde_json::Value;

use super::body::{self, meta};
use super::options;
use crate::admission::{Attributes, Operation};
use crate::authn::User;
use crate::core::Core;
use crate::dispatch::{Answer, Request};
use crate::http::{accept, respond};
use crate::lifecycle;
use crate::present::Presenter;
use crate::stored;

/// Tries of a generated name before the collision is reported, as upstream.
const NAME_TRIES: usize = 8;

pub(crate) async fn handle(mut request: Request, resource: &'static Resource) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let presenter = Presenter::new(resource, accepted, &request.query)?;
    let (dry_run, validation) = options::write(&request)?;
    let mut object = body::object(
        &mut request,
        resource.type_id,
        body::gvk(resource),
        validation,
    )
    .await?;
    if resource.namespaced && request.info.namespace.is_empty() {
        return Err(Status::bad_request(
            "an empty namespace may not be set during creation",
        ));
    }
    body::settle_namespace(resource, &request.info.namespace, &mut object)?;
    let creation = Creation {
        core: &request.core,
        user: &request.user,
        resource,
        namespace: &request.info.namespace,
        dry_run,
    };
    let (value, warnings) = creation.run(object).await?;
    request.warnings.extend(warnings);
    let bytes = presenter.object(&value)?;
    let mut response = respond::object(StatusCode::CREATED, bytes, accepted, &request.query);
    respond::add_warnings(&mut response, &request.warnings);
    Ok(response)
}

/// One creation, from whichever request it comes.
pub(crate) struct Creation<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) user: &'a Arc<User>,
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: &'a str,
    pub(crate) dry_run: bool,
}

impl Creation<'_> {
    /// Takes the decoded object to its stored bytes; with them the strategy's warnings.
    pub(crate) async fn run(&self, mut object: Value) -> Result<(Bytes, Vec<String>), Status> {
        let resource = self.resource;
        defaults::apply(resource, &mut object);
        let generated = meta(&object, "name").is_empty();
        let name = meta(&object, "name").to_owned();
        let attributes = Attributes {
            core: self.core,
            user: self.user,
            resource,
            subresource: "",
            operation: Operation::Create,
            namespace: self.namespace,
            name: &name,
            dry_run: self.dry_run,
            old: None,
        };
        self.core.admission.admit(&attributes, &mut object).await?;
        defaults::apply(resource, &mut object);
        let mut tries = 0;
        loop {
            let context = lifecycle::context(self.namespace);
            let mut candidate = object.clone();
            lifecycle::prepare_create(resource, &mut candidate, &context)?;
            match self.attempt(&attributes, &mut candidate).await {
                Err(Failed::Exists) if generated && tries < NAME_TRIES => tries += 1,
                Err(Failed::Exists) => {
                    let group_resource = resource.group_resource();
                    let name = meta(&candidate, "name");
                    return Err(if generated {
                        Status::generate_name_conflict(&group_resource, name, 1)
                    } else {
                        Status::already_exists(&group_resource, name)
                    });
                }
                Err(Failed::Status(status)) => return Err(status),
                Ok(value) => {
                    let warnings = strategy::of(resource).warnings(&candidate);
                    return Ok((value, warnings));
                }
            }
        }
    }

    async fn attempt(
        &self,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<Bytes, Failed> {
        let resource = self.resource;
        let reserved = self
            .core
            .allocators
            .reserve(self.core, resource, object, None)
            .await
            .map_err(Failed::Status)?;
        lifecycle::validate_create(resource, object)?;
        self.core.admission.validate(attributes, object).await?;
        let name = meta(object, "name");
        let key = stored::key(resource, self.namespace, name);
        let value = stored::encode(resource, object);
        if self.dry_run {
            let (current, _) = stored::get(&*self.core.store, &key)
                .await
                .map_err(|error| stored::failure(&error))?;
            return match current {
                Some(_) => Err(Failed::Exists),
                None => Ok(value),
            };
        }
        let entry = self.commit(key, value).await?;
        reserved.keep();
        Ok(entry.value)
    }

    async fn commit(&self, key: String, value: Bytes) -> Result<Entry, Failed> {
        let put = Op::Put {
            key,
            value,
            precondition: Precondition::Absent,
            durability: lifecycle::durability(self.resource),
        };
        match self.core.store.commit(vec![put]).await {
            Ok(mut committed) => committed
                .entries
                .pop()
                .flatten()
                .ok_or_else(|| Failed::Status(Status::internal("the store returned no entry"))),
            Err(StoreError::PreconditionFailed { .. }) => Err(Failed::Exists),
            Err(error) => Err(Failed::Status(stored::failure(&error))),
        }
    }
}

enum Failed {
    Exists,
    Status(Status),
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Failed::Status(status)
    }
}
