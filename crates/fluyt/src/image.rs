//! `fluyt image`: make an image from a directory, bring an archive into every node.

use std::collections::BTreeMap;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use fluyt_image::Config;

use crate::up::{Layout, State, default_data_dir};

#[derive(Args)]
#[command(after_help = "Examples:
  # A directory becomes an image, and every node of the cluster gets it
  fluyt image build rootfs --tag app:1 --cmd /bin/app --output app.tar
  fluyt image import app.tar")]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an OCI archive from a directory
    Build(Build),
    /// Bring an OCI or docker archive into all nodes of a cluster on this machine
    Import(Import),
}

#[derive(Args)]
#[command(after_help = "Examples:
  # A shell for every occasion, from Debian's busybox-static
  mkdir -p rootfs/bin && cp /bin/busybox rootfs/bin/sh
  fluyt image build rootfs --tag busybox:1 --cmd /bin/sh --output busybox.tar")]
struct Build {
    /// The directory that becomes the image's file system
    rootfs: PathBuf,
    /// The image's name
    #[arg(long, short, value_name = "NAME[:TAG]")]
    tag: String,
    /// The archive to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The program that always runs; repeat for its arguments
    #[arg(long, value_name = "WORD")]
    entrypoint: Vec<String>,
    /// The default command; repeat for its arguments
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    cmd: Vec<String>,
    /// Environment
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The directory that the program starts in
    #[arg(long, value_name = "DIR", default_value = "")]
    workdir: String,
    /// The user that the program runs as
    #[arg(long, value_name = "USER[:GROUP]", default_value = "")]
    user: String,
    /// Ports that the image says it serves
    #[arg(long, value_name = "PORT/PROTOCOL")]
    expose: Vec<String>,
    /// Labels
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  fluyt image import nginx.tar
  fluyt image import nginx.tar busybox.tar --data-dir /tmp/test
  fluyt image import nginx.tar --root-dir /var/lib/kubelet")]
struct Import {
    /// The archives
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The data directory that was given to `fluyt up`
    #[arg(long, value_name = "DIR", default_value_os_t = default_data_dir())]
    data_dir: PathBuf,
    /// The --root-dir of a kubelet that was started alone; may be repeated, and replaces --data-dir
    #[arg(long, value_name = "DIR")]
    root_dir: Vec<PathBuf>,
}

const RUNTIME_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}

pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    match options.command {
        Command::Build(build) => make(build)?,
        Command::Import(import) => bring(&import)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn make(build: Build) -> anyhow::Result<()> {
    let config = Config {
        name: build.tag,
        entrypoint: build.entrypoint,
        command: build.cmd,
        environment: build.env,
        working_directory: build.workdir,
        user: build.user,
        exposed_ports: build.expose,
        labels: build.label.into_iter().collect::<BTreeMap<_, _>>(),
    };
    let file = std::fs::File::create(&build.output)
        .with_context(|| format!("cannot write {}", build.output.display()))?;
    fluyt_image::build(&build.rootfs, &config, BufWriter::new(file))?;
    let size = build.output.metadata()?.len();
    eprintln!(
        "{} is in {} ({:.1} MB)",
        fluyt_image::normalize(&config.name)?,
        build.output.display(),
        size as f64 / 1e6
    );
    Ok(())
}

fn bring(import: &Import) -> anyhow::Result<()> {
    let roots = match import.root_dir.is_empty() {
        true => cluster_roots(&import.data_dir)?,
        false => import.root_dir.clone(),
    };
    for file in &import.files {
        if !file.exists() {
            bail!("the archive {} does not exist", file.display());
        }
        for root in &roots {
            wait_for_runtime(root);
            fluyt_kubelet::import_image(root, file).with_context(|| {
                format!("cannot import {} into {}", file.display(), root.display())
            })?;
            eprintln!("{} is in {}", file.display(), root.display());
        }
    }
    Ok(())
}

/// A node that was started a moment ago may still be starting its container runtime.
fn wait_for_runtime(root: &std::path::Path) {
    let deadline = std::time::Instant::now() + RUNTIME_LIMIT;
    while fluyt_kubelet::runtime_of(root).is_err() && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn cluster_roots(data_dir: &std::path::Path) -> anyhow::Result<Vec<PathBuf>> {
    let layout = Layout::existing(data_dir)?;
    State::load(&layout)?;
    let roots: Vec<PathBuf> = layout
        .node_names()
        .iter()
        .map(|name| layout.node(name))
        .collect();
    if roots.is_empty() {
        bail!("the cluster in {} has no nodes", layout.root().display());
    }
    Ok(roots)
}
