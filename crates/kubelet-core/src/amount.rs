//! Quantities as numbers. The API has checked them; what cannot be read counts as zero.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// A list of resources by name, as `requests`, `limits`, `capacity` have it.
pub type ResourceList = BTreeMap<String, Quantity>;

/// Whole units, rounded up: bytes of memory, pieces of anything counted.
pub fn value(quantity: &Quantity) -> i64 {
    fluyt_api::quantity::Quantity::parse(&quantity.0).map_or(0, |parsed| parsed.value())
}

/// Thousandths, rounded up: millicores of cpu.
pub fn milli(quantity: &Quantity) -> i64 {
    fluyt_api::quantity::Quantity::parse(&quantity.0).map_or(0, |parsed| parsed.milli_value())
}

/// Whole units of a resource in an optional list; `None` when it is not named.
pub fn value_of(list: Option<&ResourceList>, name: &str) -> Option<i64> {
    list?.get(name).map(value)
}

/// Thousandths of a resource in an optional list; `None` when it is not named.
pub fn milli_of(list: Option<&ResourceList>, name: &str) -> Option<i64> {
    list?.get(name).map(milli)
}
