//! OCI images without a registry or a build daemon: a directory becomes an archive that any container runtime imports. The pause
//! image, which every pod needs, is inside the binary.
//!
//! Must not know: Kubernetes, or how a runtime is reached.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod archive;
mod name;
mod pause;

pub use archive::{Config, ImageError, build, build_from};
pub use name::{NameError, normalize};
pub use pause::{PAUSE_IMAGE, pause_archive};
