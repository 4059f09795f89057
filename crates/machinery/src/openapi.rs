//! OpenAPI: the documents from which clients learn the shape of objects and the parameters of
//! requests.
//!
//! Versions 2 and 3 are written straight from the schema tables and the catalogue to the
//! answer, one type and one path at a time; nothing of them stays in memory but the hashes of
//! the index. They carry no descriptions, and they leave out the deprecated `/watch/` paths.
//! Everything a client decides by is in them: kinds, types, formats, required fields,
//! defaults, list types and keys, patch keys, and which requests take `fieldValidation`.

mod gnostic;
mod operations;
mod paths;
mod schemas;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::OnceLock;

use bytes::Bytes;
use fluyt_api::catalogue;
use fluyt_api::schema::{self, TypeId};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use paths::PathItem;

/// The version of OpenAPI that is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flavor {
    V2,
    V3,
}

/// What one document of version 3 covers.
#[derive(Clone, Copy)]
enum Part {
    /// `/version`.
    Version,
    /// `/api`.
    Api,
    /// `/apis`.
    Apis,
    /// `/apis/<group>`.
    Group(&'static str),
    /// `/api/v1` or `/apis/<group>/<version>`.
    GroupVersion(&'static str, &'static str),
}

fn parts() -> Vec<Part> {
    let mut parts = vec![Part::Version, Part::Api, Part::Apis];
    for group in catalogue::group_versions() {
        if !group.group.is_empty() {
            parts.push(Part::Group(group.group));
        }
        parts.extend(
            group
                .versions
                .iter()
                .map(|version| Part::GroupVersion(group.group, version)),
        );
    }
    parts
}

impl Part {
    /// The key in the index, which is the path below `/openapi/v3/`.
    fn key(self) -> String {
        match self {
            Self::Version => "version".to_owned(),
            Self::Api => "api".to_owned(),
            Self::Apis => "apis".to_owned(),
            Self::Group(group) => format!("apis/{group}"),
            Self::GroupVersion("", version) => format!("api/{version}"),
            Self::GroupVersion(group, version) => format!("apis/{group}/{version}"),
        }
    }
}

/// The document of version 2.
pub fn v2() -> Bytes {
    let mut out = Vec::new();
    v2_document()
        .write(&mut out)
        .expect("memory takes all bytes");
    out.into()
}

/// The document of version 2 as protobuf: `application/com.github.proto-openapi.spec.v2.v1.0+protobuf`.
/// Clients up to 1.27 ask for it with an `@` before `v1.0`, but cannot parse such an answer.
pub fn v2_protobuf() -> Bytes {
    gnostic::encode(&v2_document()).into()
}

fn v2_document() -> Document {
    Document::new(
        Flavor::V2,
        None,
        parts().into_iter().flat_map(paths::of).collect(),
    )
}

/// The index of version 3: where each document is, and a hash that changes with it.
pub fn v3_index() -> Bytes {
    let mut entries = Map::new();
    for (key, hash) in hashes() {
        let url = format!("/openapi/v3/{key}?hash={hash}");
        entries.insert(key.clone(), json!({"serverRelativeURL": url}));
    }
    json!({"paths": entries}).to_string().into()
}

/// The document of a group and version, if there is one.
pub fn v3(group: &str, version: &str) -> Option<Bytes> {
    let key = if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    };
    v3_document(&key)
}

/// The document at `/openapi/v3/<key>`, if there is one.
pub fn v3_document(key: &str) -> Option<Bytes> {
    let part = parts().into_iter().find(|part| part.key() == key)?;
    let mut out = Vec::new();
    v3_of(part).write(&mut out).expect("memory takes all bytes");
    Some(out.into())
}

/// The hash of the document at `/openapi/v3/<key>`, in the form of the index.
pub fn v3_hash(key: &str) -> Option<&'static str> {
    hashes()
        .iter()
        .find(|(known, _)| known == key)
        .map(|(_, hash)| hash.as_str())
}

/// The hash of every document, made once, without holding a document.
fn hashes() -> &'static [(String, String)] {
    static HASHES: OnceLock<Vec<(String, String)>> = OnceLock::new();
    HASHES.get_or_init(|| {
        let hash = |part: Part| {
            let mut hasher = Sha256::new();
            let mut buffered = io::BufWriter::new(&mut hasher);
            v3_of(part)
                .write(&mut buffered)
                .expect("a hasher takes all bytes");
            buffered.flush().expect("a hasher takes all bytes");
            drop(buffered);
            format!("{:X}", hasher.finalize())
        };
        parts()
            .into_iter()
            .map(|part| (part.key(), hash(part)))
            .collect()
    })
}

fn v3_of(part: Part) -> Document {
    let group_version = match part {
        Part::GroupVersion(group, version) => Some((group, version)),
        _ => None,
    };
    Document::new(Flavor::V3, group_version, paths::of(part))
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": "unversioned"})
}

fn bearer() -> Value {
    json!({"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}})
}

/// A document about to be written.
struct Document {
    flavor: Flavor,
    group_version: Option<(&'static str, &'static str)>,
    paths: Vec<PathItem>,
    types: BTreeSet<TypeId>,
}

impl Document {
    fn new(
        flavor: Flavor,
        group_version: Option<(&'static str, &'static str)>,
        paths: Vec<PathItem>,
    ) -> Self {
        let mut types = BTreeSet::new();
        for ty in paths.iter().flat_map(PathItem::types) {
            schemas::reach(ty, &mut types);
        }
        Self {
            flavor,
            group_version,
            paths,
            types,
        }
    }

    fn write(&self, out: impl Write) -> serde_json::Result<()> {
        serde_json::to_writer(out, self)
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (info, bearer) = (info(), bearer());
        let mut map = serializer.serialize_map(None)?;
        match self.flavor {
            Flavor::V2 => {
                map.serialize_entry("swagger", "2.0")?;
                map.serialize_entry("info", &info)?;
                map.serialize_entry("paths", &Paths(self))?;
                map.serialize_entry("definitions", &Schemas(self))?;
                map.serialize_entry("securityDefinitions", &bearer)?;
                map.serialize_entry("security", &json!([{"BearerToken": []}]))?;
            }
            Flavor::V3 => {
                map.serialize_entry("openapi", "3.0.0")?;
                map.serialize_entry("info", &info)?;
                map.serialize_entry("paths", &Paths(self))?;
                map.serialize_entry("components", &Components(self, &bearer))?;
            }
        }
        map.end()
    }
}

struct Paths<'a>(&'a Document);

impl Serialize for Paths<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items = &self.0.paths;
        serializer.collect_map(
            items
                .iter()
                .map(|item| (&item.path, item.render(self.0.flavor))),
        )
    }
}

struct Components<'a>(&'a Document, &'a Value);

impl Serialize for Components<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("schemas", &Schemas(self.0))?;
        map.serialize_entry("securitySchemes", self.1)?;
        map.end()
    }
}

struct Schemas<'a>(&'a Document);

impl Serialize for Schemas<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = self.0;
        serializer.collect_map(document.types.iter().map(|id| {
            let ty = schema::get(*id);
            (
                ty.name,
                schemas::render(ty, document.flavor, document.group_version),
            )
        }))
    }
}

#[cfg(test)]
mod tests;
