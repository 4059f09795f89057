//! Errors that point at a field of an object, and the paths they point with.
//!
//! Display is upstream's text to the letter: clients and people compare it.

use std::fmt;

use serde_json::Value;

use crate::text::{go_json, quote};

/// The path to a field: `spec.containers[0].name`, `metadata.labels[foo]`.
///
/// ```
/// use fluyt_api::field::Path;
/// let path = Path::new("spec").child("containers").index(0).child("name");
/// assert_eq!(path.to_string(), "spec.containers[0].name");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(String);

impl Path {
    /// A path of one name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The path to the object itself; its first child is printed without a dot.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// A field below this one. A dotted name is several fields.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() {
            return Self(name.to_owned());
        }
        Self(format!("{}.{name}", self.0))
    }

    /// An item of the list at this path.
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// An entry of the map at this path.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            // What Go prints for a path that is nil.
            return f.write_str("<nil>");
        }
        f.write_str(&self.0)
    }
}

impl From<&str> for Path {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// The value refers to something that does not exist.
    NotFound,
    /// The field must be set.
    Required,
    /// The value occurs twice.
    Duplicate,
    /// The value is malformed.
    Invalid,
    /// The value is not one of the known ones.
    NotSupported,
    /// The value is well-formed but not permitted here.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// The value is too short.
    TooShort,
    /// The list has too many items.
    TooMany,
    /// The list has too few items.
    TooFew,
    /// Something else went wrong.
    Internal,
    /// The value is of another type than the schema's.
    TypeInvalid,
}

impl ErrorType {
    /// The reason of a cause in `metav1.Status`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooShort => "FieldValueTooShort",
            Self::TooMany => "FieldValueTooMany",
            Self::TooFew => "FieldValueTooFew",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooShort => "Too short",
            Self::TooMany => "Too many",
            Self::TooFew => "Too few",
            Self::Internal => "Internal error",
        }
    }

    /// Whether the message repeats the value.
    const fn shows_value(self) -> bool {
        !matches!(
            self,
            Self::Required | Self::Forbidden | Self::TooLong | Self::TooShort | Self::Internal
        )
    }
}

/// One error at one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What is wrong.
    pub ty: ErrorType,
    /// Where, as text.
    pub field: String,
    /// The value found there, when the message shows it.
    pub bad_value: Option<Value>,
    /// Why, and what would be right.
    pub detail: String,
}

