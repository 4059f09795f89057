//! Where a node's kubelet listens, by the node's status.

use fluyt_api::status::Status;
use serde_json::Value;

use super::{Backend, KubeletClient};
use crate::core::Core;
use crate::stored;

const DEFAULT_PORT: u16 = 10250;

/// A node that requests can be sent to.
pub(crate) struct Node;

impl Node {
    /// The kubelet of the node `name`.
    pub(crate) async fn backend(core: &Core, name: &str) -> Result<Backend, Status> {
        let node = stored::find(&*core.store, ("", "v1", "nodes"), "", name).await?;
        let node = node.ok_or_else(|| Status::not_found("nodes", name))?;
        let host = address(&core.kubelet, &node).ok_or_else(|| {
            Status::internal(format!(
                "no preferred addresses found; known addresses: {}",
                node["status"]["addresses"]
            ))
        })?;
        let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0)
            .unwrap_or(DEFAULT_PORT);
        Ok(Backend {
            host,
            port,
            tls: Some(core.kubelet.tls.clone()),
        })
    }
}

fn address(client: &KubeletClient, node: &Value) -> Option<String> {
    let addresses = node["status"]["addresses"].as_array()?;
    client.address_types.iter().find_map(|wanted| {
        addresses
            .iter()
            .find(|address| address["type"] == wanted.as_str())
            .and_then(|address| address["address"].as_str())
            .map(str::to_owned)
    })
}
