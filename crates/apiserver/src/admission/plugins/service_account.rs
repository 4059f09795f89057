//! Every pod runs as a service account that exists, and, unless it declines, finds a token of it under the usual
//! path.

use std::time::Duration;

use async_trait::async_trait;
use fluyt_api::status::Status;
use fluyt_machinery::admission;
use serde_json::Value;
use tokio::time::Instant;

use crate::admission::{Attributes, Operation, Plugin};
use crate::lifecycle;
use crate::views;

/// The default account of a new namespace is being made: a moment's patience spares the client a retry.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct ServiceAccount;

#[async_trait]
impl Plugin for ServiceAccount {
    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is_core("pods") && attributes.operation == Operation::Create
    }

    async fn admit(&self, attributes: &Attributes<'_>, pod: &mut Value) -> Result<(), Status> {
        let account = match admission::default_service_account(pod) {
            Some(name) => account(attributes, &name).await?,
            None => None,
        };
        let context = lifecycle::context(attributes.namespace);
        admission::service_account(attributes.resource, pod, account.as_ref(), &context)
    }
}

async fn account(attributes: &Attributes<'_>, name: &str) -> Result<Option<Value>, Status> {
    let accounts = ("", "v1", "serviceaccounts");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = views::find(attributes.core, accounts, attributes.namespace, name).await?;
        if found.is_some() || name != "default" || Instant::now() >= deadline {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
