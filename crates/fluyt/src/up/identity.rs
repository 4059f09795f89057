//! Keys and certificates of a cluster: one authority, the server's certificate, one identity per component and node.

use std::net::IpAddr;

use anyhow::Context;
use fluyt_pki::{CertificateAuthority, Credentials, Issued, Request, Usage, kubeconfig};

use super::network::Network;
use super::{Layout, Options};

pub struct Identity {
    authority: CertificateAuthority,
}

/// Loads or makes the authority and writes what the API server reads.
pub fn prepare(
    layout: &Layout,
    options: &Options,
    network: Option<&Network>,
) -> anyhow::Result<Identity> {
    let pki = layout.pki();
    let authority = CertificateAuthority::load_or_generate(&pki, "ca", "fluyt-ca")?;
    fluyt_pki::service_account_key(&pki)?;
    let identity = Identity { authority };
    let names = server_names(options, network);
    let serving = identity.issue("kube-apiserver", &[], &names, Usage::Server)?;
    identity.write(layout, "apiserver", &serving)?;
    let kubelet_client = identity.issue(
        "kube-apiserver-kubelet-client",
        &["system:masters"],
        &[],
        Usage::Client,
    )?;
    identity.write(layout, "apiserver-kubelet-client", &kubelet_client)?;
    Ok(identity)
}

/// All names under which clients inside and outside the cluster reach the server.
fn server_names(options: &Options, network: Option<&Network>) -> Vec<String> {
    let mut names: Vec<String> = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "master",
        "127.0.0.1",
        "::1",
    ]
    .map(str::to_owned)
    .into();
    names.extend(
        nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok()),
    );
    names.push(options.bind_address.to_string());
    names.extend(network.map(Network::gateway));
    names.extend(first_address(&options.service_cluster_ip_range));
    names.sort();
    names.dedup();
    names
}

/// The address of the `kubernetes` service: the first of the range.
fn first_address(cidr: &str) -> Option<String> {
    let network: IpAddr = cidr.split('/').next()?.parse().ok()?;
    Some(match network {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) + 1).into()).to_string(),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) + 1).into()).to_string(),
    })
}

impl Identity {
    pub fn issue(
        &self,
        common_name: &str,
        organizations: &[&str],
        names: &[String],
        usage: Usage,
    ) -> anyhow::Result<Issued> {
        Ok(self.authority.issue(&Request {
            common_name,
            organizations,
            names,
            usage,
        })?)
    }

    fn write(&self, layout: &Layout, name: &str, issued: &Issued) -> anyhow::Result<()> {
        let pki = layout.pki();
        fluyt_pki::write_private(&pki.join(format!("{name}.key")), &issued.key)?;
        fluyt_pki::write_public(&pki.join(format!("{name}.crt")), &issued.certificate)?;
        Ok(())
    }

    fn kubeconfig(&self, server: &str, user: &str, issued: &Issued) -> String {
        let credentials = Credentials::Certificate {
            certificate: &issued.certificate,
            key: &issued.key,
        };
        let authority = Some(self.authority.certificate());
        kubeconfig("fluyt", server, authority, user, &credentials)
    }

    /// `DIR/admin.kubeconfig`, mode 0600.
    pub fn write_admin(&self, layout: &Layout, server: &str) -> anyhow::Result<()> {
        let issued = self.issue("kubernetes-admin", &["system:masters"], &[], Usage::Client)?;
        let text = self.kubeconfig(server, "kubernetes-admin", &issued);
        fluyt_pki::write_private(&layout.admin_kubeconfig(), &text)
            .context("cannot write the admin kubeconfig")?;
        Ok(())
    }

    /// A node's kubeconfig and serving certificate: `DIR/nodes/NAME/{kubeconfig,serving.crt,serving.key}`.
    pub fn write_node(
        &self,
        layout: &Layout,
        name: &str,
        address: &str,
        server: &str,
    ) -> anyhow::Result<()> {
        let user = format!("system:node:{name}");
        let client = self.issue(&user, &["system:nodes"], &[], Usage::Client)?;
        let names = [name.to_owned(), address.to_owned()];
        let serving = self.issue(&user, &["system:nodes"], &names, Usage::Server)?;
        let node = layout.node(name);
        fluyt_pki::write_private(
            &node.join("kubeconfig"),
            &self.kubeconfig(server, &user, &client),
        )?;
        fluyt_pki::write_private(&node.join("serving.key"), &serving.key)?;
        fluyt_pki::write_public(&node.join("serving.crt"), &serving.certificate)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::first_address;

    #[test]
    fn the_kubernetes_service_has_the_first_address() {
        assert_eq!(first_address("10.96.0.0/16").as_deref(), Some("10.96.0.1"));
        assert_eq!(first_address("fd00::/108").as_deref(), Some("fd00::1"));
        assert_eq!(first_address("nonsense"), None);
    }
}
