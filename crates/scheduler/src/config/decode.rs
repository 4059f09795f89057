//! YAML or JSON into typed values, with the path of the field in every error.

use fluyt_api::field::{self, FieldError, Path};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The document, without the fields that are null: those count as absent, as Go's decoder has it.
pub fn document(text: &str) -> Result<Value, String> {
    let mut value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    drop_nulls(&mut value);
    Ok(value)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A value of the type that belongs at `path`.
pub fn typed<T: DeserializeOwned>(value: Value, path: &Path) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let at = match inner.as_str() {
            "." => path.clone(),
            inner => path.child(inner),
        };
        let mut problem = field::invalid(&at, Value::Null, "");
        problem.detail = strict(error.inner());
        problem.bad_value = None;
        problem
    })
}

/// Upstream calls a field that it does not know by its name.
fn strict(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once('`'))
    {
        Some((name, _)) => format!("unknown field {name:?}"),
        None => text,
    }
}
