//! What a request's query says about how it is to be carried out, checked as upstream's meta/v1 validation does:
//! values that nobody knows are an invalid object of the options' own kind, not a malformed request.

use fluyt_api::field::{self, FieldError, Path};
use fluyt_api::status::Status;
use fluyt_machinery::codec::FieldValidation;

use crate::dispatch::Request;
use crate::http::query::Query;

const GROUP: &str = "meta.k8s.io";
/// The longest name of a field manager, in bytes.
const MANAGER_BYTES: usize = 128;

/// 422 unless there are no errors.
pub(crate) fn check(kind: &str, errors: Vec<FieldError>) -> Result<(), Status> {
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(GROUP, kind, "", errors)),
    }
}

/// How the request is to be carried out: whether only tried, and what becomes of unknown fields.
///
/// Errors: 422 with every option that is not valid.
pub(crate) fn write(request: &Request) -> Result<(bool, FieldValidation), Status> {
    let query = &request.query;
    let kind = match request.info.verb {
        "create" => "CreateOptions",
        "update" => "UpdateOptions",
        "patch" => "PatchOptions",
        _ => "DeleteOptions",
    };
    let mut errors = Vec::new();
    if kind == "PatchOptions" && query.get("force").is_some() {
        let why = "may not be specified for non-apply patch";
        errors.push(field::forbidden(&Path::new("force"), why));
    }
    if kind == "DeleteOptions" {
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        return check(kind, errors).map(|()| (dry_run, FieldValidation::Ignore));
    }
    errors.extend(query.get("fieldManager").map_or(Vec::new(), manager));
    let dry_run = dry_run(query.all("dryRun"), &mut errors);
    let validation = field_validation(query, &mut errors);
    check(kind, errors).map(|()| (dry_run, validation))
}

/// `dryRun=All`.
pub(crate) fn dry_run<'a>(
    values: impl Iterator<Item = &'a str>,
    errors: &mut Vec<FieldError>,
) -> bool {
    let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
    if values.iter().any(|value| *value != "All") {
        let path = Path::new("dryRun");
        errors.push(field::not_supported(&path, values.clone(), &["All"]));
    }
    !values.is_empty()
}

fn field_validation(query: &Query, errors: &mut Vec<FieldError>) -> FieldValidation {
    match query.non_empty("fieldValidation") {
        None | Some("Warn") => FieldValidation::Warn,
        Some("Ignore") => FieldValidation::Ignore,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            let known = ["", "Ignore", "Strict", "Warn"];
            let path = Path::new("fieldValidation");
            errors.push(field::not_supported(&path, other, &known));
            FieldValidation::Warn
        }
    }
}

/// A field manager's name is short and printable.
fn manager(name: &str) -> Vec<FieldError> {
    let path = Path::new("fieldManager");
    let mut errors = Vec::new();
    if name.len() > MANAGER_BYTES {
        errors.push(field::too_long(&path, "", MANAGER_BYTES));
    }
    for (at, c) in name.char_indices().filter(|(_, c)| c.is_control()) {
        let why = format!("invalid character U+{:04X} (at position {at})", c as u32);
        errors.push(field::invalid(&path, name, why));
    }
    errors
}

/// `resourceVersionMatch` of a list.
///
/// Errors: 422 with each rule that is broken.
pub(crate) fn check_list(query: &Query) -> Result<(), Status> {
    let mut errors = Vec::new();
    let path = Path::new("resourceVersionMatch");
    let version = query.non_empty("resourceVersion");
    if let Some(matching) = query.non_empty("resourceVersionMatch") {
        let mut forbid = |why: &str| errors.push(field::forbidden(&path, why));
        if version.is_none() {
            forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if query.non_empty("continue").is_some() {
            forbid("resourceVersionMatch is forbidden when continue is provided");
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            let known = ["Exact", "NotOlderThan", ""];
            errors.push(field::not_supported(&path, matching, &known));
        }
        if matching == "Exact" && version == Some("0") {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(field::forbidden(&path, why));
        }
    }
    if query.non_empty("sendInitialEvents").is_some() {
        let why = "sendInitialEvents is forbidden for list";
        errors.push(field::forbidden(&Path::new("sendInitialEvents"), why));
    }
    check("ListOptions", errors)
}

/// `resourceVersionMatch` and `sendInitialEvents` of a watch.
///
/// Errors: 422 with each rule that is broken.
pub(crate) fn check_watch(query: &Query, send_initial: Option<bool>) -> Result<(), Status> {
    let mut errors = Vec::new();
    let path = Path::new("resourceVersionMatch");
    let matching = query.non_empty("resourceVersionMatch");
    if send_initial.is_some() && matching != Some("NotOlderThan") {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(field::forbidden(&path, why));
    }
    if let Some(matching) = matching {
        if send_initial.is_none() {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(field::forbidden(&path, why));
        }
        if matching != "NotOlderThan" {
            errors.push(field::not_supported(&path, matching, &["NotOlderThan"]));
        }
        if query.non_empty("continue").is_some() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(field::forbidden(&path, why));
        }
    }
    check("ListOptions", errors)
}