impl FieldError {
    fn new(
        ty: ErrorType,
        path: &Path,
        value: impl Into<Option<Value>>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            ty,
            field: path.to_string(),
            bad_value: value.into(),
            detail: detail.into(),
        }
    }

    /// The text without the field.
    pub fn body(&self) -> String {
        let mut text = self.ty.text().to_owned();
        if self.ty.shows_value()
            && let Some(value) = &self.bad_value
        {
            text.push_str(": ");
            match value {
                Value::String(value) => text.push_str(&quote(value)),
                other => text.push_str(&go_json(other)),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for FieldError {}

/// The field must be set.
pub fn required(path: &Path, detail: impl Into<String>) -> FieldError {
    FieldError::new(ErrorType::Required, path, None, detail)
}

/// The value is malformed.
pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
    FieldError::new(ErrorType::Invalid, path, value.into(), detail)
}

/// The value is of another type than the schema's.
pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
    FieldError::new(ErrorType::TypeInvalid, path, value.into(), detail)
}

/// The value is not one of the `supported` ones.
pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> FieldError {
    let detail = if supported.is_empty() {
        String::new()
    } else {
        let quoted: Vec<_> = supported.iter().map(|value| quote(value)).collect();
        format!("supported values: {}", quoted.join(", "))
    };
    FieldError::new(ErrorType::NotSupported, path, value.into(), detail)
}

/// The value refers to something that does not exist.
pub fn not_found(path: &Path, value: impl Into<Value>) -> FieldError {
    FieldError::new(ErrorType::NotFound, path, value.into(), "")
}

/// The value occurs twice.
pub fn duplicate(path: &Path, value: impl Into<Value>) -> FieldError {
    FieldError::new(ErrorType::Duplicate, path, value.into(), "")
}

/// The value is well-formed but not permitted here.
pub fn forbidden(path: &Path, detail: impl Into<String>) -> FieldError {
    FieldError::new(ErrorType::Forbidden, path, None, detail)
}

/// The value has more than `max` bytes. The value itself is never shown.
pub fn too_long(path: &Path, _value: impl Into<Value>, max: usize) -> FieldError {
    let unit = if max == 1 { "byte" } else { "bytes" };
    FieldError::new(
        ErrorType::TooLong,
        path,
        None,
        format!("may not be more than {max} {unit}"),
    )
}

/// The list has `actual` items, more than `max`.
pub fn too_many(path: &Path, actual: usize, max: usize) -> FieldError {
    let unit = if max == 1 { "item" } else { "items" };
    FieldError::new(
        ErrorType::TooMany,
        path,
        Value::from(actual),
        format!("must have at most {max} {unit}"),
    )
}

/// The list has `actual` items, fewer than `min`.
pub fn too_few(path: &Path, actual: usize, min: usize) -> FieldError {
    let unit = if min == 1 { "item" } else { "items" };
    FieldError::new(
        ErrorType::TooFew,
        path,
        Value::from(actual),
        format!("must have at least {min} {unit}"),
    )
}

/// Something went wrong that is not the user's doing.
pub fn internal(path: &Path, detail: impl Into<String>) -> FieldError {
    FieldError::new(ErrorType::Internal, path, None, detail)
}

/// The errors as one text, each once: alone as it is, several as `[a, b]`.
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(error: &FieldError, expected: &str) {
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn paths_print_like_upstream() {
        let path = Path::new("spec").child("containers").index(0).child("name");
        assert_eq!(path.to_string(), "spec.containers[0].name");
        assert_eq!(
            Path::new("metadata").child("labels").key("a/b").to_string(),
            "metadata.labels[a/b]"
        );
        assert_eq!(Path::root().child("spec").to_string(), "spec");
        assert_eq!(Path::root().to_string(), "<nil>");
    }

    #[test]
    fn errors_print_like_upstream() {
        let path = Path::new("spec.x");
        check(&required(&path, ""), "spec.x: Required value");
        check(&required(&path, "why"), "spec.x: Required value: why");
        check(
            &invalid(&path, "a\"b", "bad"),
            r#"spec.x: Invalid value: "a\"b": bad"#,
        );
        check(
            &invalid(&path, -1, "must be >= 0"),
            "spec.x: Invalid value: -1: must be >= 0",
        );
        check(
            &invalid(&path, Value::Null, "bad"),
            "spec.x: Invalid value: null: bad",
        );
        check(
            &invalid(&path, json!({"a": ["<"]}), "bad"),
            r#"spec.x: Invalid value: {"a":["\u003c"]}: bad"#,
        );
        check(
            &not_supported(&path, "Foo", &["Always", "Never"]),
            r#"spec.x: Unsupported value: "Foo": supported values: "Always", "Never""#,
        );
        check(&duplicate(&path, "a"), r#"spec.x: Duplicate value: "a""#);
        check(&not_found(&path, "a"), r#"spec.x: Not found: "a""#);
        check(&forbidden(&path, "no"), "spec.x: Forbidden: no");
        check(
            &too_long(&path, "aaa", 2),
            "spec.x: Too long: may not be more than 2 bytes",
        );
        check(
            &too_many(&path, 3, 1),
            "spec.x: Too many: 3: must have at most 1 item",
        );
        check(
            &too_few(&path, 0, 2),
            "spec.x: Too few: 0: must have at least 2 items",
        );
        check(&internal(&path, "oops"), "spec.x: Internal error: oops");
    }

    #[test]
    fn aggregates_list_each_text_once() {
        let path = Path::new("a");
        let one = required(&path, "");
        assert_eq!(aggregate(&[]), "");
        assert_eq!(aggregate(&[one.clone(), one.clone()]), "a: Required value");
        assert_eq!(
            aggregate(&[one, forbidden(&path, "b")]),
            "[a: Required value, a: Forbidden: b]"
        );
    }
}
