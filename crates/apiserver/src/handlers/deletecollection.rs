//! DELETE of a collection: the listed objects one by one, each as its own DELETE; the answer is the list.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use fluyt_api::catalogue::Resource;
use fluyt_api::status::Status;
use futures::StreamExt;
use http::StatusCode;
use serde_json::json;

use super::delete::{DeleteOptions, Deleted, Deletion};
use super::list::{self, Window};
use crate::dispatch::{Answer, Request};
use crate::http::{accept, respond};
use crate::present::Presenter;
use crate::stored;
use crate::watch::filter::Filter;

/// Deletions under way at once.
const PARALLEL: usize = 16;

pub(crate) async fn handle(mut request: Request, resource: &'static Resource) -> Answer {
    let accepted = accept::negotiate(&request.headers)?;
    let presenter = Presenter::new(resource, accepted, &request.query)?;
    let options = DeleteOptions::read(&mut request).await?;
    let filter = Filter::parse(resource, &request.query)?;
    let window = Window::parse(&request.query)?;
    let prefix = stored::prefix(resource, &request.info.namespace);
    let listed = list::select(&request, resource, &prefix, &filter, &window).await?;
    let keys: Vec<Arc<str>> = listed
        .entries
        .iter()
        .map(|entry| entry.key.clone())
        .collect();
    let (request_ref, options, prefix) = (&request, &options, prefix.as_str());
    let deletions: Vec<_> = keys
        .into_iter()
        .map(|key| delete_one(request_ref, resource, options, key, prefix))
        .collect();
    let outcomes: Vec<Result<(), Status>> = futures::stream::iter(deletions)
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    outcomes.into_iter().collect::<Result<(), Status>>()?;
    let mut out = BytesMut::new();
    presenter.open_list(
        &mut out,
        &json!({ "resourceVersion": listed.revision.to_string() }),
    );
    let now = jiff::Timestamp::now();
    for (index, entry) in listed.entries.iter().enumerate() {
        if index > 0 {
            out.put_slice(b",");
        }
        presenter.item(&mut out, &entry.value, now);
    }
    out.put_slice(b"]}");
    Ok(respond::object(
        StatusCode::OK,
        out.freeze(),
        accepted,
        &request.query,
    ))
}

async fn delete_one(
    request: &Request,
    resource: &'static Resource,
    options: &DeleteOptions,
    key: Arc<str>,
    prefix: &str,
) -> Result<(), Status> {
    let rest = key.strip_prefix(prefix).unwrap_or(&key);
    let (namespace, name) = match rest.split_once('/') {
        Some((namespace, name)) => (namespace, name),
        None => (request.info.namespace.as_str(), rest),
    };
    let deletion = Deletion {
        core: &request.core,
        user: &request.user,
        resource,
        namespace: if resource.namespaced { namespace } else { "" },
        name,
        options,
    };
    match deletion.run().await {
        Ok(Deleted::Gone(_) | Deleted::Pending(_)) => Ok(()),
        // Somebody else was faster.
        Err(status) if status.code == 404 => Ok(()),
        Err(status) => Err(status),
    }
}
