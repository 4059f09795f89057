//! What a DELETE does to an object: remove it, mark it and wait, or nothing because it is marked
//! already.
//!
//! Invariant: an object with finalizers or a running grace period is never removed; its deletion
//! timestamp is set once and the grace period only ever gets shorter.

use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::codec::format_time;
use crate::get::{Get, Put};
use crate::{meta, strategy};

/// The outcome of a DELETE.
#[derive(Clone, Debug, PartialEq)]
pub enum Deletion {
    /// Remove the object now; answer with it.
    Remove,
    /// Store this and answer with it: finalizers or a grace period must pass first.
    Mark(Box<Value>),
    /// Nothing to do: it is being deleted already. Answer with the object as it is.
    Pending,
}

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Decides what a DELETE with `options` (a `metav1.DeleteOptions` as JSON, or null) does.
///
/// Errors: 409 when a precondition does not hold, 422 for contradictory options.
pub fn delete(
    resource: &Resource,
    object: &Value,
    options: &Value,
    now: Timestamp,
) -> Result<Deletion, Status> {
    check_options(options)?;
    check_preconditions(resource, object, options)?;
    if (resource.group, resource.kind) == ("", "Namespace") {
        return Ok(delete_namespace(resource, object, options, now));
    }
    let mut marked = object.clone();
    let graceful = match begin_grace(resource, &mut marked, options, now) {
        Grace::Pending => return Ok(Deletion::Pending),
        Grace::None => None,
        Grace::Seconds(seconds) => Some(seconds),
    };
    set_propagation(resource, &mut marked, options);
    let finalizers = !meta::of(&marked).items("finalizers").is_empty();
    match graceful {
        None if finalizers => {
            mark(&mut marked, now);
            if marked == *object {
                return Ok(Deletion::Pending);
            }
            Ok(Deletion::Mark(Box::new(marked)))
        }
        None => Ok(Deletion::Remove),
        Some(seconds) if finalizers || seconds > 0 => Ok(Deletion::Mark(Box::new(marked))),
        Some(_) => Ok(Deletion::Remove),
    }
}

/// Whether an update that leaves `new` completes a deletion: nothing holds the object any more.
pub fn completes_deletion(resource: &Resource, new: &Value, old: &Value) -> bool {
    let (new_meta, old_meta) = (meta::of(new), meta::of(old));
    let held = (resource.group, resource.kind) == ("", "Namespace")
        && !new.at("spec").items("finalizers").is_empty();
    !held
        && new_meta.items("finalizers").is_empty()
        && old_meta.has("deletionTimestamp")
        && old_meta.int("deletionGracePeriodSeconds").unwrap_or(0) == 0
}

fn check_options(options: &Value) -> Result<(), Status> {
    let policy = options.text("propagationPolicy");
    let both = !policy.is_empty() && options.has("orphanDependents");
    let known = ["", "Foreground", "Background", "Orphan"].contains(&policy);
    if known && !both {
        return Ok(());
    }
    let errors = crate::errors::Errors::of(|errors| {
        let at = crate::at::At::root("propagationPolicy");
        if both {
            errors.invalid(
                &at,
                policy,
                "orphanDependents and deletionPropagation cannot be both set",
            );
        }
        if !known {
            errors.not_supported(&at, policy, &["Foreground", "Background", "Orphan"]);
        }
    });
    Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", errors))
}

fn check_preconditions(resource: &Resource, object: &Value, options: &Value) -> Result<(), Status> {
    let wanted = options.at("preconditions");
    let metadata = meta::of(object);
    let conflict = |what: &str, wanted: &str, found: &str| {
        Status::conflict(
            &resource.group_resource(),
            metadata.text("name"),
            &format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {}",
                if what == "UID" {
                    "deleted and then recreated"
                } else {
                    "modified"
                }
            ),
        )
    };
    for (field, what) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let (want, found) = (wanted.text(field), metadata.text(field));
        if wanted.has(field) && want != found {
            return Err(conflict(what, want, found));
        }
    }
    Ok(())
}

