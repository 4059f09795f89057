//! The project's automation. Everything that CI or a person runs beyond cargo itself is a
//! function here, so that it is type-checked, tested and the same on every machine.

pub mod codegen;
pub mod demo;
pub mod edges;
pub mod process;
pub mod samples;
pub mod setup;
pub mod test;
pub mod tidy;
