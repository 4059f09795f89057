//! Content negotiation. JSON is the representation; YAML and Tables are made on demand.

use fluyt_api::status::Status;
use http::HeaderMap;
use http::header::ACCEPT;

/// The shape in which objects are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The object itself.
    Object,
    /// `meta.k8s.io/v1` Table, as kubectl prints.
    Table,
    /// Only apiVersion, kind and metadata.
    Metadata,
}

/// The outcome of negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) shape: Shape,
    pub(crate) yaml: bool,
}

const PLAIN: Accepted = Accepted {
    shape: Shape::Object,
    yaml: false,
};

/// Picks the first acceptable clause. A missing header accepts JSON.
pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Accepted, Status> {
    let Some(value) = headers.get(ACCEPT) else {
        return Ok(PLAIN);
    };
    let text = value.to_str().unwrap_or("*/*");
    if text == "application/json" || text == "*/*" || text.is_empty() {
        return Ok(PLAIN);
    }
    text.split(',')
        .find_map(clause)
        .ok_or_else(|| Status::not_acceptable(NOT_ACCEPTABLE))
}

pub(crate) const NOT_ACCEPTABLE: &str =
    "only the following media types are accepted: application/json, application/yaml";

fn clause(text: &str) -> Option<Accepted> {
    let mut parts = text.split(';').map(str::trim);
    let yaml = match parts.next()? {
        "application/json" | "application/*" | "*/*" => false,
        "application/yaml" => true,
        _ => return None,
    };
    let (mut shape, mut group, mut version) = (Shape::Object, "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", "Table")) => shape = Shape::Table,
            Some(("as", "PartialObjectMetadata" | "PartialObjectMetadataList")) => {
                shape = Shape::Metadata;
            }
            Some(("as", _)) => return None,
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            _ => {}
        }
    }
    if shape != Shape::Object && (group != "meta.k8s.io" || !matches!(version, "v1" | "v1beta1")) {
        return None;
    }
    Some(Accepted { shape, yaml })
}

/// The version of aggregated discovery that the client asks for, if it does.
pub(crate) fn wants_aggregated_discovery(headers: &HeaderMap) -> Option<&'static str> {
    let text = headers.get(ACCEPT)?.to_str().ok()?;
    // The first clause that this server can answer decides.
    for clause in text.split(',').map(str::trim) {
        let mut parts = clause.split(';').map(str::trim);
        if !matches!(parts.next(), Some("application/json" | "*/*")) {
            continue;
        }
        let parameters: Vec<&str> = parts.collect();
        let has = |parameter: &str| parameters.contains(&parameter);
        if has("as=APIGroupDiscoveryList") && has("g=apidiscovery.k8s.io") {
            if has("v=v2") {
                return Some("v2");
            }
            if has("v=v2beta1") {
                return Some("v2beta1");
            }
        } else if !clause.contains("as=") {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, expected: Option<(Shape, bool)>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let actual = negotiate(&headers).ok().map(|a| (a.shape, a.yaml));
        assert_eq!(actual, expected, "{accept}");
    }

    #[test]
    fn picks_the_first_acceptable_clause() {
        check("application/json", Some((Shape::Object, false)));
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Some((Shape::Table, false)),
        );
        check(
            "application/vnd.kubernetes.protobuf, */*",
            Some((Shape::Object, false)),
        );
        check(
            "application/vnd.kubernetes.protobuf,application/json",
            Some((Shape::Object, false)),
        );
        check("application/yaml", Some((Shape::Object, true)));
        check("text/html", None);
        check(
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            Some((Shape::Metadata, false)),
        );
    }
}