enum Grace {
    /// The kind has no grace periods.
    None,
    /// A grace period is running and is not to be shortened.
    Pending,
    /// The object has been marked with this many seconds.
    Seconds(i64),
}

fn begin_grace(resource: &Resource, object: &mut Value, options: &Value, now: Timestamp) -> Grace {
    let Some(granted) = strategy::of(resource).graceful_delete_seconds(object, options) else {
        return Grace::None;
    };
    let metadata = object.open("metadata");
    if !metadata.has("deletionTimestamp") {
        set_deletion(metadata, now, granted);
        if let Some(generation) = metadata.int("generation").filter(|g| *g > 0) {
            metadata.put("generation", generation + 1);
        }
        return Grace::Seconds(granted);
    }
    let Some(running) = metadata.int("deletionGracePeriodSeconds") else {
        return Grace::None;
    };
    match options.int("gracePeriodSeconds") {
        Some(asked) if asked < running => {
            let end = metadata.text("deletionTimestamp").parse().unwrap_or(now);
            let start = end - SignedDuration::from_secs(running);
            set_deletion(metadata, start, asked.max(0));
            Grace::Seconds(asked.max(0))
        }
        _ => Grace::Pending,
    }
}

fn set_deletion(metadata: &mut Value, start: Timestamp, seconds: i64) {
    let end = start + SignedDuration::from_secs(seconds);
    metadata.put("deletionTimestamp", format_time(end));
    metadata.put("deletionGracePeriodSeconds", seconds);
}

/// Marks an object whose kind knows no grace: only finalizers hold it.
fn mark(object: &mut Value, now: Timestamp) {
    let metadata = object.open("metadata");
    if !metadata.has("deletionTimestamp") {
        if let Some(generation) = metadata.int("generation").filter(|g| *g > 0) {
            metadata.put("generation", generation + 1);
        }
        metadata.put("deletionTimestamp", format_time(now));
    }
    metadata.put("deletionGracePeriodSeconds", 0);
}

/// Sets or clears the finalizers by which the garbage collector learns what becomes of dependents.
fn set_propagation(resource: &Resource, object: &mut Value, options: &Value) {
    if resource.kind == "Event" {
        return;
    }
    let has = |name: &str| {
        meta::of(object)
            .items("finalizers")
            .iter()
            .any(|f| f == name)
    };
    let (orphan, foreground) = match (
        options.flag("orphanDependents"),
        options.text("propagationPolicy"),
    ) {
        (Some(orphan), _) => (orphan, false),
        (None, "Orphan") => (true, false),
        (None, "Foreground") => (false, true),
        (None, "Background") => (false, false),
        _ if has(ORPHAN) => (true, false),
        _ if has(FOREGROUND) => (false, true),
        _ => (strategy::of(resource).orphans_by_default(), false),
    };
    for (name, wanted) in [(ORPHAN, orphan), (FOREGROUND, foreground)] {
        if wanted {
            meta::add_finalizer(object, name);
        } else {
            meta::remove_finalizer(object, name);
        }
    }
}

/// A namespace first terminates; it goes when its own finalizers and those of its spec are gone.
fn delete_namespace(
    resource: &Resource,
    object: &Value,
    options: &Value,
    now: Timestamp,
) -> Deletion {
    let mut marked = object.clone();
    set_propagation(resource, &mut marked, options);
    let held = !marked.at("spec").items("finalizers").is_empty()
        || !meta::of(&marked).items("finalizers").is_empty();
    if !meta::of(object).has("deletionTimestamp") {
        marked
            .open("metadata")
            .put("deletionTimestamp", format_time(now));
        marked.open("status").put("phase", "Terminating");
        if held {
            return Deletion::Mark(Box::new(marked));
        }
        return Deletion::Remove;
    }
    if !held {
        return Deletion::Remove;
    }
    if marked == *object {
        Deletion::Pending
    } else {
        Deletion::Mark(Box::new(marked))
    }
}

#[cfg(test)]
mod tests;
