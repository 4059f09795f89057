//! The request's side of the pure machinery: brings in clock, identifiers and randomness, and turns what validation
//! finds into a Status.

use fluyt_api::catalogue::Resource;
use fluyt_api::field::{self, FieldError, Path};
use fluyt_api::status::Status;
use fluyt_machinery::{Ctx, meta, strategy};
use fluyt_store::Durability;
use serde_json::Value;
use uuid::Uuid;

/// The part of an object that an update is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but the status, by the strategy's rules.
    Main,
    /// The status alone.
    Status,
    /// A change that the server itself words (binding, ephemeral containers, resize…): metadata is settled, and
    /// the whole is validated like a status.
    Own,
}

/// The circumstances of a request that is served now.
pub(crate) fn context(namespace: &str) -> Ctx {
    Ctx {
        now: jiff::Timestamp::now(),
        uid: Uuid::new_v4(),
        entropy: rand::random(),
        namespace: namespace.to_owned(),
    }
}

pub(crate) fn prepare_create(
    resource: &Resource,
    object: &mut Value,
    context: &Ctx,
) -> Result<(), Status> {
    meta::create_meta(resource, object, "", context)?;
    strategy::of(resource).prepare_for_create(object, context);
    Ok(())
}

pub(crate) fn validate_create(resource: &Resource, object: &Value) -> Result<(), Status> {
    check(resource, object, strategy::of(resource).validate(object))
}

pub(crate) fn prepare_update(
    resource: &Resource,
    part: Part,
    new: &mut Value,
    old: &Value,
    context: &Ctx,
) -> Result<(), Status> {
    meta::update_meta(resource, new, old, context)?;
    let strategy = strategy::of(resource);
    match part {
        Part::Main => strategy.prepare_for_update(new, old, context),
        Part::Status => strategy.prepare_for_status_update(new, old, context),
        Part::Own => {}
    }
    Ok(())
}

pub(crate) fn validate_update(
    resource: &Resource,
    part: Part,
    new: &Value,
    old: &Value,
) -> Result<(), Status> {
    let strategy = strategy::of(resource);
    let errors = match part {
        Part::Main => strategy.validate_update(new, old),
        Part::Status => strategy.validate_status_update(new, old),
        Part::Own => Vec::new(),
    };
    check(resource, new, errors)
}

fn check(resource: &Resource, object: &Value, errors: Vec<FieldError>) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or("");
    Err(Status::invalid(resource.group, resource.kind, name, errors))
}

pub(crate) fn durability(resource: &Resource) -> Durability {
    match strategy::of(resource).durability() {
        strategy::Durability::Durable => Durability::Durable,
        strategy::Durability::Relaxed => Durability::Relaxed,
    }
}

/// An update without a resourceVersion of a resource that insists on one.
pub(crate) fn version_required(resource: &Resource, name: &str) -> Status {
    let path = Path::new("metadata").child("resourceVersion");
    let error = field::invalid(&path, 0, "must be specified for an update");
    Status::invalid(resource.group, resource.kind, name, vec![error])
}

/// A resourceVersion that is not a number.
pub(crate) fn version_invalid(resource: &Resource, name: &str, given: &str) -> Status {
    let path = Path::new("metadata").child("resourceVersion");
    let detail = format!("strconv.ParseUint: parsing {given:?}: invalid syntax");
    let error = field::invalid(&path, given, detail);
    Status::invalid(resource.group, resource.kind, name, vec![error])
}
