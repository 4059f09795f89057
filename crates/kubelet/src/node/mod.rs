//! This machine as a node of the cluster: what it has, that it lives, and how it is.

pub(crate) mod lease;
pub(crate) mod machine;
pub(crate) mod peers;
pub(crate) mod status;
