//! The messages of the CRI v1 protocol, written by hand: only the field numbers and
//! names matter, so neither protoc nor a build script is needed.

mod container;
mod image;
mod sandbox;
mod stats;

pub use container::*;
pub use image::*;
pub use sandbox::*;
pub use stats::*;
