//! From what a user types (`po`, `deployments.apps`, `Pod`) or a manifest says (apiVersion and kind) to a
//! resource of the API. The built-in catalogue answers first, without a request; only what it does not
//! know is looked up in the server's discovery.

use crate::failure::Failure;
use crate::rest::{Call, Rest, encode};
use crate::text::goquote::quote;
use fluyt_api::catalogue;
use serde_json::Value;
use tokio::sync::OnceCell;

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// A resource and how it is addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<String>,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
}

impl Mapping {
    fn built_in(resource: &catalogue::Resource) -> Mapping {
        let owned = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect();
        Mapping {
            group: resource.group.to_owned(),
            version: resource.version.to_owned(),
            plural: resource.plural.to_owned(),
            singular: resource.singular.to_owned(),
            kind: resource.kind.to_owned(),
            namespaced: resource.namespaced,
            verbs: resource
                .verbs
                .iter()
                .map(|verb| verb.as_str().to_owned())
                .collect(),
            short_names: owned(resource.short_names),
            categories: owned(resource.categories),
        }
    }

    /// `v1`, `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        join(&self.group, &self.version, "/")
    }

    /// `pods`, `deployments.apps`.
    pub(crate) fn group_resource(&self) -> String {
        with_group(&self.plural, &self.group)
    }

    /// `pod`, `deployment.apps`: the prefix of a name in the output.
    pub(crate) fn kind_prefix(&self) -> String {
        with_group(&self.kind.to_lowercase(), &self.group)
    }

    /// The path of the collection; all namespaces without one.
    pub(crate) fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{}/{}", encode(namespace), self.plural),
            None => format!("{root}/{}", self.plural),
        }
    }

    /// The path of one object.
    pub(crate) fn path(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{}/{}", self.collection(namespace), encode(name))
    }

    /// The compiled-in resource, for what needs its schema.
    pub(crate) fn catalogued(&self) -> Option<&'static catalogue::Resource> {
        catalogue::find(&self.group, &self.version, &self.plural)
    }

    fn answers_to(&self, word: &str) -> bool {
        self.plural == word
            || self.singular == word
            || self.kind.eq_ignore_ascii_case(word)
            || self.short_names.iter().any(|name| name == word)
    }
}

/// All known resources; discovery is asked at most once.
#[derive(Default)]
pub(crate) struct Mapper {
    discovered: OnceCell<Vec<Mapping>>,
}

impl Mapper {
    /// The resource that `word` means: a plural, singular, kind or short name, optionally with `.GROUP` or
    /// `.VERSION.GROUP`.
    pub(crate) async fn resource(&self, rest: &Rest, word: &str) -> Result<Mapping, Failure> {
        if let Some(mapping) = find(&built_in(), word) {
            return Ok(mapping);
        }
        if word.is_empty() {
            return Err(unknown(word));
        }
        find(self.discovered(rest).await?, word).ok_or_else(|| unknown(word))
    }

    /// Only from the catalogue: for names that the client itself uses.
    pub(crate) fn well_known(&self, word: &str) -> Mapping {
        find(&built_in(), word).expect("the client only names resources of the catalogue")
    }

