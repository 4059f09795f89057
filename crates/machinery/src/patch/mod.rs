//! The three kinds of patches a client may send, applied to an object as JSON.
//!
//! Invariant: a patch that fails leaves no trace: the target is borrowed, the result is new. The
//! result is not checked here; decode it again.

mod order;
mod strategic;

use fluyt_api::status::{Details, Status};
use serde_json::Value;

pub use strategic::strategic;

/// The most operations of a JSON patch, as in the reference.
const MAX_OPERATIONS: usize = 10_000;

/// Applies an RFC 6902 patch.
pub fn json(target: &Value, patch: &[u8]) -> Result<Value, Status> {
    let operations: json_patch::Patch = serde_json::from_slice(patch)
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    if operations.0.len() > MAX_OPERATIONS {
        return Err(Status::too_large(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.0.len()
        )));
    }
    let mut result = target.clone();
    json_patch::patch(&mut result, &operations).map_err(|_| unprocessable())?;
    Ok(result)
}

/// Applies an RFC 7396 patch.
pub fn merge(target: &Value, patch: &Value) -> Result<Value, Status> {
    if !patch.is_object() {
        return Err(Status::bad_request(
            "error decoding patch: a merge patch must be an object",
        ));
    }
    let mut result = target.clone();
    json_patch::merge(&mut result, patch);
    Ok(result)
}

/// A well-formed patch that does not fit the object. Which operation failed is not said, as upstream: clients print a cause
/// with its field, and there is none.
fn unprocessable() -> Status {
    Status {
        code: 422,
        reason: "Invalid",
        message: "the server rejected our request due to an error in our request".to_owned(),
        details: Some(Details::default()),
    }
}

#[cfg(test)]
mod tests;
