//! The generic behaviour of a kind with the places where a kind adds its own.
//!
//! Invariant: hooks only add to the generic rules; metadata is handled here and nowhere else.

use fluyt_api::catalogue::Resource;
use fluyt_api::field::FieldError;
use serde_json::Value;

use super::{Durability, Strategy};
use crate::codec::plan::plan;
use crate::ctx::Ctx;
use crate::errors::Errors;
use crate::get::{Get, Put};
use crate::kinds;
use crate::meta::{self, NameRule};

/// The facts and hooks of one kind.
pub struct Rules {
    namespaced: bool,
    name: NameRule,
    has_status: bool,
    /// The status of an object of which nothing is known yet.
    no_status: Option<Value>,
    /// The server counts changes in `metadata.generation`.
    pub(crate) generation: bool,
    pub(crate) create_on_update: bool,
    pub(crate) unconditional_update: bool,
    pub(crate) orphans: bool,
    pub(crate) durability: Durability,
    /// A new object keeps the status it comes with.
    pub(crate) keep_status_on_create: bool,
    /// An update of annotations alone counts as a change.
    pub(crate) annotations_count: bool,
    /// An update through `/status` keeps labels and annotations too.
    pub(crate) status_keeps_metadata: bool,
    pub(crate) create: fn(&mut Value, &Ctx),
    pub(crate) update: fn(&mut Value, &Value, &Ctx),
    pub(crate) status_update: fn(&mut Value, &Value, &Ctx),
    pub(crate) check: fn(&Value, &mut Errors),
    pub(crate) check_update: fn(&Value, &Value, &mut Errors),
    pub(crate) check_status: fn(&Value, &Value, &mut Errors),
    pub(crate) warn: fn(&Value) -> Vec<String>,
    /// Updates are never warned about.
    pub(crate) silent_updates: bool,
    pub(crate) grace: fn(&Value, &Value) -> Option<i64>,
    pub(crate) select: fn(&Value) -> Vec<(&'static str, String)>,
}

impl Rules {
    pub(super) fn of(resource: &Resource) -> Rules {
        let mut rules = Rules {
            namespaced: resource.namespaced,
            name: meta::name_rule(resource),
            has_status: resource.subresource("status").is_some(),
            no_status: plan(resource.type_id).empty().pull("status"),
            generation: has_generation(resource),
            create_on_update: creates_on_update(resource),
            unconditional_update: updates_unconditionally(resource),
            orphans: matches!(
                (resource.group, resource.kind),
                ("", "ReplicationController") | ("batch", "Job")
            ),
            durability: Durability::Durable,
            keep_status_on_create: false,
            annotations_count: false,
            status_keeps_metadata: false,
            create: |_, _| {},
            update: |_, _, _| {},
            status_update: |_, _, _| {},
            check: |_, _| {},
            check_update: |_, _, _| {},
            check_status: |_, _, _| {},
            warn: |_| Vec::new(),
            silent_updates: false,
            grace: |_, _| None,
            select: |_| Vec::new(),
        };
        if matches!(resource.kind, "Event" | "Lease") {
            rules.durability = Durability::Relaxed;
        }
        kinds::extend(resource, &mut rules);
        rules
    }
}

impl Strategy for Rules {
    fn prepare_for_create(&self, object: &mut Value, ctx: &Ctx) {
        if self.has_status && !self.keep_status_on_create {
            match &self.no_status {
                Some(status) => object.put("status", status.clone()),
                None => drop(object.pull("status")),
            }
        }
        if self.generation {
            object.open("metadata").put("generation", 1);
        }
        (self.create)(object, ctx);
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Errors::of(|errors| {
            meta::validate(object, self.namespaced, self.name, errors);
            (self.check)(object, errors);
        })
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, ctx: &Ctx) {
        if self.has_status {
            new.copy_from(old, "status");
        }
        (self.update)(new, old, ctx);
        if !self.generation {
            return;
        }
        meta::bump_generation(new, old);
        let annotations = |object: &Value| meta::of(object).at("annotations").clone();
        let generation = meta::of(old).int("generation").unwrap_or(0);
        if self.annotations_count
            && annotations(new) != annotations(old)
            && meta::of(new).int("generation") == Some(generation)
        {
            new.open("metadata").put("generation", generation + 1);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        Errors::of(|errors| {
            meta::validate_update(new, old, self.namespaced, errors);
            (self.check_update)(new, old, errors);
        })
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value, ctx: &Ctx) {
        let status = new.pull("status");
        let metadata = new
            .pull("metadata")
            .unwrap_or_else(|| Value::Object(Default::default()));
        let resource_version = metadata.at("resourceVersion").clone();
        *new = old.clone();
        if let Some(status) = status {
            new.put("status", status);
        }
        if !self.status_keeps_metadata {
            new.put("metadata", metadata);
            new.open("metadata").copy_from(meta::of(old), "generation");
        } else if !resource_version.is_null() {
            new.open("metadata")
                .put("resourceVersion", resource_version);
        }
        (self.status_update)(new, old, ctx);
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        Errors::of(|errors| {
            meta::validate_update(new, old, self.namespaced, errors);
            (self.check_status)(new, old, errors);
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        (self.warn)(object)
    }

    fn warnings_on_update(&self, new: &Value, old: &Value) -> Vec<String> {
        let unchanged = |name: &str| new.at(name) == old.at(name);
        if self.silent_updates || (unchanged("spec") && unchanged("template")) {
            return Vec::new();
        }
        (self.warn)(new)
    }

    fn allow_create_on_update(&self) -> bool {
        self.create_on_update
    }

    fn allow_unconditional_update(&self) -> bool {
        self.unconditional_update
    }

    fn graceful_delete_seconds(&self, object: &Value, options: &Value) -> Option<i64> {
        (self.grace)(object, options)
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        (self.select)(object)
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    fn orphans_by_default(&self) -> bool {
        self.orphans
    }
}

/// Kinds whose first generation is 1.
fn has_generation(resource: &Resource) -> bool {
    match resource.group {
        "" => matches!(
            resource.kind,
            "Pod" | "PodTemplate" | "ReplicationController"
        ),
        "apps" => resource.kind != "ControllerRevision",
        "batch" | "discovery.k8s.io" | "policy" | "scheduling.k8s.io" => true,
        "admissionregistration.k8s.io"
        | "flowcontrol.apiserver.k8s.io"
        | "apiextensions.k8s.io" => true,
        "networking.k8s.io" => {
            matches!(resource.kind, "Ingress" | "IngressClass" | "NetworkPolicy")
        }
        "resource.k8s.io" => matches!(
            resource.kind,
            "ResourceSlice" | "DeviceClass" | "DeviceTaintRule"
        ),
        _ => false,
    }
}

/// Kinds that a PUT creates.
fn creates_on_update(resource: &Resource) -> bool {
    matches!(
        (resource.group, resource.kind),
        ("", "LimitRange" | "Event" | "Service" | "Endpoints")
            | ("events.k8s.io", "Event")
            | ("coordination.k8s.io", "Lease" | "LeaseCandidate")
            | ("node.k8s.io", "RuntimeClass")
            | (
                "rbac.authorization.k8s.io",
                "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding"
            )
    )
}

/// Kinds that a PUT without a resourceVersion overwrites.
fn updates_unconditionally(resource: &Resource) -> bool {
    !matches!(
        (resource.group, resource.kind),
        ("admissionregistration.k8s.io", _)
            | ("internal.apiserver.k8s.io", _)
            | (
                "certificates.k8s.io",
                "ClusterTrustBundle" | "PodCertificateRequest"
            )
            | ("coordination.k8s.io", _)
            | ("node.k8s.io", _)
            | ("policy", "PodDisruptionBudget")
            | (
                "storage.k8s.io",
                "CSIDriver" | "CSINode" | "CSIStorageCapacity" | "VolumeAttachment"
            )
            | ("storagemigration.k8s.io", _)
            | ("apiextensions.k8s.io" | "apiregistration.k8s.io", _)
    )
}
