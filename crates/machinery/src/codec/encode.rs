//! Objects as compact JSON.
//!
//! Invariant: the text always starts `{"apiVersion":..,"kind":..,"metadata":{` and never holds
//! `metadata.resourceVersion`: the revision is spliced in at [`splice_at`] when it is known.

use bytes::Bytes;
use serde_json::{Map, Value};

const METADATA: &[u8] = b"\"metadata\":{";

/// The object as stored: compact, without its resourceVersion.
pub fn encode(object: &Value) -> Bytes {
    let mut out = Vec::with_capacity(1536);
    let Value::Object(fields) = object else {
        value(&mut out, object);
        return out.into();
    };
    out.extend_from_slice(b"{\"apiVersion\":");
    value(&mut out, fields.get("apiVersion").unwrap_or(&EMPTY));
    out.extend_from_slice(b",\"kind\":");
    value(&mut out, fields.get("kind").unwrap_or(&EMPTY));
    out.push(b',');
    out.extend_from_slice(METADATA);
    if let Some(Value::Object(metadata)) = fields.get("metadata") {
        members(&mut out, metadata, &["resourceVersion"], false);
    }
    out.push(b'}');
    members(&mut out, fields, &["apiVersion", "kind", "metadata"], true);
    out.push(b'}');
    out.into()
}

/// The offset right after `"metadata":{` of a text made by [`encode`].
pub fn splice_at(text: &[u8]) -> Option<usize> {
    // The two fields before it are short; a kind cannot contain the needle, as quotes are escaped.
    memchr::memmem::find(text, METADATA).map(|start| start + METADATA.len())
}

/// Any JSON value, compact, as it is.
pub fn encode_plain(any: &Value) -> Bytes {
    let mut out = Vec::with_capacity(512);
    value(&mut out, any);
    out.into()
}

static EMPTY: Value = Value::String(String::new());

fn value(out: &mut Vec<u8>, any: &Value) {
    match any {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => string(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                value(out, item);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            members(out, fields, &[], false);
            out.push(b'}');
        }
    }
}

/// The members of an object but those in `skip`; `more`: something stands before them.
fn members(out: &mut Vec<u8>, fields: &Map<String, Value>, skip: &[&str], mut more: bool) {
    for (key, item) in fields {
        if skip.contains(&key.as_str()) {
            continue;
        }
        if more {
            out.push(b',');
        }
        more = true;
        string(out, key);
        out.push(b':');
        value(out, item);
    }
}

fn write_number(out: &mut Vec<u8>, number: &serde_json::Number) {
    if let Some(integer) = number.as_i64() {
        out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    } else {
        out.extend_from_slice(number.to_string().as_bytes());
    }
}

/// Which bytes cannot stand in a string as they are.
static ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if !ESCAPED[usize::from(byte)] {
            continue;
        }
        out.extend_from_slice(&bytes[start..index]);
        start = index + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn starts_as_promised_and_drops_the_revision() {
        let object = json!({"spec": {"a": [1, 2.5, null, true]}, "kind": "Pod", "apiVersion": "v1",
            "metadata": {"resourceVersion": "7", "name": "a\"b\u{1}ü\n"}});
        let text = encode(&object);
        assert_eq!(
            std::str::from_utf8(&text).unwrap(),
            "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\\\"b\\u0001ü\\n\"},\"spec\":{\"a\":[1,2.5,null,true]}}"
        );
        let at = splice_at(&text).unwrap();
        assert!(text[..at].ends_with(b"\"metadata\":{"));
        let back: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(back["metadata"]["name"], object["metadata"]["name"]);
    }
}
