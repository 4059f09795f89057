//! Namespaces, service accounts, and the secrets and config maps that carry their credentials.

use serde::Deserialize;

use super::{Meta, Object, nullable};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Namespace {
    pub metadata: Meta,
    #[serde(deserialize_with = "super::or_default")]
    pub spec: NamespaceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NamespaceSpec {
    #[serde(deserialize_with = "nullable")]
    pub finalizers: Vec<Box<str>>,
}

impl Object for Namespace {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServiceAccount {
    pub metadata: Meta,
}

impl Object for ServiceAccount {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// A secret of type kubernetes.io/service-account-token; of its data only which keys are filled.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TokenSecret {
    pub metadata: Meta,
    #[serde(deserialize_with = "super::or_default")]
    pub data: TokenData,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TokenData {
    #[serde(deserialize_with = "filled")]
    pub token: bool,
    #[serde(rename = "ca.crt")]
    pub ca: Box<str>,
    #[serde(deserialize_with = "filled")]
    pub namespace: bool,
}

fn filled<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = Option::<std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
    Ok(text.is_some_and(|text| !text.is_empty()))
}

impl Object for TokenSecret {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// A config map named kube-root-ca.crt.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RootCaConfigMap {
    pub metadata: Meta,
    #[serde(deserialize_with = "super::RawJson::deserialize")]
    pub data: super::RawJson,
}

impl Object for RootCaConfigMap {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}
