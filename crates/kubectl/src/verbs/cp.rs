//! `cp`: files to and from containers, through a tar that runs in the container.

use crate::context::Context;
use crate::failure::Failure;
use crate::pods;
use crate::selection::Reference;
use crate::streams;
use std::path::{Component, Path, PathBuf};
use tokio::sync::mpsc;

/// Copy files and directories to and from containers
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl cp /tmp/foo <some-pod>:/tmp/bar -c <specific-container>
  kubectl cp <some-namespace>/<some-pod>:/tmp/foo /tmp/bar")]
pub(crate) struct Arguments {
    words: Vec<String>,
    /// Container name
    #[arg(long, short = 'c')]
    container: Option<String>,
    /// The copied file/directory's ownership and permissions will not be preserved in the container
    #[arg(long)]
    no_preserve: bool,
}

/// One end of a copy.
#[derive(Debug, PartialEq)]
enum End {
    Local(String),
    Remote {
        namespace: Option<String>,
        pod: String,
        path: String,
    },
}

impl End {
    fn parse(word: &str) -> Result<End, Failure> {
        let Some((place, path)) = word.split_once(':') else {
            return Ok(End::Local(word.to_owned()));
        };
        let (namespace, pod) = match place.split_once('/') {
            Some((namespace, pod)) => (Some(namespace.to_owned()), pod),
            None => (None, place),
        };
        if pod.is_empty() || path.is_empty() || pod.contains('/') {
            return Err(Failure::message("filespec must match the canonical format: [[namespace/]pod:]file/path"));
        }
        Ok(End::Remote {
            namespace,
            pod: pod.to_owned(),
            path: path.to_owned(),
        })
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let [from, to] = arguments.words.as_slice() else {
        return Err(Failure::usage("cp", "source and destination are required"));
    };
    match (End::parse(from)?, End::parse(to)?) {
        (End::Remote { .. }, End::Remote { .. }) => {
            Err(Failure::message("one of src or dest must be a local file specification"))
        }
        (End::Local(_), End::Local(_)) => Err(Failure::message(
            "one of src or dest must be a remote file specification",
        )),
        (End::Local(from), End::Remote { namespace, pod, path }) => {
            let (pod, container) = target(context, &arguments, namespace, &pod).await?;
            to_pod(context, &arguments, &pod, &container, &from, &path).await
        }
        (End::Remote { namespace, pod, path }, End::Local(to)) => {
            let (pod, container) = target(context, &arguments, namespace, &pod).await?;
            from_pod(context, &pod, &container, &path, &to).await
        }
    }
}

async fn target(
    context: &Context,
    arguments: &Arguments,
    namespace: Option<String>,
    pod: &str,
) -> Result<(Reference, String), Failure> {
    let mapping = context.mapper().well_known("pods");
    let reference = Reference {
        mapping,
        namespace: Some(namespace.map_or_else(|| context.namespace(), Ok)?),
        name: pod.to_owned(),
        value: serde_json::Value::Null,
        source: None,
    };
    let pod = crate::selection::fetch_one(context, reference).await?;
    let container = pods::container(&pod.value, arguments.container.as_deref(), false)?;
    Ok((pod, container))
}

async fn to_pod(
    context: &Context,
    arguments: &Arguments,
    pod: &Reference,
    container: &str,
    from: &str,
    to: &str,
) -> Result<(), Failure> {
    if !Path::new(from).exists() {
        return Err(Failure::message(format!("{from} doesn't exist in local filesystem")));
    }
    let target = Path::new(to);
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // A destination that is a directory takes the source under its own name.
    let own_name = Path::new(from).file_name().unwrap_or_default().to_os_string();
    let (directory, name) = if to.ends_with('/') || is_remote_directory(context, pod, container, to).await {
        (target, own_name)
    } else {
        (directory, target.file_name().unwrap_or_default().to_os_string())
    };
    let mut command = vec!["tar".to_owned(), "-xmf".to_owned(), "-".to_owned()];
    if arguments.no_preserve {
        command[1] = "--no-same-permissions".to_owned();
        command.insert(2, "--no-same-owner".to_owned());
        command.insert(3, "-xmf".to_owned());
    }
    command.extend(["-C".to_owned(), directory.display().to_string()]);
    let (sender, receiver) = mpsc::channel(16);
    let source = PathBuf::from(from);
    let packing = std::thread::spawn(move || pack(&source, Path::new(&name), sender));
    let call = super::exec::call(&pod.path(), container, &command, true, false);
    streams::pipe(context.rest().await?, &call, Some(receiver), |_| Ok(())).await?;
    match packing.join() {
        Ok(Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::message(format!("reading {from}: {error}")))
        }
        _ => Ok(()),
    }
}

