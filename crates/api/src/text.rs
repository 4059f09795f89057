//! Text as Go prints it, because error messages are part of the API and upstream's are
//! printed by Go.

use std::fmt::Write;

use serde_json::Value;

/// Quotes like Go's `%q`.
///
/// ```
/// assert_eq!(fluyt_api::text::quote("a\"b\n"), r#""a\"b\n""#);
/// ```
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => escape(&mut out, 'x', 2, c),
            c if c.is_control() => escape(&mut out, 'u', 4, c),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn escape(out: &mut String, letter: char, width: usize, c: char) {
    write!(out, "\\{letter}{:0width$x}", u32::from(c)).expect("a String takes all text");
}

/// JSON like Go's `json.Marshal`, which escapes the characters that HTML gives a meaning.
pub fn go_json(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escape(&mut out, 'u', 4, c),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_like_go() {
        let check = |input: &str, expected: &str| assert_eq!(quote(input), expected);
        check("", r#""""#);
        check("plain", r#""plain""#);
        check("tab\tbell\u{7}", r#""tab\tbell\a""#);
        check("\u{1}\u{7f}\u{85}", r#""\x01\x7f\u0085""#);
        check("grüße", "\"grüße\"");
    }

    #[test]
    fn json_escapes_html() {
        assert_eq!(
            go_json(&serde_json::json!("<a&b>")),
            r#""\u003ca\u0026b\u003e""#
        );
    }
}
