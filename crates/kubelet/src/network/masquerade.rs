//! Traffic of pods to places outside the cluster leaves with the node's address, because
//! nobody out there knows the way to a pod. One small nftables table, replaced as a whole.

use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Sets the rule for this node's pods; `all` are the networks of all nodes' pods, and
/// `applied` the rules that were set last.
pub(crate) async fn apply(
    applied: &Mutex<String>,
    own: &str,
    mut all: BTreeSet<String>,
    cluster: Option<&str>,
) {
    if own.is_empty() {
        return;
    }
    if let Some(cluster) = cluster {
        all = BTreeSet::from([cluster.to_owned()]);
    }
    all.insert(own.to_owned());
    let rules = ruleset(own, &all);
    if *applied.lock() == rules {
        return;
    }
    match load(&rules).await {
        Ok(()) => *applied.lock() = rules,
        Err(error) => tracing::warn!(error, "pods will not reach places outside the cluster"),
    }
}

fn ruleset(own: &str, all: &BTreeSet<String>) -> String {
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let all = all.join(", ");
    format!(
        "table ip fluyt-pods\ndelete table ip fluyt-pods\ntable ip fluyt-pods {{\n\tset pods {{\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\tauto-merge\n\t\telements = {{ {all} }}\n\t}}\n\tchain postrouting {{\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n\t\tip saddr {own} ip daddr != @pods ip daddr != 224.0.0.0/4 oifname != \"cni0\" masquerade\n\t}}\n}}\n"
    )
}

async fn load(rules: &str) -> Result<(), String> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("nft: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        input
            .write_all(rules.as_bytes())
            .await
            .map_err(|error| format!("nft: {error}"))?;
    }
    let output = child
        .wait_with_output()
        .await
        .map_err(|error| format!("nft: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "nft: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leaves_the_cluster_is_masqueraded() {
        let all = BTreeSet::from(["10.244.1.0/24".to_owned(), "10.244.2.0/24".to_owned()]);
        let rules = ruleset("10.244.1.0/24", &all);
        assert!(rules.contains("elements = { 10.244.1.0/24, 10.244.2.0/24 }"));
        assert!(rules.contains("ip saddr 10.244.1.0/24 ip daddr != @pods"));
    }
}
