//! The container runtime: a private containerd unless one is given, images in and out of
//! it, and what it tells about pods.

pub(crate) mod containerd;
pub(crate) mod events;
pub(crate) mod import;
pub(crate) mod observe;
