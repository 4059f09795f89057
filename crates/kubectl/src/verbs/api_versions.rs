//! `api-versions`: the groups and versions that the server serves.

use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::rest::Call;
use serde_json::Value;

/// Print the supported API versions on the server, in the form of "group/version"
#[derive(clap::Parser, Debug)]
pub(crate) struct Arguments {}

pub(crate) async fn run(context: &Context, _: Arguments) -> Result<(), Failure> {
    let rest = context.rest().await?;
    let core = rest.json(&Call::get("/api")).await?;
    let groups = rest.json(&Call::get("/apis")).await?;
    let mut versions: Vec<String> = core
        .list("versions")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    for group in groups.list("groups") {
        for version in group.list("versions") {
            versions.push(version.text("groupVersion").to_owned());
        }
    }
    versions.sort();
    for version in versions {
        output::line(version);
    }
    Ok(())
}
