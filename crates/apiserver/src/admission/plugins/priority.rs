//! Resolves a pod's priority class to its number, and keeps default classes to one.

use async_trait::async_trait;
use fluyt_api::status::Status;
use fluyt_machinery::admission;
use serde_json::Value;

use crate::admission::{Attributes, Operation, Plugin};
use crate::views;

const CLASSES: (&str, &str, &str) = ("scheduling.k8s.io", "v1", "priorityclasses");

pub(super) struct Priority;

#[async_trait]
impl Plugin for Priority {
    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        let class = attributes.resource.group == CLASSES.0
            && attributes.resource.plural == CLASSES.2
            && attributes.operation != Operation::Delete;
        class || (attributes.is_core("pods") && attributes.operation == Operation::Create)
    }

    async fn admit(&self, attributes: &Attributes<'_>, pod: &mut Value) -> Result<(), Status> {
        if attributes.resource.plural != "pods" {
            return Ok(());
        }
        let name = pod["spec"]["priorityClassName"]
            .as_str()
            .unwrap_or("")
            .to_owned();
        let (named, default) = if name.is_empty() {
            (None, global_default(attributes).await?)
        } else {
            let named = views::find(attributes.core, CLASSES, "", &name).await?;
            (named, None)
        };
        admission::priority(
            attributes.resource,
            pod,
            |_| named.as_ref(),
            default.as_ref(),
        )
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: &Value) -> Result<(), Status> {
        if attributes.resource.plural == "pods" || object["globalDefault"] != true {
            return Ok(());
        }
        let Some(other) = global_default(attributes).await? else {
            return Ok(());
        };
        let other = other["metadata"]["name"].as_str().unwrap_or("");
        if object["metadata"]["name"] == other {
            return Ok(());
        }
        Err(attributes.forbidden(format!(
            "PriorityClass {other} is already marked as default. Only one default can exist"
        )))
    }
}

/// The class marked as the default, the lowest if there are several. There are few classes, and their bytes tell
/// most of them apart undecoded.
async fn global_default(attributes: &Attributes<'_>) -> Result<Option<Value>, Status> {
    let classes = views::all(attributes.core, CLASSES, "").await?;
    let marked = classes
        .iter()
        .filter(|value| memchr::memmem::find(value, b"\"globalDefault\":true").is_some())
        .filter_map(|value| serde_json::from_slice::<Value>(value).ok())
        .filter(|class| class["globalDefault"] == true);
    Ok(marked.min_by_key(|class| class["value"].as_i64()))
}
