//! `uncordon`: a node that takes pods again.

use super::nodes;
use crate::context::Context;
use crate::failure::Failure;

/// Mark node as schedulable
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:\n  kubectl uncordon foo")]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: nodes::NodeFlags,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let chosen = arguments.flags.nodes(context, "uncordon").await?;
    nodes::cordon(context, &chosen, false, arguments.flags.dry_run()?).await
}
