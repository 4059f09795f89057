//! Resource quantities: `100m`, `1.5Gi`, `12e6`.
//!
//! A quantity is an exact decimal with nine places, held as a 128-bit count of billionths.
//! Finer values round away from zero, as upstream's do. Binary forms are capped at 2^63-1 as
//! upstream caps them; decimal forms saturate near 1.7e29, where upstream is unbounded.
//!
//! Canonical form: no fraction, the largest suffix that keeps the number whole, the family
//! of suffixes it was written in. Text that is already in that form, give or take what
//! upstream also lets stand, is printed as it was written.
//!
//! ```
//! use fluyt_api::quantity::Quantity;
//! let memory = Quantity::parse("1.5Gi")?;
//! assert_eq!(memory.value(), 1_610_612_736);
//! assert_eq!(memory.to_string(), "1536Mi");
//! # Ok::<(), fluyt_api::quantity::ParseError>(())
//! ```

mod format;
mod parse;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

const NANO: i128 = 1_000_000_000;
const MILLI: i128 = 1_000_000;

/// A family of suffixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `n u m k M G T P E`.
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`.
    BinarySi,
    /// `e3`.
    DecimalExponent,
}

/// An amount of a resource.
#[derive(Clone, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
    /// The text it was parsed from, when that is how it is printed.
    text: Option<Box<str>>,
}

/// Why a text is no quantity; Display is upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text does not have the form at all.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number is not readable.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// The suffix is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Parses a quantity.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::parse(text)
    }

    /// A whole number, printed in `format`.
    pub fn new(value: i64, format: Format) -> Self {
        Self::of(i128::from(value) * NANO, format)
    }

    /// A number of thousandths, printed with decimal suffixes.
    pub fn from_milli(milli: i64) -> Self {
        Self::of(i128::from(milli) * MILLI, Format::DecimalSi)
    }

    const fn of(nanos: i128, format: Format) -> Self {
        Self {
            nanos,
            format,
            text: None,
        }
    }

    /// The value in whole units, rounded away from zero; saturates.
    pub fn value(&self) -> i64 {
        self.scaled(NANO)
    }

    /// The value in thousandths, rounded away from zero; saturates.
    pub fn milli_value(&self) -> i64 {
        self.scaled(MILLI)
    }

    fn scaled(&self, unit: i128) -> i64 {
        let rounded = div_away_from_zero(self.nanos, unit);
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }

    /// The value as a floating-point number.
    #[expect(
        clippy::cast_precision_loss,
        reason = "that is what the caller asks for"
    )]
    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// The family of suffixes it is printed with.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Whether it is nothing.
    pub const fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether it is less than nothing.
    pub const fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// The sum, in the format of `self` unless that is zero. Saturates.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        Self::of(
            self.nanos.saturating_add(other.nanos),
            self.joint_format(other),
        )
    }

    /// The difference, in the format of `self` unless that is zero. Saturates.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        Self::of(
            self.nanos.saturating_sub(other.nanos),
            self.joint_format(other),
        )
    }

    const fn joint_format(&self, other: &Self) -> Format {
        if self.is_zero() {
            other.format
        } else {
            self.format
        }
    }

    /// The product with a whole number. Saturates.
    #[must_use]
    pub fn mul(&self, factor: i64) -> Self {
        Self::of(self.nanos.saturating_mul(i128::from(factor)), self.format)
    }

    /// The text in canonical form, whatever it was parsed from.
    pub fn canonical(&self) -> String {
        format::canonical(self.nanos, self.format)
    }
}

fn div_away_from_zero(value: i128, unit: i128) -> i128 {
    let whole = value / unit;
    match value % unit {
        0 => whole,
        rest => whole + rest.signum(),
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text),
            None => f.write_str(&self.canonical()),
        }
    }
}

impl std::str::FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Quantity::parse(text).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Quantity, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Quantity, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Quantity, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_unit<E: de::Error>(self) -> Result<Quantity, E> {
                Ok(Quantity::default())
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests;
