//! YAML as the field prints it: sorted keys, sequences not indented under their key, strings plain
//! where they read back as strings, long lines folded at a space after column 80.

use serde_json::{Map, Value};
use std::cmp::Ordering;

const BEST_WIDTH: usize = 80;

/// `value` as one document, with a newline at the end.
pub(crate) fn to_string(value: &Value) -> String {
    let mut emitter = Emitter::default();
    match value {
        Value::Object(map) if !map.is_empty() => emitter.mapping(map, 0, false),
        Value::Array(items) if !items.is_empty() => emitter.sequence(items, 0, false),
        other => {
            emitter.scalar_or_empty(other, 0);
            emitter.newline();
        }
    }
    emitter.out
}

/// Reads every document of a YAML (or JSON) stream; empty documents are left out.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, String> {
    let mut values = Vec::new();
    for document in split_documents(text) {
        if is_blank(document) {
            continue;
        }
        let value = parse(document)?;
        if !value.is_null() {
            values.push(value);
        }
    }
    Ok(values)
}

/// Reads one document.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let trimmed = text.trim_start();
    if trimmed.starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    })
}

fn is_blank(document: &str) -> bool {
    document
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// Splits at lines that are `---`, wherever they are not part of a document.
fn split_documents(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let mut start = 0;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        if bare == "---" || bare.starts_with("--- ") {
            documents.push(&text[start..offset]);
            start = offset + line.len();
            if bare.starts_with("--- ") && !bare[4..].trim_start().starts_with('#') {
                start = offset + 4;
            }
        }
        offset += line.len();
    }
    documents.push(&text[start..]);
    documents
}

#[derive(Default)]
struct Emitter {
    out: String,
    column: usize,
}

impl Emitter {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn newline(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    fn indent(&mut self, indent: usize) {
        for _ in 0..indent {
            self.out.push(' ');
        }
        self.column += indent;
    }

    /// `inline`: the first key follows a `- ` on the same line.
    fn mapping(&mut self, map: &Map<String, Value>, indent: usize, inline: bool) {
        let mut keys: Vec<&String> = map.keys().collect();
        keys.sort_by(|a, b| natural_order(a, b));
        for (index, key) in keys.into_iter().enumerate() {
            if index > 0 || !inline {
                self.indent(indent);
            }
            self.key(key);
            self.put(":");
            match &map[key] {
                Value::Object(inner) if !inner.is_empty() => {
                    self.newline();
                    self.mapping(inner, indent + 2, false);
                }
                Value::Array(items) if !items.is_empty() => {
                    self.newline();
                    self.sequence(items, indent, false);
                }
                other => {
                    self.put(" ");
                    self.scalar_or_empty(other, indent + 2);
                    self.newline();
                }
            }
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize, inline: bool) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 || !inline {
                self.indent(indent);
            }
            self.put("- ");
            match item {
                Value::Object(inner) if !inner.is_empty() => self.mapping(inner, indent + 2, true),
                Value::Array(inner) if !inner.is_empty() => self.sequence(inner, indent + 2, true),
                other => {
                    self.scalar_or_empty(other, indent + 2);
                    self.newline();
                }
            }
        }
    }

    fn scalar_or_empty(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.put("null"),
            Value::Bool(value) => self.put(if *value { "true" } else { "false" }),
            Value::Number(number) => self.put(&number.to_string()),
            Value::Array(_) => self.put("[]"),
            Value::Object(_) => self.put("{}"),
            Value::String(text) => self.string(text, indent),
        }
    }

    fn key(&mut self, key: &str) {
        let shape = Shape::of(key);
        if resolves_to_string(key) && shape.plain && !key.is_empty() && !key.contains('\n') {
            self.put(key);
        } else if resolves_to_string(key) && shape.single_quoted && !key.contains('\n') {
            self.put(&format!("'{}'", key.replace('\'', "''")));
        } else {
            self.double_quoted(key, 0, false);
        }
    }

    fn string(&mut self, text: &str, indent: usize) {
        let shape = Shape::of(text);
        if text.contains('\n') {
            if shape.block {
                self.literal(text, indent);
            } else {
                self.double_quoted(text, indent, true);
            }
        } else if !resolves_to_string(text) {
            self.double_quoted(text, indent, true);
        } else if shape.plain {
            self.folded(text, indent, |_| None);
        } else if shape.single_quoted {
            self.put("'");
            self.folded(text, indent, |c| (c == '\'').then_some("''"));
            self.put("'");
        } else {
            self.double_quoted(text, indent, true);
        }
    }

    /// Plain and single-quoted text: a space after the best width becomes a line break.
    fn folded(&mut self, text: &str, indent: usize, escape: fn(char) -> Option<&'static str>) {
        let chars: Vec<char> = text.chars().collect();
        let mut spaces = false;
        for (index, &c) in chars.iter().enumerate() {
            if c == ' ' {
                let last = index + 1 >= chars.len();
                let next_is_space = chars.get(index + 1) == Some(&' ');
                if !spaces && self.column > BEST_WIDTH && index > 0 && !last && !next_is_space {
                    self.newline();
                    self.indent(indent);
                } else {
                    self.put(" ");
                }
                spaces = true;
                continue;
            }
            spaces = false;
            match escape(c) {
                Some(escaped) => self.put(escaped),
                None => {
                    self.out.push(c);
                    self.column += 1;
                }
            }
        }
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with([' ', '\n']) {
            self.put("2");
        }
        let trailing = text.len() - text.trim_end_matches('\n').len();
        match trailing {
            0 => self.put("-"),
            1 if text.len() > 1 => {}
            _ => self.put("+"),
        }
        let body = text.strip_suffix('\n').unwrap_or(text);
        for line in body.split('\n') {
            self.newline();
            if !line.is_empty() {
                self.indent(indent);
                self.put(line);
            }
        }
    }

    fn double_quoted(&mut self, text: &str, indent: usize, fold: bool) {
        self.put("\"");
        let chars: Vec<char> = text.chars().collect();
        let mut spaces = false;
        for (index, &c) in chars.iter().enumerate() {
            if c == ' ' {
                let inside = index > 0 && index + 1 < chars.len();
                if fold && !spaces && self.column > BEST_WIDTH && inside {
                    self.newline();
                    self.indent(indent);
                    if chars.get(index + 1) == Some(&' ') {
                        self.put("\\");
                    }
                } else {
                    self.put(" ");
                }
                spaces = true;
                continue;
            }
            spaces = false;
            match escape_double_quoted(c) {
                Some(escaped) => self.put(&escaped),
                None => {
                    self.out.push(c);
                    self.column += 1;
                }
            }
        }
        self.put("\"");
    }
}

