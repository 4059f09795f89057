//! The contents of configMap, secret, downwardAPI and projected volumes.

use super::atomic::{File, Files};
use super::{common_user, fs_group, token};
use crate::context::Context;
use crate::objects::{Content, Key, Kind};
use fluyt_kubelet_core::{fields, model};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, KeyToPath, Pod,
    ProjectedVolumeSource, SecretVolumeSource, ServiceAccountTokenProjection,
};
use std::sync::Arc;
use tokio::sync::Notify;

const DEFAULT_MODE: i32 = 0o644;

/// Files and what is to be known about them.
#[derive(Default)]
pub(super) struct Payload {
    pub files: Files,
    /// They must not reach the disk.
    pub secret: bool,
    pub refresh_at: Option<Timestamp>,
}

/// Collects contents for one pod.
pub(super) struct Gather<'a> {
    pub context: &'a Arc<Context>,
    pub pod: &'a Arc<Pod>,
    pub pod_ips: &'a [String],
    pub wake: &'a Arc<Notify>,
}

impl Gather<'_> {
    pub async fn config_map(&self, source: &ConfigMapVolumeSource) -> Result<Payload, String> {
        let mut payload = Payload::default();
        let content = self
            .object(Kind::ConfigMap, &source.name, source.optional)
            .await?;
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        add_keys(
            &mut payload.files,
            content,
            source.items.as_deref(),
            mode,
            source.optional,
            "configmap",
        )?;
        Ok(payload)
    }

    pub async fn secret(&self, source: &SecretVolumeSource) -> Result<Payload, String> {
        let mut payload = Payload {
            secret: true,
            ..Payload::default()
        };
        let name = source.secret_name.as_deref().unwrap_or_default();
        let content = self.object(Kind::Secret, name, source.optional).await?;
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        add_keys(
            &mut payload.files,
            content,
            source.items.as_deref(),
            mode,
            source.optional,
            "secret",
        )?;
        Ok(payload)
    }

    pub fn downward_api(&self, source: &DownwardAPIVolumeSource) -> Result<Payload, String> {
        let mut payload = Payload::default();
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        self.add_fields(&mut payload.files, source.items.as_deref(), mode)?;
        Ok(payload)
    }

    pub async fn projected(&self, source: &ProjectedVolumeSource) -> Result<Payload, String> {
        let mut payload = Payload {
            secret: true,
            ..Payload::default()
        };
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        for projection in source.sources.iter().flatten() {
            if let Some(source) = &projection.config_map {
                let content = self
                    .object(Kind::ConfigMap, &source.name, source.optional)
                    .await?;
                add_keys(
                    &mut payload.files,
                    content,
                    source.items.as_deref(),
                    mode,
                    source.optional,
                    "configmap",
                )?;
            } else if let Some(source) = &projection.secret {
                let content = self
                    .object(Kind::Secret, &source.name, source.optional)
                    .await?;
                add_keys(
                    &mut payload.files,
                    content,
                    source.items.as_deref(),
                    mode,
                    source.optional,
                    "secret",
                )?;
            } else if let Some(source) = &projection.downward_api {
                self.add_fields(&mut payload.files, source.items.as_deref(), mode)?;
            } else if let Some(source) = &projection.service_account_token {
                self.add_token(&mut payload, source, mode).await?;
            } else {
                return Err("this kind of projection is not supported by this kubelet".to_owned());
            }
        }
        Ok(payload)
    }

    /// An object's content; `None` only if it is optional and does not exist.
    async fn object(
        &self,
        kind: Kind,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<Content>, String> {
        let key = Key {
            kind,
            namespace: model::namespace(self.pod).to_owned(),
            name: name.to_owned(),
        };
        let found = self
            .context
            .objects
            .get(&key, model::uid(self.pod), self.wake)
            .await?;
        if found.is_none() && optional != Some(true) {
            let noun = if kind == Kind::Secret {
                "secret"
            } else {
                "configmap"
            };
            return Err(format!("{noun} {name:?} not found"));
        }
        Ok(found)
    }

    fn add_fields(
        &self,
        files: &mut Files,
        items: Option<&[DownwardAPIVolumeFile]>,
        mode: i32,
    ) -> Result<(), String> {
        let facts = self.context.facts(self.pod_ips);
        for item in items.unwrap_or_default() {
            let text = if let Some(reference) = &item.field_ref {
                fields::field(self.pod, &reference.field_path, &facts)
            } else if let Some(selector) = &item.resource_field_ref {
                let name = selector.container_name.as_deref().unwrap_or_default();
                match model::find_container(self.pod, name) {
                    Some((_, container)) => fields::resource(&container, selector, &facts),
                    None => Err(fields::FieldError::Container(name.to_owned())),
                }
            } else {
                continue;
            };
            let data = text.map_err(|error| error.to_string())?.into_bytes();
            files.insert(item.path.clone(), file(data, item.mode.unwrap_or(mode)));
        }
        Ok(())
    }

    async fn add_token(
        &self,
        payload: &mut Payload,
        source: &ServiceAccountTokenProjection,
        mode: i32,
    ) -> Result<(), String> {
        let token = token::get(self.context, self.pod, source).await?;
        // A token is its user's alone, unless the volume has a group.
        let user = common_user(self.pod);
        let mode = match (fs_group(self.pod), user) {
            (Some(_), _) | (None, Some(_)) => 0o600,
            (None, None) => mode,
        };
        let mut file = file(token.text.into_bytes(), mode);
        file.user = user;
        payload.files.insert(source.path.clone(), file);
        payload.refresh_at = [payload.refresh_at, Some(token.refresh_at)]
            .into_iter()
            .flatten()
            .min();
        Ok(())
    }
}

fn file(data: Vec<u8>, mode: i32) -> File {
    File {
        data,
        mode: u32::try_from(mode).unwrap_or(0o644) & 0o7777,
        user: None,
    }
}

/// All keys, or those that `items` names.
fn add_keys(
    files: &mut Files,
    content: Option<Content>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: Option<bool>,
    noun: &str,
) -> Result<(), String> {
    let Some(content) = content else {
        return Ok(());
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        files.extend(
            content
                .iter()
                .map(|(key, data)| (key.clone(), file(data.clone(), mode))),
        );
        return Ok(());
    };
    for item in items {
        match content.get(&item.key) {
            Some(data) => {
                files.insert(
                    item.path.clone(),
                    file(data.clone(), item.mode.unwrap_or(mode)),
                );
            }
            None if optional == Some(true) => {}
            None => {
                return Err(format!(
                    "{noun} references non-existent {noun} key: {}",
                    item.key
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_choose_and_rename() {
        let content: Content = Arc::new(
            [
                ("a".to_owned(), b"1".to_vec()),
                ("b".to_owned(), b"2".to_vec()),
            ]
            .into(),
        );
        let item = |key: &str, path: &str| KeyToPath {
            key: key.into(),
            path: path.into(),
            mode: Some(0o600),
        };
        let mut files = Files::new();
        add_keys(
            &mut files,
            Some(content.clone()),
            Some(&[item("b", "x/y")]),
            0o644,
            None,
            "secret",
        )
        .unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(
            (files["x/y"].data.as_slice(), files["x/y"].mode),
            (b"2".as_slice(), 0o600)
        );
        let missing = add_keys(
            &mut files,
            Some(content),
            Some(&[item("c", "z")]),
            0o644,
            None,
            "secret",
        );
        assert_eq!(
            missing.unwrap_err(),
            "secret references non-existent secret key: c"
        );
    }
}
