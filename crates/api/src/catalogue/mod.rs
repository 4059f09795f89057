//! Every resource the server has, as data: the one list from which routes, discovery, storage
//! keys and documents are made.
//!
//! The table is generated. Its order is the order of discovery: the core group first, then
//! groups as upstream's `/apis` has them, within a group the preferred version first.
//!
//! ```
//! use fluyt_api::catalogue;
//! let pods = catalogue::find("", "v1", "pods").expect("pods exist");
//! assert_eq!(pods.storage_prefix, "/registry/pods");
//! assert_eq!(pods.api_version(), "v1");
//! ```

mod table;

use std::fmt;

use crate::schema;

/// A verb of the API on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// POST.
    Create,
    /// DELETE on an object.
    Delete,
    /// DELETE on a collection.
    DeleteCollection,
    /// GET on an object.
    Get,
    /// GET on a collection.
    List,
    /// PATCH.
    Patch,
    /// PUT.
    Update,
    /// GET on a collection with `watch=true`.
    Watch,
}

impl Verb {
    /// The word of discovery and RBAC.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One resource in one version.
#[derive(Debug)]
pub struct Resource {
    /// The group; empty for the core group.
    pub group: &'static str,
    /// The version, `v1` for instance.
    pub version: &'static str,
    /// The plural, as in paths.
    pub plural: &'static str,
    /// The singular, for command lines.
    pub singular: &'static str,
    /// The kind of its objects.
    pub kind: &'static str,
    /// The kind of a list of them.
    pub list_kind: &'static str,
    /// Whether its objects lie in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: &'static [Verb],
    /// Short names for command lines.
    pub short_names: &'static [&'static str],
    /// Categories, such as `all`.
    pub categories: &'static [&'static str],
    /// Its subresources.
    pub subresources: &'static [Subresource],
    /// The schema of its kind.
    pub type_id: schema::TypeId,
    /// Where its objects are stored: `/registry/pods`, no slash at the end. Resources that are
    /// served by several groups or versions share one prefix.
    pub storage_prefix: &'static str,
    /// The group in which its objects are stored; differs from `group` for `events.k8s.io`.
    pub storage_group: &'static str,
    /// The version in which its objects are stored.
    pub storage_version: &'static str,
}

/// A subresource of a resource, such as `status` or `scale`.
#[derive(Debug)]
pub struct Subresource {
    /// The last part of the path; `name` of `pods/name`.
    pub name: &'static str,
    /// The group of its kind.
    pub group: &'static str,
    /// The version of its kind.
    pub version: &'static str,
    /// The kind it answers with.
    pub kind: &'static str,
    /// What can be done with it.
    pub verbs: &'static [Verb],
    /// The schema of its kind; none for the options of streaming subresources.
    pub type_id: Option<schema::TypeId>,
}

/// A group and its versions, the preferred one first.
#[derive(Debug)]
pub struct GroupVersions {
    /// The group; empty for the core group.
    pub group: &'static str,
    /// Its versions, the preferred one first.
    pub versions: &'static [&'static str],
}

/// Writes `v1` or `apps/v1`.
fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

impl Resource {
    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// The `apiVersion` in which its objects are stored.
    pub fn storage_api_version(&self) -> String {
        api_version(self.storage_group, self.storage_version)
    }

    /// `deployments.apps`, or `pods` for the core group: the form of error messages.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Whether objects of it are stored. Reviews, bindings and component statuses are not.
    pub fn is_persisted(&self) -> bool {
        self.has_verb(Verb::Watch)
    }

    /// Whether DELETE answers with the object that was deleted, where other resources answer
    /// with a `Status`.
    pub fn returns_deleted_object(&self) -> bool {
        match self.group {
            "" => matches!(
                self.plural,
                "persistentvolumeclaims"
                    | "persistentvolumes"
                    | "pods"
                    | "podtemplates"
                    | "resourcequotas"
                    | "serviceaccounts"
                    | "services"
            ),
            "resource.k8s.io" => true,
            "storage.k8s.io" => self.plural != "csistoragecapacities",
            _ => false,
        }
    }

    /// Whether it has a verb.
    pub fn has_verb(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    /// Its subresource of a given name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }
}

impl Subresource {
    /// The `apiVersion` of its kind.
    pub fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }
}

/// Every resource, in the order of discovery.
pub fn resources() -> &'static [Resource] {
    table::RESOURCES
}

/// Groups in the order of discovery, the core group first.
pub fn group_versions() -> &'static [GroupVersions] {
    table::GROUPS
}

/// The resources of one group and version.
pub fn of_version<'a>(
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'static Resource> + use<'a> {
    resources()
        .iter()
        .filter(move |r| r.group == group && r.version == version)
}

/// The resource at `/apis/<group>/<version>/<plural>`.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    resources()
        .iter()
        .find(|r| r.plural == plural && r.version == version && r.group == group)
}

/// The resource of a kind.
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Resource> {
    resources()
        .iter()
        .find(|r| r.kind == kind && r.version == version && r.group == group)
}

/// The resource in the version in which it is stored.
pub fn stored(resource: &Resource) -> Option<&'static Resource> {
    find(
        resource.storage_group,
        resource.storage_version,
        resource.plural,
    )
}

#[cfg(test)]
mod tests;