fn escape_double_quoted(c: char) -> Option<String> {
    let short = match c {
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{a0}' => "\\_",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        c if is_printable(c) => return None,
        c if (c as u32) <= 0xff => return Some(format!("\\x{:02X}", c as u32)),
        c if (c as u32) <= 0xffff => return Some(format!("\\u{:04X}", c as u32)),
        c => return Some(format!("\\U{:08X}", c as u32)),
    };
    Some(short.to_owned())
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && c != '\u{feff}'
}

/// Which styles can represent a text.
struct Shape {
    plain: bool,
    single_quoted: bool,
    block: bool,
}

impl Shape {
    fn of(text: &str) -> Shape {
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut break_space, mut space_break) = (false, false, false);
        let (mut previous_space, mut previous_break) = (false, false);
        let mut preceded_by_blank = true;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            let followed_by_blank = chars.peek().is_none_or(|next| matches!(next, ' ' | '\t'));
            indicators |= match c {
                '#' => first || preceded_by_blank,
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                | '@' | '`' => first,
                '?' | '-' => first && followed_by_blank,
                ':' => followed_by_blank,
                _ => false,
            };
            special |= !is_printable(c);
            if c == ' ' {
                break_space |= previous_break;
            } else if is_break(c) {
                space_break |= previous_space;
            }
            previous_space = c == ' ';
            previous_break = is_break(c);
            preceded_by_blank = matches!(c, ' ' | '\t') || is_break(c);
            first = false;
        }
        let edge = |c: Option<char>| c.is_some_and(|c| c == ' ' || is_break(c));
        let edges = edge(text.chars().next()) || edge(text.chars().next_back());
        let unrepresentable = space_break || special;
        Shape {
            plain: !(indicators
                || edges
                || break_space
                || unrepresentable
                || text.contains(is_break)),
            single_quoted: !(break_space || unrepresentable),
            block: !(text.ends_with(' ') || unrepresentable || text.is_empty()),
        }
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether a plain scalar of this text would be read back as a string.
fn resolves_to_string(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE",
        "on", "On", "ON", "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off",
        "OFF", ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf",
        "-.Inf", "-.INF", "<<",
    ];
    !(WORDS.contains(&text)
        || looks_like_number(text)
        || looks_like_timestamp(text)
        || looks_like_base_60(text))
}

fn looks_like_number(text: &str) -> bool {
    let Some(first) = text.bytes().next() else {
        return false;
    };
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return false;
    }
    let plain = text.replace('_', "");
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let digits =
        |rest: &str, radix: u32| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix));
    if let Some(rest) = unsigned.strip_prefix("0x").or(unsigned.strip_prefix("0X")) {
        return digits(rest, 16);
    }
    if let Some(rest) = unsigned.strip_prefix("0b").or(unsigned.strip_prefix("0B")) {
        return digits(rest, 2);
    }
    if let Some(rest) = unsigned.strip_prefix("0o").or(unsigned.strip_prefix("0O")) {
        return digits(rest, 8);
    }
    digits(unsigned, 10) || is_float(unsigned)
}

/// `digits[.digits][e[+-]digits]` or `.digits[...]`.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && all_digits(fraction),
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    let exponent_ok = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_ok && exponent_ok
}

