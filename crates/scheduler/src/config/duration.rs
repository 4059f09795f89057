//! Durations as Go writes and reads them: 15s, 1m30s, 100ms.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct GoDuration(pub Duration);

impl GoDuration {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid duration {text:?}: expected a form such as 15s or 1m30s");
        let (mut rest, mut total) = (text, 0.0_f64);
        if rest == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(invalid)?;
            let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
            rest = &rest[digits..];
            let unit = rest
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(rest.len());
            total += number
                * match &rest[..unit] {
                    "h" => 3600.0,
                    "m" => 60.0,
                    "s" => 1.0,
                    "ms" => 1e-3,
                    "us" | "µs" => 1e-6,
                    "ns" => 1e-9,
                    _ => return Err(invalid()),
                };
            rest = &rest[unit..];
        }
        Duration::try_from_secs_f64(total)
            .map(Self)
            .map_err(|_| invalid())
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if seconds == 0 {
            return match nanos {
                0 => f.write_str("0s"),
                1..1_000 => write!(f, "{nanos}ns"),
                1_000..1_000_000 => write!(f, "{}µs", f64::from(nanos) / 1e3),
                _ => write!(f, "{}ms", f64::from(nanos) / 1e6),
            };
        }
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if seconds >= 60 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", (seconds % 60) as f64 + f64::from(nanos) / 1e9)
    }
}

impl TryFrom<String> for GoDuration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<GoDuration> for String {
    fn from(duration: GoDuration) -> Self {
        duration.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_and_written_as_go_does() {
        for (text, seconds, written) in [
            ("15s", 15.0, "15s"),
            ("1m30s", 90.0, "1m30s"),
            ("90s", 90.0, "1m30s"),
            ("100ms", 0.1, "100ms"),
            ("0", 0.0, "0s"),
            ("1h", 3600.0, "1h0m0s"),
            ("1.5s", 1.5, "1.5s"),
        ] {
            let duration: GoDuration = text.parse().unwrap();
            assert_eq!(duration.0.as_secs_f64(), seconds);
            assert_eq!(duration.to_string(), written);
        }
        assert!("5".parse::<GoDuration>().is_err());
        assert!("".parse::<GoDuration>().is_err());
    }
}
