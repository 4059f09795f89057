//! `label`: sets and removes labels.

use super::marks::{self, Manner, MarkFlags};
use crate::context::Context;
use crate::failure::Failure;

pub(crate) const MANNER: Manner = Manner {
    field: "labels",
    noun: "label",
    manager: "kubectl-label",
};

/// Update the labels on a resource
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl label pods foo unhealthy=true
  kubectl label --overwrite pods foo status=unhealthy
  kubectl label pods --all status=unhealthy
  kubectl label pods foo bar-")]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: MarkFlags,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    marks::run(context, arguments.flags, &MANNER).await
}
