//! Times as descriptions print them.

use serde_json::Value;

/// RFC 1123 with a numeric zone, in the local zone: `Tue, 24 Nov 2026 03:34:27 +0000`.
pub(crate) fn rfc1123z(time: &Value) -> String {
    let zero = "Mon, 01 Jan 0001 00:00:00 +0000";
    let Some(time) = time
        .as_str()
        .and_then(|time| time.parse::<jiff::Timestamp>().ok())
    else {
        return zero.to_owned();
    };
    time.to_zoned(jiff::tz::TimeZone::system())
        .strftime("%a, %d %b %Y %H:%M:%S %z")
        .to_string()
}

/// The current time, to the second, as the API writes it.
pub(crate) fn now_rfc3339() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
