//! The pause image: one static program of a few kilobytes, built with the crate.

use crate::archive::{Config, build_from};

/// The name under which it is imported; the runtime's `sandbox_image`.
pub const PAUSE_IMAGE: &str = "fluyt.local/pause:1";

const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

/// An OCI archive with the pause image.
pub fn pause_archive() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(PROGRAM.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    let config = Config {
        name: PAUSE_IMAGE.to_owned(),
        entrypoint: vec!["/pause".to_owned()],
        user: "65535:65535".to_owned(),
        ..Config::default()
    };
    let mut archive = Vec::new();
    layer
        .append_data(&mut header, "pause", PROGRAM)
        .and_then(|()| layer.into_inner())
        .map_err(Into::into)
        .and_then(|layer| build_from(&layer, &config, &mut archive))
        .expect("writing to memory cannot fail");
    archive
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    #[test]
    fn the_program_waits_and_ends_when_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pause");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(PROGRAM).unwrap();
        file.set_permissions(PermissionsExt::from_mode(0o755))
            .unwrap();
        drop(file);
        let mut child = Command::new(&path).stdin(Stdio::null()).spawn().unwrap();
        // It has blocked its signals when it sleeps in rt_sigtimedwait; before that SIGTERM would kill it, which also shows below.
        let wchan = format!("/proc/{}/stat", child.id());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !std::fs::read_to_string(&wchan).unwrap().contains(") S ") {
            assert!(
                std::time::Instant::now() < deadline,
                "pause never went to sleep"
            );
            std::thread::yield_now();
        }
        assert!(child.try_wait().unwrap().is_none(), "pause ended by itself");
        Command::new("kill")
            .arg(child.id().to_string())
            .status()
            .unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    }

    #[test]
    fn the_archive_is_small() {
        assert!(
            pause_archive().len() < 64 * 1024,
            "{}",
            pause_archive().len()
        );
    }
}
