//! `cordon`: a node that takes no more pods.

use super::nodes;
use crate::context::Context;
use crate::failure::Failure;

/// Mark node as unschedulable
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:\n  kubectl cordon foo")]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: nodes::NodeFlags,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let chosen = arguments.flags.nodes(context, "cordon").await?;
    nodes::cordon(context, &chosen, true, arguments.flags.dry_run()?).await
}
