//! Bytes to objects and back: what a client sends is decoded once, against the schema, and encoded
//! once.
//!
//! Invariant: an object that leaves [`decode`] has only fields its schema knows, each of the right
//! type and in canonical spelling, with `apiVersion` and `kind` set to what was expected; decoding
//! its encoding gives the same object again.

mod decode;
mod encode;
mod go_fields;
pub(crate) mod plan;
pub mod protobuf;
mod scalar;
mod syntax;
mod yaml;

use std::borrow::Cow;

pub use encode::{encode, encode_plain, splice_at};
pub use fluyt_api::schema::Gvk;
use fluyt_api::schema::TypeId;
use fluyt_api::status::Status;
use fluyt_api::{catalogue, schema};
pub use scalar::{format_micro_time, format_time};
use serde_json::Value;

use decode::{Findings, Pass};

/// What to do with fields that the schema does not know or that stand twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and say so in a warning.
    #[default]
    Warn,
    /// Refuse the object.
    Strict,
}

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Json,
    Yaml,
    /// `application/vnd.kubernetes.protobuf`, see [`protobuf`].
    Protobuf,
}

/// What a body held.
#[derive(Debug)]
pub struct Decoded {
    pub object: Value,
    /// One text per dropped field, for `Warning` headers.
    pub warnings: Vec<String>,
}

/// Reads a body as an object of `resource_type`.
///
/// `kind` and `apiVersion` may be absent; when present they must be those expected.
pub fn decode(
    body: &[u8],
    media: Media,
    resource_type: TypeId,
    expected: &Gvk,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let unrecognized = |message: &str| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {message} ({})",
            expected.kind,
            summary(body)
        ))
    };
    let pass = Pass::new(validation != FieldValidation::Ignore);
    let object = match media {
        Media::Json => {
            let text = text(body);
            let mut input = serde_json::Deserializer::from_str(&text);
            pass.run(resource_type, &mut input)
                .and_then(|object| input.end().map(|()| object))
                .map_err(|error| unrecognized(&syntax::describe(&text, &error)))?
        }
        Media::Protobuf => {
            let value = protobuf::envelope(body)
                .and_then(|unknown| unknown.object(resource_type))
                .map_err(|why| unrecognized(&why))?;
            return decode_value(value, resource_type, expected, validation);
        }
        Media::Yaml => {
            let (value, duplicates) = yaml::parse(&text(body)).map_err(|e| unrecognized(&e))?;
            let object = pass.run(resource_type, value).map_err(|error| {
                Status::internal(format!("reading a parsed YAML document: {error}"))
            })?;
            return finish(
                object,
                duplicates,
                pass.into_findings(),
                expected,
                validation,
            );
        }
    };
    if !object.is_object() {
        let form = syntax::form(&text(body));
        return Err(unrecognized(&format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {form} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        )));
    }
    finish(
        object,
        Vec::new(),
        pass.into_findings(),
        expected,
        validation,
    )
}

/// Checks a value that is already parsed, a patch's result for instance, as [`decode`] would.
pub fn decode_value(
    value: Value,
    resource_type: TypeId,
    expected: &Gvk,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let pass = Pass::new(validation != FieldValidation::Ignore);
    let object = pass
        .run(resource_type, value)
        .map_err(|error| Status::internal(format!("reading a value: {error}")))?;
    if !object.is_object() {
        return Err(Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: not an object",
            expected.kind, expected.version, expected.kind
        )));
    }
    finish(
        object,
        Vec::new(),
        pass.into_findings(),
        expected,
        validation,
    )
}

fn finish(
    mut object: Value,
    mut strict: Vec<String>,
    findings: Findings,
    expected: &Gvk,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let field = |name: &str| {
        object
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let (kind, api_version) = (field("kind"), field("apiVersion"));
    let (group, version) = match api_version.rsplit_once('/') {
        Some((group, version)) => (group, version),
        None if api_version.is_empty() => (expected.group, expected.version),
        None => ("", api_version.as_str()),
    };
    let kind = if kind.is_empty() {
        expected.kind
    } else {
        &kind
    };
    let refuse = |why: String| {
        Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {}: {why}",
            expected.kind
        )))
    };
    if kind != expected.kind || !is_kind(group, version, kind) {
        if !is_kind(group, version, kind) {
            let of = if api_version.is_empty() {
                version
            } else {
                &api_version
            };
            return refuse(format!(
                "no kind {kind:?} is registered for version {of:?} in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\""
            ));
        }
        return refuse(format!(
            "converting ({version}.{kind}) to ({}.{}): unknown conversion",
            hub_package(expected.group),
            expected.kind
        ));
    }
    if let Some(fatal) = findings.fatal {
        return refuse(fatal);
    }
    strict.extend(findings.strict);
    if validation == FieldValidation::Strict && !strict.is_empty() {
        return refuse(format!("strict decoding error: {}", strict.join(", ")));
    }
    if (group, version) != (expected.group, expected.version) {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            group_version(expected)
        )));
    }
    object["kind"] = Value::from(expected.kind);
    object["apiVersion"] = Value::from(group_version(expected));
    let warnings = if validation == FieldValidation::Warn {
        strict
    } else {
        Vec::new()
    };
    Ok(Decoded { object, warnings })
}

/// `apps/v1`, or `v1` for the core group.
pub fn group_version(gvk: &Gvk) -> String {
    if gvk.group.is_empty() {
        gvk.version.to_owned()
    } else {
        format!("{}/{}", gvk.group, gvk.version)
    }
}

/// Whether any type of the API goes by this name.
fn is_kind(group: &str, version: &str, kind: &str) -> bool {
    catalogue::find_kind(group, version, kind).is_some()
        || schema::types().iter().any(|ty| {
            ty.gvks
                .iter()
                .any(|gvk| (gvk.group, gvk.version, gvk.kind) == (group, version, kind))
        })
}

/// The package of the reference's internal types of a group.
fn hub_package(group: &str) -> &str {
    match group.split('.').next() {
        None | Some("") => "core",
        Some(first) => first,
    }
}

/// Text as the reference reads it: bytes that are not UTF-8 become U+FFFD.
fn text(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body)
}

/// The start of a body, for messages.
fn summary(body: &[u8]) -> String {
    const MAX: usize = 30;
    let (head, more) = match body.get(..MAX) {
        Some(head) if body.len() > MAX => (head, " ..."),
        _ => (body, ""),
    };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => {
            let hex: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{more}")
        }
    }
}

#[cfg(test)]
mod tests;
