//! Changes of files as the kernel tells them, so that nothing polls.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use tokio::io::unix::AsyncFd;

struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Waits for changes at some paths.
pub(crate) struct Changes {
    descriptor: AsyncFd<Descriptor>,
}

impl Changes {
    #[allow(
        deprecated,
        reason = "its successor is an unsafe function; the descriptor is owned here for good"
    )]
    pub fn new() -> std::io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        Ok(Self {
            descriptor: AsyncFd::new(Descriptor(inotify))?,
        })
    }

    /// Watches the entries of a directory: created, written, moved, removed.
    pub fn watch_directory(&self, path: &Path) -> std::io::Result<()> {
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE;
        self.descriptor.get_ref().0.add_watch(path, flags)?;
        Ok(())
    }

    /// Watches one file for being written to or moved away.
    pub fn watch_file(&self, path: &Path) -> std::io::Result<()> {
        let flags =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
        self.descriptor.get_ref().0.add_watch(path, flags)?;
        Ok(())
    }

    /// Returns after the next change; takes all changes that are known. Cancel-safe.
    pub async fn next(&self) -> std::io::Result<()> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            let read =
                ready.try_io(|descriptor| descriptor.get_ref().0.read_events().map_err(Into::into));
            match read {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}
