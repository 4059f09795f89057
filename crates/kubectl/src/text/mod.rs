//! Text as the reference client lays it out: aligned cells, durations, YAML, JSON and Go's quoting.
//! Everything here is pure; scripts parse this output, so each byte matters.

pub(crate) mod duration;
pub(crate) mod gojson;
pub(crate) mod goquote;
pub(crate) mod tabwriter;
pub(crate) mod time;
pub(crate) mod yaml;
