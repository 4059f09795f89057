//! The one way in which stored objects change: read, change, admit, validate, commit on the condition that nobody
//! else did; if somebody did, again. PUT, PATCH, status, scale, binding and eviction differ only in the middle.

use std::sync::Arc;

use bytes::Bytes;
use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use fluyt_machinery::{delete, strategy};
use fluyt_store::{Entry, Op, Precondition, StoreError};
use serde_json::Value;

use super::body::{self, meta};
use crate::admission::{Attributes, Operation};
use crate::authn::User;
use crate::core::Core;
use crate::lifecycle::{self, Part};
use crate::stored;

/// Tries before a busy object is reported as a conflict.
const TRIES: usize = 16;

pub(crate) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// A change of one object.
pub(crate) struct Changer<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) user: &'a Arc<User>,
    pub(crate) resource: &'static Resource,
    pub(crate) part: Part,
    /// Under which name admission sees the request ("status", "binding"…).
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) dry_run: bool,
}

/// What became of the object.
pub(crate) struct Changed {
    /// The stored bytes; of an object that the change deleted, its last state.
    pub(crate) value: Bytes,
    pub(crate) warnings: Vec<String>,
}

impl Changer<'_> {
    /// Applies `change`, which turns the stored object into the wanted one and may be called several times.
    pub(crate) async fn run(
        &self,
        mut change: impl FnMut(&Value) -> Result<Value, Status> + Send,
    ) -> Result<Changed, Status> {
        let key = stored::key(self.resource, self.namespace, self.name);
        let mut entry = self.read(&key).await?;
        for _ in 0..TRIES {
            let old = stored::object(self.resource, &entry.value)?;
            let new = change(&old)?;
            match self.attempt(&key, &entry, old, new).await? {
                Outcome::Done(changed) => return Ok(changed),
                Outcome::Raced(Some(current)) => entry = current,
                Outcome::Raced(None) => entry = self.read(&key).await?,
            }
        }
        Err(self.conflict())
    }

    fn conflict(&self) -> Status {
        Status::conflict(&self.resource.group_resource(), self.name, MODIFIED)
    }

    async fn read(&self, key: &str) -> Result<Entry, Status> {
        stored::get(&*self.core.store, key)
            .await
            .map_err(|error| stored::failure(&error))?
            .0
            .ok_or_else(|| Status::not_found(&self.resource.group_resource(), self.name))
    }

    async fn attempt(
        &self,
        key: &str,
        entry: &Entry,
        old: Value,
        mut new: Value,
    ) -> Result<Outcome, Status> {
        let resource = self.resource;
        self.check_preconditions(entry, &old, &mut new)?;
        let context = lifecycle::context(self.namespace);
        lifecycle::prepare_update(resource, self.part, &mut new, &old, &context)?;
        let attributes = Attributes {
            core: self.core,
            user: self.user,
            resource,
            subresource: self.subresource,
            operation: Operation::Update,
            namespace: self.namespace,
            name: self.name,
            dry_run: self.dry_run,
            old: Some(&old),
        };
        self.core.admission.admit(&attributes, &mut new).await?;
        let reserved = self
            .core
            .allocators
            .reserve(self.core, resource, &mut new, Some(&old))
            .await?;
        lifecycle::validate_update(resource, self.part, &new, &old)?;
        self.core.admission.validate(&attributes, &new).await?;
        let warnings = match self.part {
            Part::Main => strategy::of(resource).warnings_on_update(&new, &old),
            Part::Status | Part::Own => Vec::new(),
        };
        let encoded = stored::encode(resource, &new);
        if self.dry_run {
            let value = crate::http::respond::to_bytes(&new);
            return Ok(Outcome::Done(Changed { value, warnings }));
        }
        if delete::completes_deletion(resource, &new, &old) {
            let outcome = self.delete(key, entry, &new).await?;
            if matches!(outcome, Outcome::Done(_)) {
                self.core.allocators.release(resource, &old);
            }
            return Ok(outcome);
        }
        if stored::is_unchanged(entry, &encoded) {
            let value = entry.value.clone();
            return Ok(Outcome::Done(Changed { value, warnings }));
        }
        let put = Op::Put {
            key: key.to_owned(),
            value: encoded,
            precondition: Precondition::ModRevision(entry.mod_revision),
            durability: lifecycle::durability(resource),
        };
        match self.core.store.commit(vec![put]).await {
            Ok(mut committed) => {
                reserved.keep();
                let entry = committed.entries.pop().flatten();
                let value = entry.map(|entry| entry.value).unwrap_or_default();
                Ok(Outcome::Done(Changed { value, warnings }))
            }
            Err(StoreError::PreconditionFailed { current, .. }) => Ok(Outcome::Raced(current)),
            Err(error) => Err(stored::failure(&error)),
        }
    }

    /// The object's own uid and resourceVersion, where the client gives them, must be the stored ones.
    fn check_preconditions(
        &self,
        entry: &Entry,
        old: &Value,
        new: &mut Value,
    ) -> Result<(), Status> {
        let uid = meta(new, "uid");
        if !uid.is_empty() && uid != meta(old, "uid") {
            return Err(Status::conflict(
                &self.resource.group_resource(),
                self.name,
                &format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                    meta(old, "uid")
                ),
            ));
        }
        let given = meta(new, "resourceVersion");
        if given.is_empty() || given == "0" {
            if self.subresource.is_empty()
                && !strategy::of(self.resource).allow_unconditional_update()
            {
                return Err(lifecycle::version_required(self.resource, self.name));
            }
        } else if given != entry.mod_revision.to_string() {
            if given.parse::<u64>().is_err() {
                return Err(lifecycle::version_invalid(self.resource, self.name, given));
            }
            return Err(self.conflict());
        }
        let current = entry.mod_revision.to_string();
        body::set(new, "resourceVersion", current.into());
        Ok(())
    }

    /// The update took the last finalizer of an object that was being deleted.
    async fn delete(&self, key: &str, entry: &Entry, new: &Value) -> Result<Outcome, Status> {
        let delete = Op::Delete {
            key: key.to_owned(),
            precondition: Precondition::ModRevision(entry.mod_revision),
        };
        match self.core.store.commit(vec![delete]).await {
            Ok(_) => Ok(Outcome::Done(Changed {
                value: crate::http::respond::to_bytes(new),
                warnings: Vec::new(),
            })),
            Err(StoreError::PreconditionFailed { current, .. }) => Ok(Outcome::Raced(current)),
            Err(error) => Err(stored::failure(&error)),
        }
    }
}

enum Outcome {
    Done(Changed),
    /// Somebody else changed it; with the new state if the store gave it.
    Raced(Option<Entry>),
}
