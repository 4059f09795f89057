//! Between the store and the handlers: keys, entries as objects, store errors as Status. What is stored is the
//! encoded object of the storage version, with its resourceVersion spliced in right behind `"metadata":{`.

use bytes::Bytes;
use fluyt_api::catalogue::{self, Resource};
use fluyt_api::status::Status;
use fluyt_machinery::{codec, convert};
use fluyt_store::{Entry, Page, Revision, Splice, Store, StoreError};
use serde_json::Value;

const META_KEY: &[u8] = b"\"metadata\":{";

/// Where the store writes revisions into our values.
pub fn splice(value: &[u8]) -> Option<Splice> {
    codec::splice_at(value).map(|offset| Splice {
        offset,
        before: b"\"resourceVersion\":\"",
        after: b"\",",
    })
}

/// The key of one object.
pub(crate) fn key(resource: &Resource, namespace: &str, name: &str) -> String {
    let prefix = resource.storage_prefix;
    if resource.namespaced {
        format!("{prefix}/{namespace}/{name}")
    } else {
        format!("{prefix}/{name}")
    }
}

/// The prefix of all objects of a resource, or of those in one namespace.
pub(crate) fn prefix(resource: &Resource, namespace: &str) -> String {
    if resource.namespaced && !namespace.is_empty() {
        format!("{}/{namespace}/", resource.storage_prefix)
    } else {
        format!("{}/", resource.storage_prefix)
    }
}

/// The object's bytes without `"apiVersion":…,"kind":…,`: what follows the opening brace inside a typed list.
pub(crate) fn list_item(value: &[u8]) -> &[u8] {
    match codec::splice_at(value) {
        Some(offset) => &value[offset - META_KEY.len()..],
        None => value.strip_prefix(b"{").unwrap_or(value),
    }
}

/// Whether requests for `resource` can be answered with stored bytes as they are.
pub(crate) fn is_stored_version(resource: &Resource) -> bool {
    !convert::needs_conversion(resource)
}

/// Decodes an entry into the version that `resource` names.
pub(crate) fn object(resource: &Resource, value: &[u8]) -> Result<Value, Status> {
    let mut object: Value = serde_json::from_slice(value).map_err(|error| {
        Status::internal(format!(
            "decoding a stored {} of {}: {error}",
            resource.kind,
            resource.group_resource()
        ))
    })?;
    if !is_stored_version(resource) {
        convert::convert(&mut object, resource);
    }
    Ok(object)
}

/// Encodes an object of the version that `resource` names for the store.
pub(crate) fn encode(resource: &Resource, object: &Value) -> Bytes {
    if is_stored_version(resource) {
        return codec::encode(object);
    }
    let mut stored = object.clone();
    convert::to_storage(&mut stored, resource);
    codec::encode(&stored)
}

/// The stored bytes as a response in the version that `resource` names.
pub(crate) fn bytes(resource: &Resource, value: &Bytes) -> Result<Bytes, Status> {
    if is_stored_version(resource) {
        return Ok(value.clone());
    }
    let object = object(resource, value)?;
    Ok(crate::http::respond::to_bytes(&object))
}

/// Whether `encoded` (without a resourceVersion) says the same as the stored entry.
pub(crate) fn is_unchanged(entry: &Entry, encoded: &[u8]) -> bool {
    let Some(at) = splice(encoded) else {
        return entry.value == encoded;
    };
    let mut digits = itoa::Buffer::new();
    let revision = digits.format(entry.mod_revision).as_bytes();
    let inserted = at.before.len() + revision.len() + at.after.len();
    entry.value.len() == encoded.len() + inserted
        && entry.value[..at.offset] == encoded[..at.offset]
        && entry.value[at.offset + inserted..] == encoded[at.offset..]
}

pub(crate) async fn get(
    store: &dyn Store,
    key: &str,
) -> Result<(Option<Entry>, Revision), StoreError> {
    match store.try_get(key) {
        Some(answer) => answer,
        None => store.get(key).await,
    }
}

pub(crate) async fn range(
    store: &dyn Store,
    prefix: &str,
    start_after: Option<&str>,
    revision: Option<Revision>,
    limit: usize,
) -> Result<Page, StoreError> {
    match store.try_range(prefix, start_after, revision, limit) {
        Some(answer) => answer,
        None => store.range(prefix, start_after, revision, limit).await,
    }
}

pub(crate) async fn revision(store: &dyn Store) -> Result<Revision, StoreError> {
    match store.try_revision() {
        Some(revision) => Ok(revision),
        None => store.revision().await,
    }
}

/// The object, decoded, with its entry; absent is "not found".
pub(crate) async fn require(
    store: &dyn Store,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<(Value, Entry), Status> {
    let entry = get(store, &key(resource, namespace, name))
        .await
        .map_err(|e| failure(&e))?
        .0
        .ok_or_else(|| Status::not_found(&resource.group_resource(), name))?;
    Ok((object(resource, &entry.value)?, entry))
}

/// As [`require`] for a resource named by group, version and plural; absent is `None`.
pub(crate) async fn find(
    store: &dyn Store,
    gvr: (&str, &str, &str),
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, Status> {
    let resource = builtin(gvr);
    match require(store, resource, namespace, name).await {
        Ok((object, _)) => Ok(Some(object)),
        Err(status) if status.code == 404 => Ok(None),
        Err(status) => Err(status),
    }
}

/// All objects of a resource in a namespace, or everywhere; for resources of which there are few.
pub(crate) async fn all(
    store: &dyn Store,
    gvr: (&str, &str, &str),
    namespace: &str,
) -> Result<Vec<Value>, Status> {
    let resource = builtin(gvr);
    let page = range(store, &prefix(resource, namespace), None, None, 0)
        .await
        .map_err(|error| failure(&error))?;
    page.entries
        .iter()
        .map(|entry| object(resource, &entry.value))
        .collect()
}

/// A resource that this server's own code relies on.
pub(crate) fn builtin((group, version, plural): (&str, &str, &str)) -> &'static Resource {
    catalogue::find(group, version, plural)
        .unwrap_or_else(|| panic!("the catalogue lacks {plural}.{version}.{group}"))
}

/// A store error that no handler has an answer of its own for.
pub(crate) fn failure(error: &StoreError) -> Status {
    match error {
        StoreError::Compacted { .. } => {
            Status::expired("The resourceVersion for the provided list is too old.")
        }
        StoreError::FutureRevision { current } => {
            Status::timeout(format!("Too large resource version, current: {current}"))
        }
        StoreError::Closed => Status::service_unavailable("the server is shutting down"),
        StoreError::Unavailable(_) => Status::service_unavailable(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_bytes_are_recognised_around_the_revision() {
        let encoded =
            br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"v"}}"#;
        let value = fluyt_store::splice_in(splice, Bytes::from_static(encoded), 1234);
        let entry = Entry {
            key: "/registry/configmaps/default/a".into(),
            value,
            create_revision: 7,
            mod_revision: 1234,
        };
        assert!(is_unchanged(&entry, encoded));
        let other =
            br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"w"}}"#;
        assert!(!is_unchanged(&entry, other));
        assert!(
            list_item(&entry.value).starts_with(br#""metadata":{"resourceVersion":"1234","name""#)
        );
    }
}
