//! Lifecycle hooks: a command in the container, a request to it, or a pause.

use crate::context::Context;
use crate::http_get;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use std::time::Duration;

/// Runs a hook to its end; an error says what failed.
pub(crate) async fn run(
    context: &Context,
    container: &Container,
    id: &str,
    address: Option<&str>,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(action) = &hook.exec {
        let command = action.command.clone().unwrap_or_default();
        let answer = context
            .cri
            .exec_sync(id, command.clone(), 0)
            .await
            .map_err(|error| error.message())?;
        if answer.exit_code == 0 {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&answer.stderr);
        return Err(format!(
            "Exec lifecycle hook {command:?} failed: exited with {}: {}",
            answer.exit_code,
            output.trim()
        ));
    }
    if let Some(action) = &hook.http_get {
        let address = address.unwrap_or("127.0.0.1");
        let answer = http_get::get(action, container, address, "kube-lifecycle/1.36").await?;
        return match answer.code {
            200..400 => Ok(()),
            code => Err(format!("HTTP lifecycle hook failed with status {code}")),
        };
    }
    if let Some(action) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(action.seconds.max(0).unsigned_abs())).await;
        return Ok(());
    }
    Err("invalid handler".to_owned())
}
