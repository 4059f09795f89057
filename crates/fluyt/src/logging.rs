//! Logs: to standard error for a component, to a file of bounded size for `up`.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

/// Beyond this a log file becomes FILE.1, and the one before that goes.
const MAX_LOG_BYTES: u64 = 10 << 20;

/// The client library reports each failed connection; that the server is away is said once, by `fluyt_client::availability`.
const DEFAULT: &str = "info,kube_client=off";

/// RUST_LOG wins over the default level.
fn filter() -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT))
}

pub fn to_stderr() {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}

pub fn to_file(path: &Path) -> std::io::Result<()> {
    let file = Bounded::open(path)?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init();
    Ok(())
}

/// A log file that is renamed away when it has grown to its bound.
struct Bounded {
    path: PathBuf,
    file: File,
    bytes: u64,
    limit: u64,
}

impl Bounded {
    fn open(path: &Path) -> std::io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            bytes: file.metadata()?.len(),
            path: path.to_owned(),
            file,
            limit: MAX_LOG_BYTES,
        })
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        std::fs::rename(&self.path, old)?;
        self.file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes + bytes.len() as u64 > self.limit {
            self.rotate()?;
        }
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log/fluyt.log");
        let mut log = Bounded::open(&path).unwrap();
        log.limit = 100;
        for _ in 0..50 {
            log.write_all(&[b'x'; 30]).unwrap();
        }
        let total: u64 = std::fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(total <= 200, "{total} bytes are kept");
    }
}
