//! YAML files by way of plain values.
//!
//! Why not straight into the types: the decoder for every type would be compiled a second time, for YAML; for a pod alone that is
//! megabytes of code.

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Errors name the line where the text is no YAML, and the field where it is not what was expected.
pub fn read<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    let value: Value = serde_saphyr::from_str(text).context("not YAML")?;
    Ok(serde_json::from_value(value)?)
}
