//! `annotate`: sets and removes annotations.

use super::marks::{self, Manner, MarkFlags};
use crate::context::Context;
use crate::failure::Failure;

const MANNER: Manner = Manner {
    field: "annotations",
    noun: "annotation",
    manager: "kubectl-annotate",
};

/// Update the annotations on a resource
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:
  kubectl annotate pods foo description='my frontend'
  kubectl annotate --overwrite pods foo description='my frontend running nginx'
  kubectl annotate pods foo description-")]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: MarkFlags,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    marks::run(context, arguments.flags, &MANNER).await
}