/// `2006-01-02`, or that with a time: what a YAML 1.1 reader takes for a timestamp.
fn looks_like_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes
            .get(range)
            .is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    if !(digits(0..4) && bytes.get(4) == Some(&b'-')) {
        return false;
    }
    let mut parts = text[5..].splitn(2, '-');
    let (Some(month), Some(rest)) = (parts.next(), parts.next()) else {
        return false;
    };
    let day_end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let short =
        |part: &str| matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_digit());
    if !short(month) || !short(&rest[..day_end]) {
        return false;
    }
    let time = &rest[day_end..];
    if time.is_empty() {
        return month.len() == 2 && day_end == 2;
    }
    let Some(time) = time.strip_prefix(['T', 't', ' ']) else {
        return false;
    };
    let colons = time.bytes().filter(|b| *b == b':').count();
    colons >= 2
        && time
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'Z' | b'+' | b'-' | b' '))
}

/// `190:20:30` and `190:20:30.15`, numbers of YAML 1.1.
fn looks_like_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.contains(':') || !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    first.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        && fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        && parts.all(|part| match part.as_bytes() {
            [one] => one.is_ascii_digit(),
            [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
            _ => false,
        })
}

/// Keys in the order that a reader expects: letters after signs, numbers by value.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(x, y)| x != y) else {
        return a.len().cmp(&b.len());
    };
    let (x, y) = (a[at], b[at]);
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let significant = (x == '0' || y == '0')
        && a[..at]
            .iter()
            .rev()
            .take_while(|c| c.is_ascii_digit())
            .any(|c| *c != '0');
    let number = |chars: &[char]| {
        let digits: Vec<char> = chars
            .iter()
            .copied()
            .take_while(char::is_ascii_digit)
            .collect();
        let start = u128::from(significant);
        let value = digits.iter().fold(start, |value, digit| {
            value
                .wrapping_mul(10)
                .wrapping_add(u128::from(*digit as u32 - '0' as u32))
        });
        (value, digits.len())
    };
    number(&a[at..]).cmp(&number(&b[at..])).then(x.cmp(&y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value, expected: &str) {
        assert_eq!(to_string(&value), expected);
    }

    #[test]
    fn structure() {
        check(
            json!({"b": [{"x": 1, "a": []}, ["p", "q"]], "a": {}, "c": null, "d": {"e": true}}),
            "a: {}\nb:\n- a: []\n  x: 1\n- - p\n  - q\nc: null\nd:\n  e: true\n",
        );
    }

    #[test]
    fn strings_that_would_read_back_as_something_else_are_quoted() {
        for text in [
            "",
            "true",
            "no",
            "12",
            "1e3",
            "0x1F",
            "null",
            "~",
            "2026-11-24T03:34:27Z",
            "1:30",
        ] {
            check(json!({"k": text}), &format!("k: \"{text}\"\n"));
        }
        for text in [
            "a",
            "a:b",
            "nginx:1.25",
            "10.0.0.1",
            "-x",
            "a#b",
            "1.2.3",
            "100m",
            "a, b",
        ] {
            check(json!({"k": text}), &format!("k: {text}\n"));
        }
        for text in ["a: b", "- x", "#a", "*", "{}", " a", "a ", "@x", "%x"] {
            check(json!({"k": text}), &format!("k: '{text}'\n"));
        }
        check(json!({"k": "a'b: c"}), "k: 'a''b: c'\n");
        check(json!({"k": "tab\there"}), "k: \"tab\\there\"\n");
    }

    #[test]
    fn several_lines_are_literal() {
        check(json!({"k": "a\nb\n"}), "k: |\n  a\n  b\n");
        check(json!({"k": "a\nb"}), "k: |-\n  a\n  b\n");
        check(json!({"k": "a\n\n"}), "k: |+\n  a\n\n");
        check(json!({"l": ["a\nb\n"]}), "l:\n- |\n  a\n  b\n");
        check(json!({"k": " a\nb\n"}), "k: |2\n   a\n  b\n");
    }

    #[test]
    fn long_lines_fold_after_column_80() {
        let text =
            "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available now";
        check(
            json!({"message": text}),
            "message: '0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available\n  now'\n",
        );
    }

    #[test]
    fn keys_in_natural_order() {
        check(
            json!({"a10": 1, "a2": 1, "a-b": 1, "aB": 1}),
            "a-b: 1\na2: 1\na10: 1\naB: 1\n",
        );
    }

    #[test]
    fn streams_split_at_separators() {
        let values = documents("# c\n---\na: 1\n---\n---\nb: |\n  x\n").unwrap();
        assert_eq!(values, vec![json!({"a": 1}), json!({"b": "x\n"})]);
    }

    proptest::proptest! {
        /// What is printed reads back as the same value.
        #[test]
        fn round_trip(text in "[ -~\n]{0,120}") {
            let value = json!({"k": text, "l": [text]});
            let printed = to_string(&value);
            proptest::prop_assert_eq!(parse(&printed).expect(&printed), value);
        }
    }
}
