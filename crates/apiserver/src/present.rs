//! How an object leaves the server: stored bytes, another version, a Table, or only its metadata.

use bytes::{Bytes, BytesMut};
use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use fluyt_machinery::table;
use serde_json::{Value, json};

use crate::http::accept::{Accepted, Shape};
use crate::http::query::Query;
use crate::http::respond;
use crate::stored;

/// Which part of the object a Table row carries beside its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Include {
    None,
    Metadata,
    Object,
}

/// The representation that a request asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presenter {
    pub(crate) resource: &'static Resource,
    shape: Shape,
    include: Include,
}

impl Presenter {
    pub(crate) fn new(
        resource: &'static Resource,
        accepted: Accepted,
        query: &Query,
    ) -> Result<Self, Status> {
        let include = match query.non_empty("includeObject") {
            None | Some("Metadata") => Include::Metadata,
            Some("None") => Include::None,
            Some("Object") => Include::Object,
            Some(other) => {
                return Err(Status::bad_request(format!(
                    "unrecognized includeObject value: {other:?}"
                )));
            }
        };
        Ok(Presenter {
            resource,
            shape: accepted.shape,
            include,
        })
    }

    /// True when stored bytes are the answer.
    pub(crate) fn is_raw(&self) -> bool {
        self.shape == Shape::Object && stored::is_stored_version(self.resource)
    }

    pub(crate) fn is_table(&self) -> bool {
        self.shape == Shape::Table
    }

    /// One object, by its stored bytes.
    pub(crate) fn object(&self, value: &Bytes) -> Result<Bytes, Status> {
        match self.shape {
            Shape::Object => stored::bytes(self.resource, value),
            Shape::Metadata => {
                let object = stored::object(self.resource, value)?;
                Ok(respond::to_bytes(&partial(&object)))
            }
            Shape::Table => {
                let object = stored::object(self.resource, value)?;
                let revision = object["metadata"]["resourceVersion"].clone();
                let mut out = BytesMut::new();
                self.open_table(&mut out, &json!({ "resourceVersion": revision }), true);
                self.row(&mut out, &object, jiff::Timestamp::now());
                out.extend_from_slice(b"]}");
                Ok(out.freeze())
            }
        }
    }

    /// One object of a watch event; `first` rows bring the columns along.
    pub(crate) fn watched(&self, value: &Bytes, first: bool) -> Result<Bytes, Status> {
        if self.shape != Shape::Table {
            return self.object(value);
        }
        let object = stored::object(self.resource, value)?;
        let revision = object["metadata"]["resourceVersion"].clone();
        let mut out = BytesMut::new();
        self.open_table(&mut out, &json!({ "resourceVersion": revision }), first);
        self.row(&mut out, &object, jiff::Timestamp::now());
        out.extend_from_slice(b"]}");
        Ok(out.freeze())
    }

    /// Everything before the first item of a list.
    pub(crate) fn open_list(&self, out: &mut BytesMut, metadata: &Value) {
        if self.shape == Shape::Table {
            self.open_table(out, metadata, true);
            return;
        }
        let (kind, version) = match self.shape {
            Shape::Metadata => ("PartialObjectMetadataList", "meta.k8s.io/v1".to_owned()),
            _ => (self.resource.list_kind, self.resource.api_version()),
        };
        out.extend_from_slice(b"{\"kind\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"apiVersion\":\"");
        out.extend_from_slice(version.as_bytes());
        out.extend_from_slice(b"\",\"metadata\":");
        out.extend_from_slice(&respond::to_bytes(metadata));
        out.extend_from_slice(b",\"items\":[");
    }

    fn open_table(&self, out: &mut BytesMut, metadata: &Value, columns: bool) {
        out.extend_from_slice(
            b"{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":",
        );
        out.extend_from_slice(&respond::to_bytes(metadata));
        out.extend_from_slice(b",\"columnDefinitions\":");
        let definitions: Vec<Value> = if columns {
            table::columns(self.resource)
                .iter()
                .map(table::Column::definition)
                .collect()
        } else {
            Vec::new()
        };
        out.extend_from_slice(&respond::to_bytes(&definitions));
        out.extend_from_slice(b",\"rows\":[");
    }

    /// One item of a list, without the comma.
    pub(crate) fn item(&self, out: &mut BytesMut, value: &[u8], now: jiff::Timestamp) {
        if self.is_raw() {
            out.extend_from_slice(b"{");
            out.extend_from_slice(stored::list_item(value));
            return;
        }
        // An object that does not decode is left out rather than failing the list.
        let Ok(mut object) = stored::object(self.resource, value) else {
            return;
        };
        match self.shape {
            Shape::Table => self.row(out, &object, now),
            Shape::Metadata => out.extend_from_slice(&respond::to_bytes(&partial(&object))),
            Shape::Object => {
                if let Some(map) = object.as_object_mut() {
                    map.remove("apiVersion");
                    map.remove("kind");
                }
                out.extend_from_slice(&respond::to_bytes(&object));
            }
        }
    }

    fn row(&self, out: &mut BytesMut, object: &Value, now: jiff::Timestamp) {
        let cells = table::row(self.resource, object, now);
        out.extend_from_slice(b"{\"cells\":");
        out.extend_from_slice(&respond::to_bytes(&cells));
        match self.include {
            Include::None => {}
            Include::Metadata => {
                out.extend_from_slice(b",\"object\":");
                out.extend_from_slice(&respond::to_bytes(&partial(object)));
            }
            Include::Object => {
                out.extend_from_slice(b",\"object\":");
                out.extend_from_slice(&respond::to_bytes(object));
            }
        }
        out.extend_from_slice(b"}");
    }
}

fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}
