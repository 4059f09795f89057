//! The pods' network: a bridge on this node, routes to the other nodes' pods, and
//! masquerading for what leaves the cluster. All of it lives in the network namespace that
//! the kubelet runs in.

pub(crate) mod masquerade;
pub(crate) mod routes;

use crate::context::Context;
use fluyt_cri::{NetworkConfig, RuntimeConfig, StatusRequest, UpdateRuntimeConfigRequest};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Why pods have to wait before the node has addresses for them.
pub(crate) const NOT_CONFIGURED: &str = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized";

/// Gives the runtime its network configuration for a pod CIDR, once.
pub(crate) async fn configure(context: &Context, cidr: &str) {
    if context.network.borrow().is_ok() {
        return;
    }
    if context.settings.endpoint.is_some() {
        // Somebody else's runtime: its network is its own affair, but it is told.
        let request = UpdateRuntimeConfigRequest {
            runtime_config: Some(RuntimeConfig {
                network_config: Some(NetworkConfig {
                    pod_cidr: cidr.to_owned(),
                }),
            }),
        };
        if let Err(error) = context.cri.update_runtime_config(request).await {
            tracing::warn!(%error, "cannot tell the runtime the pod CIDR");
        }
    } else if let Err(error) = write_configuration(context, cidr) {
        tracing::error!("cannot configure the pods' network: {error}");
        return;
    }
    if let Err(error) = std::fs::write("/proc/sys/net/ipv4/ip_forward", "1") {
        tracing::warn!(%error, "cannot enable forwarding: pods will not reach other nodes");
    }
    wait_until_ready(context).await;
}

/// The runtime reads the configuration when it appears; it says so only when asked.
async fn wait_until_ready(context: &Context) {
    let mut reason = String::new();
    for _ in 0..200 {
        match network_condition(context).await {
            Ok(()) => {
                let _ = context.network.send_replace(Ok(()));
                tracing::info!("the pods' network is ready");
                return;
            }
            Err(why) => reason = why,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tracing::warn!(reason, "the pods' network is not ready");
    let _ = context.network.send_replace(Err(reason));
}

/// What the runtime says about its network.
pub(crate) async fn network_condition(context: &Context) -> Result<(), String> {
    let answer = context
        .cri
        .status(StatusRequest::default())
        .await
        .map_err(|error| error.to_string())?;
    let conditions = answer
        .status
        .map(|status| status.conditions)
        .unwrap_or_default();
    match conditions
        .into_iter()
        .find(|condition| condition.r#type == "NetworkReady")
    {
        Some(condition) if !condition.status => Err(format!(
            "container runtime network not ready: NetworkReady=false reason:{} message:{}",
            condition.reason, condition.message
        )),
        _ => Ok(()),
    }
}

fn write_configuration(context: &Context, cidr: &str) -> std::io::Result<()> {
    let directory = context.layout().cni_conf;
    std::fs::create_dir_all(&directory)?;
    let path = directory.join("10-fluyt.conflist");
    let data = context.settings.root.join("cni/ipam");
    let text = configuration(cidr, &data, has_iptables());
    // Renamed into place: the runtime never reads half a file.
    let temporary = directory.join(".10-fluyt.tmp");
    std::fs::write(&temporary, text)?;
    std::fs::rename(temporary, path)
}

/// Host ports need iptables, which the plugin for them calls.
fn has_iptables() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join("iptables").exists())
}

fn configuration(cidr: &str, data: &Path, host_ports: bool) -> String {
    let mut plugins = vec![json!({
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "isDefaultGateway": true,
        "ipMasq": false,
        "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": cidr}]],
            "dataDir": data,
        },
    })];
    if host_ports {
        plugins.push(json!({"type": "portmap", "capabilities": {"portMappings": true}}));
    }
    let list = json!({"cniVersion": "0.4.0", "name": "fluyt", "plugins": plugins});
    format!("{list:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_the_nodes_network() {
        let text = configuration("10.244.3.0/24", Path::new("/data"), true);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value["plugins"][0]["ipam"]["ranges"][0][0]["subnet"],
            "10.244.3.0/24"
        );
        assert_eq!(value["plugins"][1]["type"], "portmap");
    }
}
