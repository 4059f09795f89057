//! Upstream's examples, and the laws that hold for every quantity.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Quantity {
    Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn prints_like_upstream() {
    let check =
        |input: &str, expected: &str| assert_eq!(parse(input).to_string(), expected, "{input}");
    for (input, expected) in [
        ("0", "0"),
        ("0n", "0"),
        ("0Ki", "0"),
        ("0e9", "0"),
        ("00", "0"),
        ("-0", "0"),
        ("1Ki", "1Ki"),
        ("8Ki", "8Ki"),
        ("7Mi", "7Mi"),
        ("6Gi", "6Gi"),
        ("5Ti", "5Ti"),
        ("4Pi", "4Pi"),
        ("3Ei", "3Ei"),
        ("10Ti", "10Ti"),
        ("100Ti", "100Ti"),
        ("5n", "5n"),
        ("4u", "4u"),
        ("3m", "3m"),
        ("9", "9"),
        ("8k", "8k"),
        ("50k", "50k"),
        ("7M", "7M"),
        ("6G", "6G"),
        ("5T", "5T"),
        ("40T", "40T"),
        ("300T", "300T"),
        ("2P", "2P"),
        ("1E", "1E"),
        ("1E-3", "1E-3"),
        ("1e3", "1e3"),
        ("1E6", "1E6"),
        ("1e14", "100e12"),
        ("1e13", "10e12"),
        ("1e3", "1e3"),
        ("100000e12", "100e15"),
        ("0.5", "500m"),
        ("0.001", "1m"),
        ("1.5", "1500m"),
        ("1.50", "1500m"),
        ("0.0001k", "100m"),
        ("1000m", "1"),
        ("100000", "100k"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1024", "1024"),
        ("1024Ki", "1Mi"),
        ("2048Ki", "2Mi"),
        ("512Ki", "512Ki"),
        ("0.3Gi", "322122547200m"),
        ("1e-9", "1e-9"),
        ("1.1E-9", "2e-9"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("-1.5", "-1500m"),
        (
            "1234567890123456789012345678",
            "1234567890123456789012345678",
        ),
        ("9223372036854775808Ki", "9223372036854775807"),
        ("12e6", "12e6"),
        ("100e6", "100e6"),
        ("1000e6", "1e9"),
        (".5", "500m"),
        ("5.", "5."),
        ("+5", "+5"),
        ("1.500", "1.500"),
        ("0.1e3", "100"),
    ] {
        check(input, expected);
    }
}

#[test]
fn errors_are_upstreams() {
    let check = |input: &str, expected: ParseError| {
        assert_eq!(Quantity::parse(input), Err(expected), "{input}")
    };
    check("", ParseError::Format);
    check("1.1.M", ParseError::Format);
    check("1+1.0M", ParseError::Format);
    check("0.1mi", ParseError::Suffix);
    check("0.1am", ParseError::Format);
    check("aoeu", ParseError::Format);
    check(" 1", ParseError::Format);
    check("1 ", ParseError::Format);
    check("0.0Kii", ParseError::Suffix);
    check("1e", ParseError::Suffix);
    check("1K", ParseError::Suffix);
    check("1ki", ParseError::Suffix);
    check("3.4e-", ParseError::Suffix);
}

#[test]
fn values_round_away_from_zero() {
    let check = |input: &str, value: i64, milli: i64| {
        let quantity = parse(input);
        assert_eq!(
            (quantity.value(), quantity.milli_value()),
            (value, milli),
            "{input}"
        );
    };
    check("100m", 1, 100);
    check("1001m", 2, 1001);
    check("1u", 1, 1);
    check("-1u", -1, -1);
    check("1.5Gi", 1_610_612_736, 1_610_612_736_000);
    check("10E", i64::MAX, i64::MAX);
    check("-10E", i64::MIN, i64::MIN);
}

#[test]
fn sums_take_the_format_of_the_first_that_is_something() {
    let check = |a: &str, b: &str, expected: &str| {
        assert_eq!(parse(a).add(&parse(b)).to_string(), expected)
    };
    check("0", "1Gi", "1Gi");
    check("1Gi", "1G", "2073741824");
    check("1Ki", "1Ki", "2Ki");
    check("500m", "500m", "1");
    check("1k", "1Ki", "2024");
    assert_eq!(parse("1Gi").sub(&parse("512Mi")).to_string(), "512Mi");
    assert_eq!(parse("1").sub(&parse("2")).to_string(), "-1");
    assert_eq!(parse("100m").mul(3).to_string(), "300m");
}

#[test]
fn json_may_be_a_number() {
    let read = |json: &str| serde_json::from_str::<Quantity>(json).unwrap();
    assert_eq!(read("5"), parse("5"));
    assert_eq!(read("0.5"), parse("500m"));
    assert_eq!(read("\"1Gi\""), parse("1Gi"));
    assert_eq!(serde_json::to_string(&parse("1024Ki")).unwrap(), "\"1Mi\"");
}

fn texts() -> impl Strategy<Value = String> {
    let suffix = prop::sample::select(vec![
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3",
        "E-2", "e+5",
    ]);
    (
        "[+-]?",
        0u64..1_000_000_000,
        prop::option::of("[0-9]{1,12}"),
        suffix,
    )
        .prop_map(|(sign, whole, fraction, suffix)| match fraction {
            Some(fraction) => format!("{sign}{whole}.{fraction}{suffix}"),
            None => format!("{sign}{whole}{suffix}"),
        })
}

/// The value of a text by the definition, in units of 10^-24, as (negative, digits): a model
/// that knows nothing of the parser.
fn model(text: &str) -> i128 {
    let negative = text.starts_with('-');
    let body = text.trim_start_matches(['+', '-']);
    let end = body
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(body.len());
    let (number, suffix) = body.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().unwrap();
    let places = i32::try_from(fraction.len()).unwrap();
    let (factor, exponent) = match suffix {
        "Ki" => (1i128 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        exponent => (1, exponent[1..].parse::<i32>().unwrap()),
    };
    // digits * factor * 10^(exponent - places + 9), rounded up.
    let shift = exponent - places + 9;
    let product = digits.checked_mul(factor);
    let nanos = match product {
        Some(product) if shift >= 0 => {
            product.saturating_mul(10i128.saturating_pow(shift.unsigned_abs()))
        }
        Some(product) => {
            let unit = 10i128.pow(shift.unsigned_abs());
            product / unit + i128::from(product % unit != 0)
        }
        None => i128::MAX,
    };
    let nanos = if factor > 1 {
        nanos.min(9_223_372_036_854_775_807 * NANO)
    } else {
        nanos
    };
    if negative { -nanos } else { nanos }
}

proptest! {
    #[test]
    fn value_is_the_models(text in texts()) {
        prop_assert_eq!(parse(&text).nanos, model(&text), "{}", text);
    }

    #[test]
    fn printing_keeps_the_value(text in texts()) {
        let quantity = parse(&text);
        prop_assert_eq!(&parse(&quantity.to_string()), &quantity);
        prop_assert_eq!(&parse(&quantity.canonical()), &quantity);
    }

    #[test]
    fn canonical_form_is_a_fixed_point(text in texts()) {
        let canonical = parse(&text).canonical();
        prop_assert_eq!(parse(&canonical).canonical(), canonical.clone());
        prop_assert!(!canonical.contains('.'));
    }

    #[test]
    fn order_and_sums_agree_with_numbers(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000) {
        let (x, y) = (Quantity::from_milli(a), Quantity::from_milli(b));
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(x.add(&y).milli_value(), a + b);
        prop_assert_eq!(x.sub(&y).milli_value(), a - b);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,12}") {
        let _ = Quantity::parse(&text);
    }
}
