//! Reads quantities: which texts are taken, how finer and larger values round, and which
//! texts are kept as they were written.

use super::{Format, NANO, ParseError, Quantity};

/// The most digits upstream keeps in an `int64`; longer numbers lose their text.
const FAST_DIGITS: usize = 18;
/// The largest binary quantity, in billionths: 2^63-1.
const BINARY_MAX: i128 = 9_223_372_036_854_775_807 * NANO;

/// A text taken apart; `whole` has no leading zeros but is never empty.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

pub(super) fn parse(text: &str) -> Result<Quantity, ParseError> {
    if text.is_empty() {
        return Err(ParseError::Format);
    }
    let parts = split(text)?;
    let (base, exponent, format) = suffix(parts.suffix)?;
    match base {
        2 => Ok(binary(text, &parts, exponent)),
        _ => Ok(decimal(text, &parts, exponent, format)),
    }
}

fn split(text: &str) -> Result<Parts<'_>, ParseError> {
    let negative = text.starts_with('-');
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let rest = rest.trim_start_matches('0');
    let (whole, rest) = take(rest, |c| c.is_ascii_digit());
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => take(rest, |c| c.is_ascii_digit()),
        None => ("", rest),
    };
    let (letters, tail) = take(rest, |c| "eEinumkKMGTP".contains(c));
    let digits = tail.strip_prefix(['-', '+']).unwrap_or(tail);
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseError::Format);
    }
    Ok(Parts {
        negative,
        whole: if whole.is_empty() { "0" } else { whole },
        fraction,
        suffix: if letters.is_empty() { tail } else { rest },
    })
}

fn take(text: &str, allowed: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !allowed(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// Base, exponent and format of a suffix.
fn suffix(suffix: &str) -> Result<(u32, i32, Format), ParseError> {
    use Format::{BinarySi, DecimalExponent, DecimalSi};
    Ok(match suffix {
        "n" => (10, -9, DecimalSi),
        "u" => (10, -6, DecimalSi),
        "m" => (10, -3, DecimalSi),
        "" => (10, 0, DecimalSi),
        "k" => (10, 3, DecimalSi),
        "M" => (10, 6, DecimalSi),
        "G" => (10, 9, DecimalSi),
        "T" => (10, 12, DecimalSi),
        "P" => (10, 15, DecimalSi),
        "E" => (10, 18, DecimalSi),
        "Ki" => (2, 10, BinarySi),
        "Mi" => (2, 20, BinarySi),
        "Gi" => (2, 30, BinarySi),
        "Ti" => (2, 40, BinarySi),
        "Pi" => (2, 50, BinarySi),
        "Ei" => (2, 60, BinarySi),
        other => {
            let digits = other.strip_prefix(['e', 'E']).ok_or(ParseError::Suffix)?;
            let exponent: i64 = digits.parse().map_err(|_| ParseError::Suffix)?;
            // Beyond these bounds every number is nothing or saturates.
            let exponent = exponent.clamp(-1000, 1000);
            (
                10,
                i32::try_from(exponent).expect("clamped"),
                DecimalExponent,
            )
        }
    })
}

fn decimal(text: &str, parts: &Parts<'_>, exponent: i32, format: Format) -> Quantity {
    let digits = parts.whole.len() + parts.fraction.len();
    let fraction_places = i32::try_from(parts.fraction.len()).unwrap_or(i32::MAX);
    let scale = exponent.saturating_sub(fraction_places);
    let nanos = scaled_digits(&[parts.whole, parts.fraction], scale.saturating_add(9));
    let last_three_zero = if parts.fraction.len() >= 3 {
        parts.fraction.ends_with("000")
    } else {
        format!("{}{}", parts.whole, parts.fraction).ends_with("000")
    };
    let stands = digits <= FAST_DIGITS
        && scale >= -9
        && scale % 3 == 0
        && !last_three_zero
        && !parts.whole.starts_with('0');
    finish(text, parts, nanos, format, stands)
}

fn binary(text: &str, parts: &Parts<'_>, exponent: i32) -> Quantity {
    let factor = 1i128 << exponent;
    if parts.fraction.is_empty() {
        let number: i128 = parts.whole.parse().unwrap_or(i128::MAX);
        let nanos = number
            .saturating_mul(factor)
            .saturating_mul(NANO)
            .min(BINARY_MAX);
        let room = 15
            - i64::try_from(parts.whole.len()).unwrap_or(i64::MAX)
            - i64::from(exponent * 3 / 10)
            - 1;
        let stands = room >= 0 && number & 7 != 0;
        return finish(text, parts, nanos, Format::BinarySi, stands);
    }
    let nanos = binary_fraction(parts, factor).min(BINARY_MAX);
    let format = if nanos > 0 && nanos < NANO {
        Format::DecimalSi
    } else {
        Format::BinarySi
    };
    finish(text, parts, nanos, format, false)
}

/// `whole.fraction` times `factor` in billionths, rounded up.
fn binary_fraction(parts: &Parts<'_>, factor: i128) -> i128 {
    let whole: i128 = parts.whole.parse().unwrap_or(i128::MAX);
    let whole = whole.saturating_mul(factor).saturating_mul(NANO);
    // The factor is up to 2^60 and a billion up to 2^30: long multiplication, digit by digit
    // from the end, keeps the remainder exact without large numbers.
    let unit = factor * NANO;
    let mut fraction = 0i128;
    let mut remainder = false;
    for digit in parts.fraction.bytes().rev() {
        let sum = i128::from(digit - b'0') * unit + fraction;
        remainder |= sum % 10 != 0;
        fraction = sum / 10;
    }
    whole
        .saturating_add(fraction)
        .saturating_add(i128::from(remainder))
}

/// The digits as a number times 10^`scale`, rounded up, saturating.
fn scaled_digits(groups: &[&str], scale: i32) -> i128 {
    let count: usize = groups.iter().map(|group| group.len()).sum();
    let dropped = usize::try_from(scale.saturating_neg()).unwrap_or(0);
    let kept = count.saturating_sub(dropped);
    let mut value = 0i128;
    let mut remainder = false;
    for (place, byte) in groups.iter().flat_map(|group| group.bytes()).enumerate() {
        if place < kept {
            value = value
                .saturating_mul(10)
                .saturating_add(i128::from(byte - b'0'));
        } else {
            remainder |= byte != b'0';
        }
    }
    if value != 0 {
        for _ in 0..scale.clamp(0, 60) {
            value = value.saturating_mul(10);
        }
    }
    value.saturating_add(i128::from(remainder))
}

fn finish(text: &str, parts: &Parts<'_>, nanos: i128, format: Format, stands: bool) -> Quantity {
    Quantity {
        nanos: if parts.negative { -nanos } else { nanos },
        format,
        text: stands.then(|| text.into()),
    }
}
