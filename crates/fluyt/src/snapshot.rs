//! `fluyt snapshot` and `fluyt restore`: a store's objects to a file and back, which is also the way from the embedded store to
//! etcd and from etcd to the embedded store.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use fluyt_store::Store;

use crate::up::Layout;

/// Which store; exactly one of the two.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// The data directory of a stopped cluster, as given to `fluyt up` or to an API server alone
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// An etcd cluster, as in http://127.0.0.1:2379
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    etcd_servers: Vec<String>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  # Keep a copy of a stopped cluster
  fluyt snapshot --data-dir /var/lib/fluyt cluster.snapshot

  # Outgrow one machine: from the embedded store to etcd
  fluyt snapshot --data-dir /var/lib/fluyt cluster.snapshot
  fluyt restore --etcd-servers http://127.0.0.1:2379 cluster.snapshot")]
pub struct SnapshotOptions {
    #[command(flatten)]
    place: Place,
    /// The file to write
    file: PathBuf,
}

#[derive(Args)]
#[command(after_help = "Examples:
  # Into a new data directory
  fluyt restore --data-dir /var/lib/fluyt-copy cluster.snapshot

  # From etcd back to one machine
  fluyt snapshot --etcd-servers http://127.0.0.1:2379 cluster.snapshot
  fluyt restore --data-dir /var/lib/fluyt cluster.snapshot")]
pub struct RestoreOptions {
    #[command(flatten)]
    place: Place,
    /// The file to read
    file: PathBuf,
}

/// Whether a directory holds an embedded store itself.
fn is_store(directory: &Path) -> bool {
    let part = |name: &str| name.ends_with(".log") || name.ends_with(".checkpoint");
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .any(|name| part(&name))
}

/// The store that a data directory has: that of `up` in it, or itself for an API server alone.
fn store_in(directory: &Path) -> anyhow::Result<PathBuf> {
    let inside = Layout::store_of(directory);
    match (is_store(&inside), is_store(directory)) {
        (true, _) => Ok(inside),
        (false, true) => Ok(directory.to_owned()),
        (false, false) => bail!(
            "there is no store in --data-dir {}; give the directory that `fluyt up` or the API server was given",
            directory.display()
        ),
    }
}

/// Where a restored store goes: into the directory of a cluster, which a new one becomes, so that `up` goes on from there.
fn store_for(directory: &Path) -> anyhow::Result<PathBuf> {
    if is_store(directory) {
        return Ok(directory.to_owned());
    }
    let layout = Layout::new(directory)?;
    Ok(Layout::store_of(layout.root()))
}

async fn open(
    place: &Place,
    choose: fn(&Path) -> anyhow::Result<PathBuf>,
) -> anyhow::Result<Arc<dyn Store>> {
    if let Some(directory) = &place.data_dir {
        let directory = choose(directory)?;
        return fluyt_apiserver::open_embedded(&directory)
            .await
            .with_context(|| format!("cannot open the store in {}", directory.display()));
    }
    if place.etcd_servers.is_empty() {
        bail!("name a store: --data-dir DIR or --etcd-servers URL");
    }
    fluyt_apiserver::open_etcd(&place.etcd_servers).await
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    crate::logging::to_stderr();
    tokio::runtime::Runtime::new()?.block_on(work)?;
    Ok(ExitCode::SUCCESS)
}

pub fn snapshot(options: SnapshotOptions) -> anyhow::Result<ExitCode> {
    block_on(async move {
        let store = open(&options.place, store_in).await?;
        let summary = fluyt_store::snapshot_to_file(store.as_ref(), &options.file).await?;
        store.close().await;
        eprintln!(
            "{} objects of revision {} are in {}",
            summary.entries,
            summary.revision,
            options.file.display()
        );
        Ok(())
    })
}

pub fn restore(options: RestoreOptions) -> anyhow::Result<ExitCode> {
    block_on(async move {
        // Before anything is made: a file that cannot be restored must not leave an empty store behind.
        fluyt_store::verify_snapshot(&options.file)?;
        let store = open(&options.place, store_for).await?;
        let summary = fluyt_store::restore_from_file(store.as_ref(), &options.file).await?;
        store.close().await;
        eprintln!(
            "{} objects are restored; revisions go on after {}",
            summary.entries, summary.revision
        );
        Ok(())
    })
}
