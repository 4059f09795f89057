//! Writes quantities in canonical form.

use super::{Format, NANO};

const DECIMAL: &[(i32, &str)] = &[
    (-9, "n"),
    (-6, "u"),
    (-3, "m"),
    (0, ""),
    (3, "k"),
    (6, "M"),
    (9, "G"),
    (12, "T"),
    (15, "P"),
    (18, "E"),
];
const BINARY: &[&str] = &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

pub(super) fn canonical(nanos: i128, format: Format) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    let small = nanos > -1024 * NANO && nanos < 1024 * NANO;
    match format {
        Format::BinarySi if !small && nanos % NANO == 0 => binary(nanos / NANO),
        Format::BinarySi | Format::DecimalSi => {
            let (mantissa, exponent) = thousands(nanos, 18);
            let (_, suffix) = DECIMAL
                .iter()
                .find(|(candidate, _)| *candidate == exponent)
                .expect("exponents from -9 to 18 in steps of three have a suffix");
            format!("{mantissa}{suffix}")
        }
        Format::DecimalExponent => {
            let (mantissa, exponent) = thousands(nanos, i32::MAX);
            if exponent == 0 {
                mantissa.to_string()
            } else {
                format!("{mantissa}e{exponent}")
            }
        }
    }
}

/// The number without factors of a thousand, and the exponent they leave; at most `max`.
fn thousands(nanos: i128, max: i32) -> (i128, i32) {
    let (mut mantissa, mut exponent) = (nanos, -9);
    while mantissa % 1000 == 0 && exponent < max {
        mantissa /= 1000;
        exponent += 3;
    }
    (mantissa, exponent)
}

fn binary(value: i128) -> String {
    let (mut mantissa, mut step) = (value, 0);
    while mantissa % 1024 == 0 && step + 1 < BINARY.len() {
        mantissa /= 1024;
        step += 1;
    }
    format!("{mantissa}{}", BINARY[step])
}
