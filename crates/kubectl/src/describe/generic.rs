//! Any object: its fields with readable labels, sorted.

use super::Facts;
use super::parts::{annotations, events, labels};
use super::writer::Writer;
use crate::object::Object;
use crate::printers::custom_columns::go_value;
use serde_json::{Map, Value};

/// Said already, or of no interest.
const SKIPPED: [&str; 5] = [
    ".metadata.managedFields",
    ".metadata.name",
    ".metadata.namespace",
    ".metadata.labels",
    ".metadata.annotations",
];
const ACRONYMS: [&str; 4] = ["API", "URL", "UID", "GUID"];

pub(crate) fn describe(object: &Value, facts: &Facts) -> String {
    let mut w = Writer::default();
    w.field(0, "Name", object.name());
    w.field(0, "Namespace", object.namespace());
    labels(&mut w, "Labels", object.at("metadata.labels"));
    annotations(&mut w, "Annotations", object.at("metadata.annotations"));
    if let Some(map) = object.as_object() {
        fields(&mut w, 0, map, "");
    }
    events(&mut w, facts.events.as_deref(), facts.now);
    w.finish()
}

fn fields(w: &mut Writer, level: usize, map: &Map<String, Value>, prefix: &str) {
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort();
    for key in keys {
        let path = format!("{prefix}.{key}");
        if SKIPPED.contains(&path.as_str()) {
            continue;
        }
        match &map[key] {
            Value::Object(inner) => {
                w.line(level, format!("{}:", label(key)));
                fields(w, level + 1, inner, &path);
            }
            Value::Array(items) => {
                w.line(level, format!("{}:", label(key)));
                for item in items {
                    match item {
                        Value::Object(inner) => fields(w, level + 1, inner, &path),
                        other => w.line(level + 1, plain(other)),
                    }
                }
            }
            other => w.field(level, &label(key), plain(other)),
        }
    }
}

fn plain(value: &Value) -> String {
    if value.is_null() {
        "<nil>".to_owned()
    } else {
        go_value(value)
    }
}

/// `apiVersion` as `API Version`, `creationTimestamp` as `Creation Timestamp`.
fn label(field: &str) -> String {
    if field.chars().any(|c| !c.is_alphabetic() && c != '-') {
        return field.to_owned();
    }
    let words: Vec<String> = merge_acronyms(split_camel_case(field))
        .into_iter()
        .filter(|word| word != "_")
        .map(|word| {
            let upper = word.to_uppercase();
            if ACRONYMS.contains(&upper.as_str()) {
                upper
            } else if word.to_lowercase() == word {
                let mut chars = word.chars();
                chars.next().map_or(String::new(), |first| {
                    first.to_uppercase().chain(chars).collect()
                })
            } else {
                word
            }
        })
        .collect();
    words.join(" ")
}

/// A word of capitals and the capitalised one after it belong together.
fn merge_acronyms(words: Vec<String>) -> Vec<String> {
    let mut merged = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let capitals = word.chars().count() >= 2
            && word.chars().all(|c| !c.is_alphabetic() || c.is_uppercase());
        let next_is_capitalised = words
            .peek()
            .is_some_and(|next| next.starts_with(char::is_uppercase));
        if capitals && next_is_capitalised {
            merged.push(word + &words.next().unwrap_or_default());
        } else {
            merged.push(word);
        }
    }
    merged
}

fn split_camel_case(text: &str) -> Vec<String> {
    let class = |c: char| match c {
        c if c.is_lowercase() => 0,
        c if c.is_uppercase() => 1,
        c if c.is_ascii_digit() => 2,
        _ => 3,
    };
    let mut runs: Vec<(i32, String)> = Vec::new();
    for c in text.chars() {
        match runs.last_mut() {
            Some((last, run)) if *last == class(c) => run.push(c),
            _ => runs.push((class(c), c.to_string())),
        }
    }
    for index in 1..runs.len() {
        if runs[index - 1].0 == 1
            && runs[index].0 == 0
            && let Some(capital) = runs[index - 1].1.pop()
        {
            runs[index].1.insert(0, capital);
        }
    }
    runs.into_iter()
        .map(|(_, run)| run)
        .filter(|run| !run.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_readable() {
        for (field, expected) in [
            ("apiVersion", "API Version"),
            ("creationTimestamp", "Creation Timestamp"),
            ("uid", "UID"),
            ("spec", "Spec"),
            ("resourceVersion", "Resource Version"),
            ("a.b/c", "a.b/c"),
            ("group-name", "Group - Name"),
        ] {
            assert_eq!(label(field), expected);
        }
    }
}
