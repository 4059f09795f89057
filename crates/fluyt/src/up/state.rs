//! What a cluster's other commands must know: cluster.json in the data directory, and the lock that says it runs.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::{Layout, Options};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct State {
    pub nodes: usize,
    /// https://127.0.0.1:6443
    pub server: String,
    /// Network namespaces joined by a bridge; none when the node uses the machine's network.
    pub bridge: Option<String>,
    /// The first three bytes of the bridge's /24, as in "10.77.5".
    pub subnet: Option<String>,
    /// Where pods' addresses come from, with private nodes.
    pub pod_range: Option<String>,
    pub tag: String,
}

impl State {
    pub fn load(layout: &Layout) -> anyhow::Result<Self> {
        let path = layout.state();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("no cluster was started in {}", layout.root().display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    pub fn load_or_new(layout: &Layout, options: &Options) -> anyhow::Result<Self> {
        let mut state = match layout.state().exists() {
            true => Self::load(layout)?,
            false => Self::default(),
        };
        state.nodes = options.nodes;
        state.tag = layout.tag();
        Ok(state)
    }

    pub fn save(&self, layout: &Layout) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fluyt_pki::write_public(&layout.state(), &text)?;
        Ok(())
    }
}

/// Holds the data directory for this process; the file says for which.
pub fn lock(layout: &Layout) -> anyhow::Result<Flock<File>> {
    let path = layout.lock();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)?;
            write!(&mut *lock, "{}", std::process::id())?;
            Ok(lock)
        }
        Err((mut file, _)) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            bail!(
                "the data directory {} is in use by process {} (fluyt status, fluyt down)",
                layout.root().display(),
                pid.trim()
            );
        }
    }
}

/// The process that runs the cluster, if one does.
pub fn running(layout: &Layout) -> Option<i32> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(layout.lock())
        .ok()?;
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_) => None,
        Err(_) => text.trim().parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).unwrap();
        assert_eq!(running(&layout), None);
        let held = lock(&layout).unwrap();
        let error = lock(&layout).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        assert_eq!(running(&layout), Some(std::process::id().cast_signed()));
        drop(held);
        assert_eq!(running(&layout), None);
    }
}
