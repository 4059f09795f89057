//! What one needs to write a plugin: see docs/scheduler-plugins.md and examples/own_plugin.rs.

pub use fluyt_scheduler_core::cluster::NodeId;
pub use fluyt_scheduler_core::events::{Event, Waiting};
pub use fluyt_scheduler_core::objects::Text;
pub use fluyt_scheduler_core::plugins::{
    Context, MAX_SCORE, Plugin, Range, Reach, Reason, Rejection, default_normalize,
};
pub use fluyt_scheduler_core::points::{Point, Points};
