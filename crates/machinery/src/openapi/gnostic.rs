//! Version 2 as protobuf, the only form in which kubectl up to 1.27 reads it: it validates
//! every manifest with it before sending, so without it `kubectl create` fails.
//!
//! The messages are those of gnostic's OpenAPIv2.proto. They are made from the very values
//! that the JSON document consists of, so the two cannot differ.

use serde_json::Value;

use super::{Document, Flavor, bearer, info, schemas};
use fluyt_api::schema;

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A field of bytes, text or a message; an empty one is written, as its presence may matter.
    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u32, message: &Self) {
        self.bytes(field, &message.0);
    }

    /// The text of a value, if it is one.
    fn text(&mut self, field: u32, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u32, value: &Value) {
        for text in value.as_array().into_iter().flatten() {
            self.text(field, text);
        }
    }

    fn flag(&mut self, field: u32, value: &Value) {
        if value == true {
            self.varint(u64::from(field) << 3);
            self.varint(1);
        }
    }

    /// The entry of a map: name and value.
    fn named(&mut self, field: u32, name: &str, value: &Self) {
        let mut entry = Self::default();
        entry.bytes(1, name.as_bytes());
        entry.message(2, value);
        self.message(field, &entry);
    }

    /// The `x-` entries of an object, each as YAML, of which JSON is a part.
    fn extensions(&mut self, field: u32, object: &Value) {
        for (name, value) in object.as_object().into_iter().flatten() {
            if name.starts_with("x-") {
                let mut any = Self::default();
                any.bytes(2, value.to_string().as_bytes());
                self.named(field, name, &any);
            }
        }
    }
}

/// A message whose only field is `field`.
fn only(field: u32, inner: &Message) -> Message {
    let mut message = Message::default();
    message.message(field, inner);
    message
}

pub(super) fn encode(document: &Document) -> Vec<u8> {
    let mut out = Message::default();
    out.bytes(1, b"2.0");
    let mut facts = Message::default();
    facts.text(1, &info()["title"]);
    facts.text(2, &info()["version"]);
    out.message(2, &facts);
    let mut paths = Message::default();
    for item in &document.paths {
        paths.named(2, &item.path, &path_item(&item.render(Flavor::V2)));
    }
    out.message(8, &paths);
    let mut definitions = Message::default();
    for id in &document.types {
        let ty = schema::get(*id);
        definitions.named(
            1,
            ty.name,
            &schema_message(&schemas::render(ty, Flavor::V2, None)),
        );
    }
    out.message(9, &definitions);
    for (name, scheme) in bearer().as_object().into_iter().flatten() {
        let mut requirement = Message::default();
        requirement.named(1, name, &Message::default());
        out.message(12, &requirement);
        let mut key = Message::default();
        key.text(1, &scheme["type"]);
        key.text(2, &scheme["name"]);
        key.text(3, &scheme["in"]);
        let mut definitions = Message::default();
        definitions.named(1, name, &only(2, &key));
        out.message(13, &definitions);
    }
    out.0
}

fn schema_message(value: &Value) -> Message {
    let mut out = Message::default();
    out.text(1, &value["$ref"]);
    out.text(2, &value["format"]);
    out.texts(19, &value["required"]);
    if value["additionalProperties"].is_object() {
        out.message(
            21,
            &only(1, &schema_message(&value["additionalProperties"])),
        );
    }
    if value["type"].is_string() {
        let mut types = Message::default();
        types.text(1, &value["type"]);
        out.message(22, &types);
    }
    if value["items"].is_object() {
        out.message(23, &only(1, &schema_message(&value["items"])));
    }
    if let Some(properties) = value["properties"].as_object() {
        let mut all = Message::default();
        for (name, property) in properties {
            all.named(1, name, &schema_message(property));
        }
        out.message(25, &all);
    }
    out.extensions(31, value);
    out
}

fn path_item(value: &Value) -> Message {
    const METHODS: &[(u32, &str)] = &[
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (6, "options"),
        (7, "head"),
        (8, "patch"),
    ];
    let mut out = Message::default();
    for (field, method) in METHODS {
        if value[method].is_object() {
            out.message(*field, &operation(&value[method]));
        }
    }
    parameters(&mut out, 9, &value["parameters"]);
    out
}

fn operation(value: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, &value["tags"]);
    out.text(5, &value["operationId"]);
    out.texts(6, &value["produces"]);
    out.texts(7, &value["consumes"]);
    parameters(&mut out, 8, &value["parameters"]);
    let mut responses = Message::default();
    for (code, answer) in value["responses"].as_object().into_iter().flatten() {
        let mut response = Message::default();
        response.text(1, &answer["description"]);
        if answer["schema"].is_object() {
            response.message(2, &only(1, &schema_message(&answer["schema"])));
        }
        responses.named(1, code, &only(1, &response));
    }
    out.message(9, &responses);
    out.texts(10, &value["schemes"]);
    out.extensions(13, value);
    out
}

fn parameters(out: &mut Message, field: u32, list: &Value) {
    for parameter in list.as_array().into_iter().flatten() {
        out.message(field, &only(1, &parameter_message(parameter)));
    }
}

fn parameter_message(value: &Value) -> Message {
    let mut out = Message::default();
    match value["in"].as_str() {
        Some("body") => {
            out.text(2, &value["name"]);
            out.text(3, &value["in"]);
            out.flag(4, &value["required"]);
            out.message(5, &schema_message(&value["schema"]));
            only(1, &out)
        }
        place => {
            // Query parameters have one field more before the type than path parameters.
            let (kind, ty) = if place == Some("path") {
                (4, 5)
            } else {
                (3, 6)
            };
            out.flag(1, &value["required"]);
            out.text(2, &value["in"]);
            out.text(4, &value["name"]);
            out.text(ty, &value["type"]);
            only(2, &only(kind, &out))
        }
    }
}

#[cfg(test)]
mod tests;
