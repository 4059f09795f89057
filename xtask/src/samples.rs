//! The sample images, made from Debian's packages with our own `fluyt image build`: nothing is pulled from a registry.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::process::{output, output_in, root};
use crate::setup::apt;

/// An image: its name, the packages whose files it holds, files of ours, links, and the `image build` flags.
struct Sample {
    file: &'static str,
    tag: &'static str,
    packages: &'static [&'static str],
    prepare: fn(&Path) -> anyhow::Result<()>,
    flags: &'static [&'static str],
}

const SAMPLES: &[Sample] = &[
    Sample {
        file: "busybox.tar",
        tag: "busybox:1.35",
        packages: &["busybox-static"],
        prepare: busybox,
        flags: &["--cmd=/bin/sh", "--env=PATH=/bin:/usr/bin"],
    },
    Sample {
        file: "nginx.tar",
        tag: "nginx:1.22",
        packages: &[
            // The program; nginx-light only adds modules to it.
            "nginx",
            "nginx-common",
            "libc6",
            "libcrypt1",
            "libpcre2-8-0",
            "libssl3",
            "zlib1g",
        ],
        prepare: nginx,
        flags: &["--entrypoint=/usr/sbin/nginx", "--expose=80/tcp"],
    },
];

/// Builds what is not there yet and returns the archives.
pub fn run() -> anyhow::Result<Vec<PathBuf>> {
    let place = root().join("target/samples");
    std::fs::create_dir_all(&place)?;
    SAMPLES
        .iter()
        .map(|sample| {
            let archive = place.join(sample.file);
            if !archive.exists() {
                build(sample, &place, &archive)
                    .with_context(|| format!("cannot build the image {}", sample.tag))?;
            }
            Ok(archive)
        })
        .collect()
}

fn build(sample: &Sample, place: &Path, archive: &Path) -> anyhow::Result<()> {
    let work = place.join(format!("{}.work", sample.file));
    if work.exists() {
        std::fs::remove_dir_all(&work)?;
    }
    let rootfs = work.join("rootfs");
    std::fs::create_dir_all(&rootfs)?;
    download(&work, sample.packages)?;
    for entry in std::fs::read_dir(&work)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "deb") {
            let (deb, target) = (path.display().to_string(), rootfs.display().to_string());
            output("dpkg-deb", &["--extract", &deb, &target])?;
        }
    }
    for unneeded in ["usr/share/doc", "usr/share/man", "usr/share/lintian"] {
        let path = rootfs.join(unneeded);
        if path.exists() {
            std::fs::remove_dir_all(path)?;
        }
    }
    (sample.prepare)(&rootfs)?;
    let program = fluyt()?.display().to_string();
    let (tree, partial) = (rootfs.display().to_string(), work.join("image.tar"));
    let partial_text = partial.display().to_string();
    let mut words = vec![
        "image",
        "build",
        &tree,
        "--tag",
        sample.tag,
        "--output",
        &partial_text,
    ];
    words.extend(sample.flags);
    output(&program, &words)?;
    std::fs::rename(&partial, archive)?;
    std::fs::remove_dir_all(&work)?;
    Ok(())
}

/// `apt-get download` leaves the machine as it is; a machine that never updated its lists does so once.
fn download(work: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let mut words = vec!["-o", "APT::Sandbox::User=root", "download"];
    words.extend(packages);
    if output_in(work, "apt-get", &words).is_err() {
        apt(&["update"])?;
        output_in(work, "apt-get", &words)?;
    }
    Ok(())
}

/// The binary that was built last: release, or debug.
pub fn fluyt() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("FLUYT_BINARY") {
        return Ok(path.into());
    }
    let candidates = ["target/release/fluyt", "target/debug/fluyt"].map(|path| root().join(path));
    let built = candidates
        .into_iter()
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max();
    match built {
        Some((_, path)) => Ok(path),
        None => bail!("the binary is not built: make build"),
    }
}

fn busybox(rootfs: &Path) -> anyhow::Result<()> {
    let program = rootfs.join("bin/busybox").display().to_string();
    for applet in output(&program, &["--list"])?.lines() {
        let link = rootfs.join("bin").join(applet);
        if applet != "busybox" && !link.exists() {
            symlink("busybox", &link).with_context(|| format!("cannot link {applet}"))?;
        }
    }
    std::fs::create_dir_all(rootfs.join("tmp"))?;
    accounts(rootfs)
}

const NGINX_CONFIGURATION: &str = "\
user www-data;
worker_processes 1;
daemon off;
error_log /dev/stderr;
events {
    worker_connections 256;
}
http {
    include mime.types;
    access_log /var/log/nginx/access.log;
    server {
        listen 80;
        root /usr/share/nginx/html;
    }
}
";

fn nginx(rootfs: &Path) -> anyhow::Result<()> {
    for directory in ["var/log/nginx", "var/lib/nginx", "run", "tmp"] {
        std::fs::create_dir_all(rootfs.join(directory))?;
    }
    std::fs::write(rootfs.join("etc/nginx/nginx.conf"), NGINX_CONFIGURATION)?;
    accounts(rootfs)
}

fn accounts(rootfs: &Path) -> anyhow::Result<()> {
    let write = |name: &str, text: &str| -> anyhow::Result<()> {
        let path = rootfs.join("etc").join(name);
        std::fs::create_dir_all(rootfs.join("etc"))?;
        std::fs::write(path, text)?;
        Ok(())
    };
    write(
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
    )?;
    write("group", "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n")
}
