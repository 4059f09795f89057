//! Flags and steps that several writing verbs share: dry runs, field managers, validation, creating.

use crate::context::Context;
use crate::failure::Failure;
use crate::object::{LAST_APPLIED, map_mut};
use crate::output;
use crate::rest::Call;
use crate::selection::Reference;
use crate::text::{gojson, goquote::quote};
use serde_json::{Value, json};

/// Where a change is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DryRun {
    None,
    Client,
    Server,
}

impl DryRun {
    /// What the outcome line gets after it.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        }
    }
}

#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct DryRunFlag {
    /// Must be "none", "server", or "client": client prints without sending, server sends without persisting
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "unchanged", default_value = "none", hide_default_value = true, value_name = "MODE")]
    dry_run: String,
}

impl DryRunFlag {
    pub(crate) fn mode(&self) -> Result<DryRun, Failure> {
        match self.dry_run.as_str() {
            "none" | "" => Ok(DryRun::None),
            "client" => Ok(DryRun::Client),
            "server" => Ok(DryRun::Server),
            "unchanged" => {
                output::error_line(
                    "--dry-run is deprecated and can be replaced with --dry-run=client.",
                );
                Ok(DryRun::Client)
            }
            other => Err(Failure::message(format!(
                "Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."
            ))),
        }
    }
}

#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct ValidateFlag {
    /// Must be one of: strict (or true), warn, ignore (or false)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "strict", default_value = "strict", hide_default_value = true, value_name = "MODE")]
    validate: String,
}

impl ValidateFlag {
    /// The `fieldValidation` of requests.
    pub(crate) fn field_validation(&self) -> Result<&'static str, Failure> {
        match self.validate.as_str() {
            "" | "strict" | "true" => Ok("Strict"),
            "warn" => Ok("Warn"),
            "ignore" | "false" => Ok("Ignore"),
            other => Err(Failure::message(format!(
                "invalid - validate option {}",
                quote(other)
            ))),
        }
    }
}

/// How objects are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending<'a> {
    pub(crate) dry_run: DryRun,
    pub(crate) field_manager: &'a str,
    pub(crate) field_validation: &'static str,
}

/// Creates the object; with a dry run of the client it is answered as it is.
pub(crate) async fn create(
    context: &Context,
    reference: &Reference,
    sending: Sending<'_>,
) -> Result<Value, Failure> {
    if sending.dry_run == DryRun::Client {
        return Ok(reference.value.clone());
    }
    let call = Call::post(
        reference.mapping.collection(reference.namespace.as_deref()),
        &reference.value,
    )
    .query("fieldManager", sending.field_manager)
    .query("fieldValidation", sending.field_validation)
    .dry_run(sending.dry_run == DryRun::Server);
    context.rest().await?.json(&call).await
}

/// Writes the object's own configuration into its annotation, as the next `apply` compares with it.
pub(crate) fn annotate_last_applied(object: &mut Value) {
    let text = last_applied_text(object);
    map_mut(object, &["metadata", "annotations"]).insert(LAST_APPLIED.to_owned(), json!(text));
}

/// The configuration in the form of the annotation: without the annotation itself, a newline at the end.
pub(crate) fn last_applied_text(object: &Value) -> String {
    let mut bare = object.clone();
    map_mut(&mut bare, &["metadata", "annotations"]).remove(LAST_APPLIED);
    gojson::compact(&bare) + "\n"
}

/// Sends a patch to an object.
pub(crate) async fn patch(
    context: &Context,
    reference: &Reference,
    media: &'static str,
    patch: &Value,
    field_manager: &str,
    dry_run: DryRun,
) -> Result<Value, Failure> {
    let call = Call::patch(reference.path(), media, patch.to_string().into_bytes())
        .query("fieldManager", field_manager)
        .dry_run(dry_run == DryRun::Server);
    context.rest().await?.json(&call).await
}

/// Like [`patch`] with the strategic merge patch that turns `before` into `after`.
pub(crate) async fn patch_difference(
    context: &Context,
    reference: &Reference,
    after: &Value,
    field_manager: &str,
    dry_run: DryRun,
) -> Result<Value, Failure> {
    let kind = reference
        .mapping
        .catalogued()
        .map(|resource| resource.type_id);
    let media = if kind.is_some() {
        crate::rest::STRATEGIC_PATCH
    } else {
        crate::rest::MERGE_PATCH
    };
    let difference = crate::strategic::two_way(kind, &reference.value, after);
    patch(
        context,
        reference,
        media,
        &difference,
        field_manager,
        dry_run,
    )
    .await
}
