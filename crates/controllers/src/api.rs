//! Writes, and the few reads that must be fresh: plain REST on whole objects, so that nothing a slim view left out is lost.
//!
//! Invariant: a status or spec is written by reading the live object, changing it and putting it back with the resourceVersion
//! that was read; nobody's concurrent change is overwritten. That needs only the verbs that upstream's controller roles grant.

use fluyt_client::informer;
use fluyt_client::kube::{self, Client};
use fluyt_client::rest::{self, PatchType};
use serde_json::{Value, json};

/// Where a resource is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
}

const fn core(plural: &'static str) -> Resource {
    Resource {
        group: "",
        version: "v1",
        plural,
    }
}

const fn named(group: &'static str, plural: &'static str) -> Resource {
    Resource {
        group,
        version: "v1",
        plural,
    }
}

pub const PODS: Resource = core("pods");
pub const NODES: Resource = core("nodes");
pub const NAMESPACES: Resource = core("namespaces");
pub const SERVICES: Resource = core("services");
pub const SERVICE_ACCOUNTS: Resource = core("serviceaccounts");
pub const SECRETS: Resource = core("secrets");
pub const CONFIG_MAPS: Resource = core("configmaps");
pub const ENDPOINTS: Resource = core("endpoints");
pub const LEASES: Resource = named("coordination.k8s.io", "leases");
pub const ENDPOINT_SLICES: Resource = named("discovery.k8s.io", "endpointslices");
pub const REPLICA_SETS: Resource = named("apps", "replicasets");
pub const DEPLOYMENTS: Resource = named("apps", "deployments");

impl Resource {
    pub fn path(&self, namespace: &str, name: &str) -> String {
        rest::path(self.group, self.version, namespace, self.plural, name)
    }
}

/// Why a reconcile did not finish. It is retried with back-off in every case.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cache was older than the live object; the watch will wake the key again.
    #[error("the cached {0} is older than the live object")]
    Stale(String),
    #[error("{}", describe(.0))]
    Request(#[source] kube::Error),
    #[error("{0}")]
    Other(String),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Request(error)
    }
}

/// The server's own words, without the client's dressing.
fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl Error {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Request(error) if rest::is_not_found(error))
    }

    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Request(error) if rest::is_already_exists(error))
    }

    /// The object changed since it was read: expected now and then, not worth a warning.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Stale(_) => true,
            Self::Request(error) => rest::is_conflict(error) && !rest::is_already_exists(error),
            Self::Other(_) => false,
        }
    }

    /// Nothing can be created in a namespace that is being deleted; not an error of the controller.
    pub fn is_namespace_terminating(&self) -> bool {
        let Self::Request(kube::Error::Api(status)) = self else {
            return false;
        };
        let causes = status
            .details
            .as_ref()
            .map(|details| details.causes.as_slice());
        causes
            .unwrap_or_default()
            .iter()
            .any(|cause| cause.reason == "NamespaceTerminating")
            || (status.code == 403 && status.message.contains("because it is being terminated"))
    }

    pub fn is_transport(&self) -> bool {
        matches!(self, Self::Request(error) if fluyt_client::availability::is_transport(error))
    }

    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Request(kube::Error::Api(status)) if status.code == 403)
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Requests with one controller's identity.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

/// Tries of [`Api::modify`] when somebody else writes at the same time.
const MODIFY_ATTEMPTS: u32 = 4;

impl Api {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub async fn get_opt(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>> {
        Ok(rest::get_opt(&self.client, &resource.path(namespace, name)).await?)
    }

    pub async fn get_path(&self, path: &str) -> Result<Option<Value>> {
        Ok(rest::get_opt(&self.client, path).await?)
    }

    /// A whole collection, of its objects only the metadata.
    pub async fn list_metadata(&self, path: &str) -> Result<Value> {
        let mut request = rest::request(http::Method::GET, path, "", Vec::new())?;
        let accept = http::HeaderValue::from_static(informer::METADATA_ONLY_LIST);
        request.headers_mut().insert(http::header::ACCEPT, accept);
        let bytes = rest::send(&self.client, request).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Other(format!("list {path}: {error}")))
    }

    pub async fn create(
        &self,
        resource: Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<Value> {
        Ok(rest::create(&self.client, &resource.path(namespace, ""), object).await?)
    }

    /// Reads, changes and writes one object; `change` says whether there is anything to write. `subresource` is "" or "status"
    /// and the like. With `expected`, a live object of another resourceVersion is [`Error::Stale`]: the change was worked out
    /// from a cache that has been overtaken. Without, conflicts are retried on the fresh object.
    pub async fn modify(
        &self,
        resource: Resource,
        (namespace, name): (&str, &str),
        subresource: &str,
        expected: Option<&str>,
        mut change: impl FnMut(&mut Value) -> bool,
    ) -> Result<Value> {
        let path = resource.path(namespace, name);
        let target = if subresource.is_empty() {
            path.clone()
        } else {
            format!("{path}/{subresource}")
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut object: Value = rest::get(&self.client, &path).await?;
            if let Some(expected) = expected
                && object["metadata"]["resourceVersion"].as_str() != Some(expected)
            {
                return Err(Error::Stale(path));
            }
            if !change(&mut object) {
                return Ok(object);
            }
            match rest::replace::<Value>(&self.client, &target, &object).await {
                Ok(written) => return Ok(written),
                Err(error)
                    if rest::is_conflict(&error)
                        && expected.is_none()
                        && attempt < MODIFY_ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub async fn patch(&self, path: &str, kind: PatchType, body: &Value) -> Result<Value> {
        Ok(rest::patch(&self.client, path, kind, body).await?)
    }

    pub async fn replace(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(rest::replace(&self.client, path, body).await?)
    }

    pub async fn delete_path(&self, path: &str, options: &Value) -> Result<()> {
        Ok(rest::delete(&self.client, path, options).await?)
    }

    /// Deletes one object; that it is gone already is success.
    pub async fn delete(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        options: DeleteOptions<'_>,
    ) -> Result<()> {
        match self
            .delete_path(&resource.path(namespace, name), &options.to_json())
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }
}

/// metav1.DeleteOptions, as far as controllers set it.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeleteOptions<'a> {
    pub uid: Option<&'a str>,
    pub resource_version: Option<&'a str>,
    pub grace_seconds: Option<i64>,
    pub propagation: Option<&'static str>,
}

impl DeleteOptions<'_> {
    pub fn to_json(self) -> Value {
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        let preconditions = [
            ("uid", self.uid),
            ("resourceVersion", self.resource_version),
        ];
        for (name, value) in preconditions {
            if let Some(value) = value {
                options["preconditions"][name] = value.into();
            }
        }
        if let Some(grace) = self.grace_seconds {
            options["gracePeriodSeconds"] = grace.into();
        }
        if let Some(propagation) = self.propagation {
            options["propagationPolicy"] = propagation.into();
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delete_options_carry_only_what_is_set() {
        assert_eq!(
            DeleteOptions::default().to_json(),
            json!({"apiVersion": "v1", "kind": "DeleteOptions"})
        );
        let options = DeleteOptions {
            uid: Some("u"),
            grace_seconds: Some(0),
            propagation: Some("Background"),
            ..DeleteOptions::default()
        };
        assert_eq!(
            options.to_json(),
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "u"},
                "gracePeriodSeconds": 0, "propagationPolicy": "Background"})
        );
    }
}
