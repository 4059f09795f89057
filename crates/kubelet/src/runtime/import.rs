//! Images from files. containerd's own client does the work: the CRI has no call for it.

use anyhow::{Context, bail};
use std::path::Path;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Imports an archive (OCI or docker) into the runtime behind `socket`; answers with the
/// names of the images in it.
pub async fn import(socket: &Path, archive: &Path) -> anyhow::Result<Vec<String>> {
    if !archive.is_file() {
        bail!("{}: no such file", archive.display());
    }
    let output = ctr(socket)
        .arg(archive)
        .output()
        .await
        .context("cannot run ctr, which comes with containerd")?;
    answer(&archive.display().to_string(), &output)
}

/// As [`import`], for the private runtime of a kubelet with that root directory; blocks.
pub fn import_image(root: &Path, archive: &Path) -> anyhow::Result<Vec<String>> {
    let socket = crate::runtime::containerd::socket_of(root)?;
    let output = std::process::Command::new("ctr")
        .arg("--address")
        .arg(&socket)
        .args(ARGUMENTS)
        .arg(archive)
        .output()
        .context("cannot run ctr, which comes with containerd")?;
    answer(&archive.display().to_string(), &output)
}

/// As [`import`], from memory.
pub async fn import_bytes(
    socket: &Path,
    name: &str,
    archive: &[u8],
) -> anyhow::Result<Vec<String>> {
    let mut child = ctr(socket)
        .arg("-")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .context("cannot run ctr, which comes with containerd")?;
    let mut input = child.stdin.take().context("ctr has no standard input")?;
    // What ctr has to say comes at its end, so writing first cannot block it for good.
    let written = input.write_all(archive).await;
    drop(input);
    let output = child.wait_with_output().await.context("ctr")?;
    let imported = answer(name, &output)?;
    written.with_context(|| format!("image {name}"))?;
    Ok(imported)
}

const ARGUMENTS: [&str; 5] = [
    "--namespace",
    "k8s.io",
    "images",
    "import",
    "--digests=false",
];

fn ctr(socket: &Path) -> Command {
    let mut command = Command::new("ctr");
    command
        .arg("--address")
        .arg(socket)
        .args(ARGUMENTS)
        .kill_on_drop(true);
    command
}

fn answer(what: &str, output: &std::process::Output) -> anyhow::Result<Vec<String>> {
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("cannot import {what}: {}", error.trim());
    }
    Ok(names(&String::from_utf8_lossy(&output.stdout)))
}

/// The names in lines such as "unpacking docker.io/library/nginx:1 (sha256:...)...done".
fn names(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("unpacking "))
        .filter_map(|rest| rest.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_read_from_the_output() {
        let text = "unpacking docker.io/library/a:1 (sha256:12)...done\nunpacking b/c:2 (sha256:3)...done\n";
        assert_eq!(super::names(text), ["docker.io/library/a:1", "b/c:2"]);
    }
}
