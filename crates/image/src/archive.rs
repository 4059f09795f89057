//! One directory or one tar layer → an OCI archive (image-spec 1.0 layout in a tar), deterministic: equal input, equal bytes.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::name::{NameError, normalize};

/// What a runtime is told about the image. Empty fields are left out.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Normalised when it is written.
    pub name: String,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    /// `NAME=value`.
    pub environment: Vec<String>,
    pub working_directory: String,
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// `80/tcp`.
    pub exposed_ports: Vec<String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("{path}: {source}")]
    Path {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("writing the archive: {0}")]
    Write(#[from] std::io::Error),
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Writes the image whose one layer is the tree under `rootfs`.
pub fn build(rootfs: &Path, config: &Config, out: impl Write) -> Result<(), ImageError> {
    let mut layer = tar::Builder::new(Vec::new());
    layer.follow_symlinks(false);
    append_tree(&mut layer, rootfs, Path::new(""))?;
    build_from(&layer.into_inner()?, config, out)
}

/// As [`build`], with the layer given as an uncompressed tar.
pub fn build_from(layer: &[u8], config: &Config, out: impl Write) -> Result<(), ImageError> {
    let name = normalize(&config.name)?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(layer)?;
    let compressed = gzip.finish()?;
    let image = image_config(config, &digest(layer)).to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", image.as_bytes()),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &compressed)],
    })
    .to_string();
    let mut entry = descriptor(
        "application/vnd.oci.image.manifest.v1+json",
        manifest.as_bytes(),
    );
    let tag = name.rsplit(':').next().unwrap_or("latest");
    entry["annotations"] = json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": tag,
    });
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let mut archive = tar::Builder::new(out);
    append_file(
        &mut archive,
        "oci-layout",
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    append_file(&mut archive, "index.json", index.as_bytes())?;
    for blob in [manifest.as_bytes(), image.as_bytes(), &compressed] {
        append_file(&mut archive, &format!("blobs/sha256/{}", hex(blob)), blob)?;
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

fn image_config(config: &Config, diff_id: &str) -> Value {
    let mut run = serde_json::Map::new();
    let mut set = |key: &str, value: Value, present: bool| {
        if present {
            run.insert(key.to_owned(), value);
        }
    };
    let list = |items: &Vec<String>| json!(items);
    set(
        "Entrypoint",
        list(&config.entrypoint),
        !config.entrypoint.is_empty(),
    );
    set("Cmd", list(&config.command), !config.command.is_empty());
    set(
        "Env",
        list(&config.environment),
        !config.environment.is_empty(),
    );
    set(
        "WorkingDir",
        json!(config.working_directory),
        !config.working_directory.is_empty(),
    );
    set("User", json!(config.user), !config.user.is_empty());
    let ports: BTreeMap<_, _> = config
        .exposed_ports
        .iter()
        .map(|port| (port, json!({})))
        .collect();
    set("ExposedPorts", json!(ports), !ports.is_empty());
    set("Labels", json!(config.labels), !config.labels.is_empty());
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created_by": "fluyt image build"}],
    })
}

/// The machine's architecture as Go, and so OCI, spells it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

fn append_file(
    archive: &mut tar::Builder<impl Write>,
    path: &str,
    bytes: &[u8],
) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, path, bytes)
}

/// Entries in name order, owned by root, with the epoch's time: what made the tree does not show in the image.
fn append_tree(
    layer: &mut tar::Builder<Vec<u8>>,
    root: &Path,
    relative: &Path,
) -> Result<(), ImageError> {
    let directory = root.join(relative);
    let fail = |path: &Path, source| ImageError::Path {
        path: path.to_owned(),
        source,
    };
    let mut names = std::fs::read_dir(&directory)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(|source| fail(&directory, source))?;
    names.sort();
    for name in names {
        let path = relative.join(&name);
        append_entry(layer, root, &path).map_err(|source| fail(&root.join(&path), source))?;
        let metadata = root.join(&path).symlink_metadata();
        if metadata
            .map_err(|source| fail(&root.join(&path), source))?
            .is_dir()
        {
            append_tree(layer, root, &path)?;
        }
    }
    Ok(())
}

fn append_entry(
    layer: &mut tar::Builder<Vec<u8>>,
    root: &Path,
    relative: &Path,
) -> std::io::Result<()> {
    let path = root.join(relative);
    let metadata = path.symlink_metadata()?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata_in_mode(&metadata, tar::HeaderMode::Deterministic);
    header.set_mtime(0);
    // Deterministic mode forgets set-user-id, sticky and the group's rights, which programs and /tmp rely on.
    header.set_mode(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777);
    if metadata.is_symlink() {
        header.set_size(0);
        return layer.append_link(&mut header, relative, std::fs::read_link(&path)?);
    }
    if metadata.is_dir() {
        header.set_size(0);
        return layer.append_data(&mut header, relative, std::io::empty());
    }
    if !metadata.is_file() {
        // Sockets and devices do not belong into an image made from a tree.
        return Ok(());
    }
    layer.append_data(&mut header, relative, std::fs::File::open(&path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("bin")).unwrap();
        std::fs::write(root.path().join("bin/sh"), "#!").unwrap();
        std::os::unix::fs::symlink("sh", root.path().join("bin/ash")).unwrap();
        root
    }

    fn archive() -> Vec<u8> {
        let config = Config {
            name: "demo:1".into(),
            command: vec!["/bin/sh".into()],
            ..Config::default()
        };
        let mut out = Vec::new();
        build(tree().path(), &config, &mut out).unwrap();
        out
    }

    #[test]
    fn equal_trees_make_equal_archives() {
        assert_eq!(archive(), archive());
    }

    #[test]
    fn every_descriptor_points_at_a_blob_with_that_digest() {
        let bytes = archive();
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(path, content);
        }
        let blob = |descriptor: &Value| {
            let name = descriptor["digest"].as_str().unwrap().replace(':', "/");
            let content = &files[&format!("blobs/{name}")];
            assert_eq!(descriptor["digest"], digest(content));
            assert_eq!(descriptor["size"], content.len());
            content.clone()
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        assert_eq!(
            index["manifests"][0]["annotations"]["io.containerd.image.name"],
            "docker.io/library/demo:1"
        );
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(config["config"]["Cmd"], json!(["/bin/sh"]));
        let layer = blob(&manifest["layers"][0]);
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(layer.as_slice())
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&plain));
        let names: Vec<_> = tar::Archive::new(plain.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["bin", "bin/ash", "bin/sh"]);
    }

    #[test]
    fn a_missing_tree_is_named() {
        let config = Config {
            name: "x".into(),
            ..Config::default()
        };
        let error = build(Path::new("/nonexistent/rootfs"), &config, Vec::new()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/rootfs"));
    }
}