    /// The resource of a manifest's apiVersion and kind; None if the server has no such kind.
    pub(crate) async fn kind(
        &self,
        rest: &Rest,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Mapping>, Failure> {
        let matches =
            |mapping: &&Mapping| mapping.kind == kind && mapping.api_version() == api_version;
        if let Some(mapping) = built_in().iter().find(matches) {
            return Ok(Some(mapping.clone()));
        }
        Ok(self.discovered(rest).await?.iter().find(matches).cloned())
    }

    /// The resources of a category such as `all`, in the order of discovery; empty if it is none.
    pub(crate) async fn category(&self, rest: &Rest, word: &str) -> Result<Vec<Mapping>, Failure> {
        let of = |mappings: &[Mapping]| -> Vec<Mapping> {
            let mut chosen: Vec<Mapping> = Vec::new();
            for mapping in mappings {
                let twice = chosen
                    .iter()
                    .any(|known| known.group_resource() == mapping.group_resource());
                if !twice && mapping.categories.iter().any(|category| category == word) {
                    chosen.push(mapping.clone());
                }
            }
            chosen
        };
        let known = of(&built_in());
        if known.is_empty() || find(&built_in(), word).is_some() {
            return Ok(Vec::new());
        }
        match self.discovered(rest).await {
            Ok(discovered) if !of(discovered).is_empty() => Ok(of(discovered)),
            Err(failure @ Failure::Transport { .. }) => Err(failure),
            _ => Ok(known),
        }
    }

    /// Everything the server says it has.
    pub(crate) async fn discovered(&self, rest: &Rest) -> Result<&[Mapping], Failure> {
        let mappings = self.discovered.get_or_try_init(|| discover(rest)).await?;
        Ok(mappings)
    }
}

fn built_in() -> Vec<Mapping> {
    catalogue::resources()
        .iter()
        .map(Mapping::built_in)
        .collect()
}

fn find(mappings: &[Mapping], word: &str) -> Option<Mapping> {
    let word = word.to_lowercase();
    let (name, suffix) = word.split_once('.').unwrap_or((&word, ""));
    mappings
        .iter()
        .find(|mapping| {
            mapping.answers_to(name)
                && (suffix.is_empty()
                    || mapping.group == suffix
                    || join(&mapping.version, &mapping.group, ".").trim_end_matches('.') == suffix
                    || mapping.group.starts_with(&format!("{suffix}.")))
        })
        .cloned()
}

fn unknown(word: &str) -> Failure {
    let (name, group) = word.split_once('.').unwrap_or((word, ""));
    let text = format!("the server doesn't have a resource type {}", quote(name));
    Failure::message(if group.is_empty() {
        text
    } else {
        format!("{text} in group {}", quote(group))
    })
}

async fn discover(rest: &Rest) -> Result<Vec<Mapping>, Failure> {
    let mut mappings = Vec::new();
    for root in ["/api", "/apis"] {
        let document = rest.json(&Call::get(root).accept(AGGREGATED)).await?;
        if document["kind"] == "APIGroupDiscoveryList" {
            read_aggregated(&document, &mut mappings);
        } else {
            for group_version in legacy_versions(&document) {
                let path = if group_version.contains('/') {
                    format!("/apis/{group_version}")
                } else {
                    format!("/api/{group_version}")
                };
                // A group whose server is away must not hide the others.
                match rest.json(&Call::get(path)).await {
                    Ok(list) => read_legacy(&list, &group_version, &mut mappings),
                    Err(failure @ Failure::Transport { .. }) => return Err(failure),
                    Err(_) => {}
                }
            }
        }
    }
    Ok(mappings)
}

fn read_aggregated(document: &Value, mappings: &mut Vec<Mapping>) {
    for group in items(&document["items"]) {
        let name = text(&group["metadata"]["name"]);
        for version in items(&group["versions"]) {
            for resource in items(&version["resources"]) {
                mappings.push(Mapping {
                    group: name.clone(),
                    version: text(&version["version"]),
                    plural: text(&resource["resource"]),
                    singular: text(&resource["singularResource"]),
                    kind: text(&resource["responseKind"]["kind"]),
                    namespaced: resource["scope"] == "Namespaced",
                    verbs: texts(&resource["verbs"]),
                    short_names: texts(&resource["shortNames"]),
                    categories: texts(&resource["categories"]),
                });
            }
        }
    }
}

/// The group versions of `APIVersions` and `APIGroupList`, the preferred one of each group first.
fn legacy_versions(document: &Value) -> Vec<String> {
    if document["kind"] == "APIVersions" {
        return texts(&document["versions"]);
    }
    let mut versions = Vec::new();
    for group in items(&document["groups"]) {
        let preferred = text(&group["preferredVersion"]["groupVersion"]);
        versions.push(preferred.clone());
        for version in items(&group["versions"]) {
            let version = text(&version["groupVersion"]);
            if version != preferred {
                versions.push(version);
            }
        }
    }
    versions
}

fn read_legacy(list: &Value, group_version: &str, mappings: &mut Vec<Mapping>) {
    let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
    for resource in items(&list["resources"]) {
        let plural = text(&resource["name"]);
        if plural.contains('/') {
            continue;
        }
        mappings.push(Mapping {
            group: group.to_owned(),
            version: version.to_owned(),
            plural,
            singular: text(&resource["singularName"]),
            kind: text(&resource["kind"]),
            namespaced: resource["namespaced"] == true,
            verbs: texts(&resource["verbs"]),
            short_names: texts(&resource["shortNames"]),
            categories: texts(&resource["categories"]),
        });
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    items(value).map(text).collect()
}

fn with_group(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

fn join(first: &str, second: &str, separator: &str) -> String {
    if first.is_empty() {
        second.to_owned()
    } else {
        format!("{first}{separator}{second}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_resources() {
        for (word, expected) in [
            ("po", "pods"),
            ("Pod", "pods"),
            ("pods", "pods"),
            ("deploy", "deployments.apps"),
            ("deployments.apps", "deployments.apps"),
            ("deployment.v1.apps", "deployments.apps"),
            ("svc", "services"),
            ("events", "events"),
            ("ev", "events"),
            ("ing", "ingresses.networking.k8s.io"),
            ("pods.v1", "pods"),
        ] {
            let found = find(&built_in(), word).map(|mapping| mapping.group_resource());
            assert_eq!(found.as_deref(), Some(expected), "{word}");
        }
        assert_eq!(find(&built_in(), "nonsense"), None);
    }

    #[test]
    fn paths() {
        let deployments = find(&built_in(), "deploy").unwrap();
        assert_eq!(
            deployments.path(Some("a"), "b"),
            "/apis/apps/v1/namespaces/a/deployments/b"
        );
        let nodes = find(&built_in(), "no").unwrap();
        assert_eq!(nodes.path(Some("a"), "b"), "/api/v1/nodes/b");
    }
}
