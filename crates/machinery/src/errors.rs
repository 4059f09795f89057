//! Collecting field errors while an object is walked.
//!
//! Invariant: a path becomes text only when there is something to report at it.

use fluyt_api::field::{ErrorType, FieldError};
use serde_json::Value;

use crate::at::At;

/// The text of upstream's error for a field that may not change.
pub(crate) const IMMUTABLE: &str = "field is immutable";

/// The errors found so far.
#[derive(Default)]
pub struct Errors(Vec<FieldError>);

impl Errors {
    /// Runs `check` and returns what it found.
    pub fn of(check: impl FnOnce(&mut Errors)) -> Vec<FieldError> {
        let mut errors = Errors::default();
        check(&mut errors);
        errors.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn extend(&mut self, more: Vec<FieldError>) {
        self.0.extend(more);
    }

    fn push(&mut self, ty: ErrorType, at: &At, bad_value: Option<Value>, detail: String) {
        self.0.push(FieldError {
            ty,
            field: at.to_string(),
            bad_value,
            detail,
        });
    }

    pub fn required(&mut self, at: &At, detail: &str) {
        self.push(ErrorType::Required, at, None, detail.to_owned());
    }

    pub fn invalid(&mut self, at: &At, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(ErrorType::Invalid, at, Some(value.into()), detail.into());
    }

    /// One `invalid` per message, as name checks give them.
    pub fn all_invalid(&mut self, at: &At, value: &str, messages: Vec<String>) {
        for message in messages {
            self.invalid(at, value, message);
        }
    }

    pub fn forbidden(&mut self, at: &At, detail: impl Into<String>) {
        self.push(ErrorType::Forbidden, at, None, detail.into());
    }

    pub fn duplicate(&mut self, at: &At, value: impl Into<Value>) {
        self.push(ErrorType::Duplicate, at, Some(value.into()), String::new());
    }

    pub fn not_found(&mut self, at: &At, value: impl Into<Value>) {
        self.push(ErrorType::NotFound, at, Some(value.into()), String::new());
    }

    /// `allowed` is listed in the order given; upstream sorts most of its lists.
    pub fn not_supported(&mut self, at: &At, value: impl Into<Value>, allowed: &[&str]) {
        let mut sorted = allowed.to_vec();
        sorted.sort_unstable();
        let listed: Vec<String> = sorted.iter().map(|word| format!("{word:?}")).collect();
        let detail = if listed.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", listed.join(", "))
        };
        self.push(ErrorType::NotSupported, at, Some(value.into()), detail);
    }

    pub fn too_long(&mut self, at: &At, max_bytes: usize) {
        let detail = format!("may not be more than {max_bytes} bytes");
        self.push(ErrorType::TooLong, at, None, detail);
    }

    pub fn too_many(&mut self, at: &At, actual: usize, max: usize) {
        let detail = format!("must have at most {max} items");
        self.push(ErrorType::TooMany, at, Some(Value::from(actual)), detail);
    }

    /// The values differ although the field may not change.
    pub fn immutable(&mut self, at: &At, new: &Value, old: &Value) {
        if new != old {
            self.invalid(at, new.clone(), IMMUTABLE);
        }
    }

    /// The number is below zero.
    pub fn non_negative(&mut self, at: &At, number: i64) {
        if number < 0 {
            self.invalid(at, number, "must be greater than or equal to 0");
        }
    }

    /// A word that must be one of a few; empty is required, unknown is not supported.
    pub fn one_of(&mut self, at: &At, word: &str, allowed: &[&str]) {
        if word.is_empty() {
            self.required(at, "");
        } else if !allowed.contains(&word) {
            self.not_supported(at, word, allowed);
        }
    }
}
