//! The scalars that have a form of their own: quantities, times and base64, each checked and
//! brought into the one spelling in which the reference writes it.
//!
//! Invariant: what these functions return they return again unchanged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fluyt_api::quantity::Quantity;
use jiff::Timestamp;
use serde_json::Value;

type Checked = Result<Value, String>;

/// A resource quantity in canonical form: `1000m` is `1`.
pub(super) fn quantity(text: &str) -> Checked {
    let text = text.trim();
    match Quantity::parse(text) {
        Ok(quantity) => Ok(Value::String(quantity.to_string())),
        Err(_) if text.is_empty() => Err("unable to parse quantity's suffix".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// An RFC 3339 time in UTC and whole seconds.
pub(super) fn time(text: &str) -> Checked {
    if is_plain_utc(text) && text.parse::<Timestamp>().is_ok() {
        return Ok(Value::String(text.to_owned()));
    }
    let time = parse_time(text, SECONDS_LAYOUT)?;
    Ok(Value::String(format_time(time)))
}

/// An RFC 3339 time in UTC with six fractional digits.
pub(super) fn micro_time(text: &str) -> Checked {
    let time = parse_time(text, MICROS_LAYOUT)?;
    Ok(Value::String(format_micro_time(time)))
}

/// `2026-01-02T15:04:05Z`.
pub fn format_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-01-02T15:04:05.000000Z`.
pub fn format_micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn is_plain_utc(text: &str) -> bool {
    text.len() == 20 && text.as_bytes()[19] == b'Z' && text.as_bytes()[10] == b'T'
}

const SECONDS_LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
const MICROS_LAYOUT: &str = "2006-01-02T15:04:05.000000Z07:00";

/// The elements of the reference's time layout: digits to expect, or a literal.
const ELEMENTS: [(&str, usize); 12] = [
    ("2006", 4),
    ("-", 0),
    ("01", 2),
    ("-", 0),
    ("02", 2),
    ("T", 0),
    ("15", 2),
    (":", 0),
    ("04", 2),
    (":", 0),
    ("05", 2),
    ("Z07:00", 0),
];

fn parse_time(text: &str, layout: &str) -> Result<Timestamp, String> {
    let stuck = |rest: &str, element: &str| {
        format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}")
    };
    let mut rest = text;
    for (element, digits) in &ELEMENTS[..11] {
        let taken = if *digits == 0 {
            rest.strip_prefix(element)
        } else {
            rest.get(..*digits)
                .filter(|head| head.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|head| rest.strip_prefix(head))
        };
        rest = taken.ok_or_else(|| stuck(rest, element))?;
    }
    text.parse::<Timestamp>().map_err(|_| {
        let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
        if zone == "Z" {
            format!("parsing time {text:?}: day out of range")
        } else {
            stuck(zone, ELEMENTS[11].0)
        }
    })
}

/// Standard base64 with padding; line breaks are ignored.
pub(super) fn bytes(text: &str) -> Checked {
    let joined;
    let text = if text.contains(['\n', '\r']) {
        joined = text.replace(['\n', '\r'], "");
        &joined
    } else {
        text
    };
    match STANDARD.decode(text) {
        Ok(_) => Ok(Value::String(text.to_owned())),
        Err(error) => Err(format!(
            "illegal base64 data at input byte {}",
            match error {
                base64::DecodeError::InvalidByte(offset, _)
                | base64::DecodeError::InvalidLastSymbol(offset, _) => offset,
                _ => text.len(),
            }
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_normalised() {
        for (input, want) in [
            ("2026-01-02T15:04:05Z", "2026-01-02T15:04:05Z"),
            ("2026-01-02T15:04:05.75Z", "2026-01-02T15:04:05Z"),
            ("2026-01-02T15:04:05+01:00", "2026-01-02T14:04:05Z"),
        ] {
            assert_eq!(time(input), Ok(Value::from(want)), "{input}");
        }
        assert_eq!(
            micro_time("2026-01-02T15:04:05.1Z"),
            Ok(Value::from("2026-01-02T15:04:05.100000Z"))
        );
    }

    #[test]
    fn bad_times_say_where() {
        assert_eq!(
            time("yesterday"),
            Err(r#"parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006""#.to_owned())
        );
        assert_eq!(
            time("2026-01-02"),
            Err(r#"parsing time "2026-01-02" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T""#.to_owned())
        );
    }
}
