//! Where things are under the data directory, and the short names that are derived from it. Nothing else spells these paths.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// /var/lib/fluyt for root, ~/.local/share/fluyt for others.
pub fn default_data_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/fluyt");
    }
    match std::env::var_os("HOME") {
        Some(home) => PathBuf::from(home).join(".local/share/fluyt"),
        None => PathBuf::from("fluyt-data"),
    }
}

#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directory (mode 0700) if it is not there. Refuses one that holds something else.
    pub fn new(data_dir: &Path) -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let fail = || format!("cannot use the data directory {}", data_dir.display());
        if !data_dir.exists() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(data_dir)
                .with_context(fail)?;
        }
        let layout = Self::existing(data_dir)?;
        let mut entries = std::fs::read_dir(&layout.root).with_context(fail)?;
        if !layout.marker().exists() {
            if entries.next().is_some() {
                bail!(
                    "the data directory {} is not empty and is not a cluster's; give another --data-dir",
                    data_dir.display()
                );
            }
            std::fs::write(layout.marker(), "made by fluyt up; fluyt down removes it\n")
                .with_context(fail)?;
        }
        Ok(layout)
    }

    /// For commands that look at a cluster which another process runs.
    pub fn existing(data_dir: &Path) -> anyhow::Result<Self> {
        let root = data_dir
            .canonicalize()
            .with_context(|| format!("there is no cluster in {}", data_dir.display()))?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Says that the directory is ours to remove.
    pub fn marker(&self) -> PathBuf {
        self.root.join(".fluyt")
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn state(&self) -> PathBuf {
        self.root.join("cluster.json")
    }

    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.root.join("admin.kubeconfig")
    }

    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }

    /// The API server's --data-dir, in the data directory of a cluster.
    pub fn store_of(root: &Path) -> PathBuf {
        root.join("store")
    }

    /// The kubelet's --root-dir.
    pub fn node(&self, name: &str) -> PathBuf {
        self.root.join("nodes").join(name)
    }

    pub fn node_names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.root.join("nodes"))
            .map(|entries| {
                entries
                    .flatten()
                    .filter_map(|entry| entry.file_name().into_string().ok())
                    .collect()
            })
            .unwrap_or_default();
        names.sort();
        names
    }

    /// Six hexadecimal digits that keep this cluster's bridges and namespaces apart from another's: FNV-1a of the path.
    pub fn tag(&self) -> String {
        use std::os::unix::ffi::OsStrExt;
        let hash = self
            .root
            .as_os_str()
            .as_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        format!("{:06x}", (hash ^ (hash >> 24)) & 0xff_ffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_other_things_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("thesis.txt"), "mine").unwrap();
        let error = Layout::new(directory.path()).unwrap_err().to_string();
        assert!(error.contains("not empty"), "{error}");
    }

    #[test]
    fn clusters_have_tags_of_their_own() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tag = |directory: &tempfile::TempDir| Layout::new(directory.path()).unwrap().tag();
        assert_ne!(tag(&one), tag(&two));
        assert_eq!(tag(&one), tag(&one), "and they stay");
    }
}