async fn is_remote_directory(context: &Context, pod: &Reference, container: &str, path: &str) -> bool {
    let command = ["test", "-d", path].map(str::to_owned);
    let call = super::exec::call(&pod.path(), container, &command, false, false);
    match context.rest().await {
        Ok(rest) => streams::pipe(rest, &call, None, |_| Ok(())).await.is_ok(),
        Err(_) => false,
    }
}

/// Blocks of the archive into a channel.
struct Sink(mpsc::Sender<Vec<u8>>);

impl std::io::Write for Sink {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0
            .blocking_send(data.to_vec())
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn pack(source: &Path, name: &Path, sender: mpsc::Sender<Vec<u8>>) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(std::io::BufWriter::new(Sink(sender)));
    archive.follow_symlinks(false);
    if source.is_dir() {
        archive.append_dir_all(name, source)?;
    } else {
        archive.append_path_with_name(source, name)?;
    }
    archive.into_inner()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    Ok(())
}

async fn from_pod(
    context: &Context,
    pod: &Reference,
    container: &str,
    from: &str,
    to: &str,
) -> Result<(), Failure> {
    let command = ["tar", "cf", "-", from].map(str::to_owned);
    let call = super::exec::call(&pod.path(), container, &command, false, false);
    // The archive is held on disk, so that a broken transfer leaves nothing half unpacked.
    let mut spool = Spool::new()?;
    streams::pipe(context.rest().await?, &call, None, |data| {
        std::io::Write::write_all(&mut spool.file, data)
    })
    .await?;
    unpack(spool, from, to)
}

struct Spool {
    file: std::fs::File,
    path: PathBuf,
}

impl Spool {
    fn new() -> Result<Spool, Failure> {
        let name = format!("kubectl-cp-{}-{}", std::process::id(), jiff::Timestamp::now().as_nanosecond());
        let path = std::env::temp_dir().join(name);
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(&path)?;
        Ok(Spool { file, path })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Puts `from` of the archive at `to`; nothing may lead out of there.
fn unpack(mut spool: Spool, from: &str, to: &str) -> Result<(), Failure> {
    use std::io::Seek;
    spool.file.rewind()?;
    let prefix = PathBuf::from(from.trim_start_matches('/').trim_end_matches('/'));
    let target = Path::new(to);
    let target = if target.is_dir() {
        target.join(prefix.file_name().unwrap_or_default())
    } else {
        target.to_path_buf()
    };
    let mut archive = tar::Archive::new(&spool.file);
    let mut found = false;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let relative: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let Ok(inside) = relative.strip_prefix(&prefix) else {
            continue;
        };
        if path.components().any(|part| part == Component::ParentDir) {
            continue;
        }
        let destination = if inside.as_os_str().is_empty() { target.clone() } else { target.join(inside) };
        if let Some(parent) = destination.parent() {
            std::fs::create_dir_all(parent)?;
        }
        match entry.header().entry_type() {
            tar::EntryType::Directory => std::fs::create_dir_all(&destination)?,
            kind if kind.is_file() => {
                let mut file = std::fs::File::create(&destination)?;
                std::io::copy(&mut entry, &mut file)?;
            }
            _ => crate::output::error_line(format!(
                "warning: skipping symlink or special file: {}",
                destination.display()
            )),
        }
        found = true;
    }
    if found {
        return Ok(());
    }
    Err(Failure::message(format!("{from} no such file or directory")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        assert_eq!(End::parse("/tmp/a").unwrap(), End::Local("/tmp/a".to_owned()));
        let remote = |namespace: Option<&str>| End::Remote {
            namespace: namespace.map(str::to_owned),
            pod: "p".to_owned(),
            path: "/a".to_owned(),
        };
        assert_eq!(End::parse("p:/a").unwrap(), remote(None));
        assert_eq!(End::parse("n/p:/a").unwrap(), remote(Some("n")));
        assert!(End::parse("p:").is_err());
    }

    #[test]
    fn an_archive_unpacks_only_below_its_target() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::new().unwrap();
        let mut archive = tar::Builder::new(&mut spool.file);
        for (name, text) in [("etc/a/x", "1"), ("etc/a/y/z", "2"), ("other", "3")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        archive.finish().unwrap();
        drop(archive);
        let target = directory.path().join("copy");
        unpack(spool, "/etc/a", target.to_str().unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(target.join("x")).unwrap(), "1");
        assert_eq!(std::fs::read_to_string(target.join("y/z")).unwrap(), "2");
        assert!(!target.join("other").exists());
    }
}
