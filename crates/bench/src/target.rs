//! Where the server is, who we are there, and requests to it as bytes.

use std::sync::Arc;

use anyhow::{Context, bail};
use fluyt_client::ClientOptions;
use fluyt_client::kube::client::ConfigExt;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::wire::Connection;

pub(crate) struct Target {
    address: String,
    path_prefix: String,
    /// One configuration for all connections: they resume each other's TLS sessions.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    headers: String,
}

impl Target {
    pub(crate) async fn new(options: &ClientOptions) -> anyhow::Result<Self> {
        let config = fluyt_client::connect::config(options).await?;
        let url = &config.cluster_url;
        let secure = url.scheme_str() == Some("https");
        let host = url.host().context("the server's address has no host")?;
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure {
            Some(connector(&config, host)?)
        } else {
            None
        };
        let mut headers = format!(
            "host: {host}:{port}\r\nuser-agent: fluyt-bench\r\naccept: application/json\r\n"
        );
        // The token of a kubeconfig comes out of its secret wrapper only by serialising.
        let user = serde_json::to_value(&config.auth_info).unwrap_or_default();
        if let Some(token) = user["token"].as_str() {
            headers.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        let path_prefix = url.path().trim_end_matches('/').to_owned();
        Ok(Target {
            address: format!("{host}:{port}"),
            path_prefix,
            tls,
            headers,
        })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(&self.address)
            .await
            .with_context(|| format!("cannot connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        let Some((connector, name)) = &self.tls else {
            return Ok(Connection::new(stream));
        };
        let stream = connector.connect(name.clone(), stream).await;
        Ok(Connection::new(
            stream.with_context(|| format!("TLS to {}", self.address))?,
        ))
    }

    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        format!(
            "GET {}{path} HTTP/1.1\r\n{}\r\n",
            self.path_prefix, self.headers
        )
        .into_bytes()
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        self.typed(method, path, "application/json", body)
    }

    pub(crate) fn typed(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &str,
    ) -> Vec<u8> {
        let (prefix, headers, length) = (&self.path_prefix, &self.headers, body.len());
        format!(
            "{method} {prefix}{path} HTTP/1.1\r\n{headers}content-type: {content_type}\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// For set-up: a JSON answer, `None` for 404. Another failure is an error.
    pub(crate) async fn read(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let (status, body) = self.connect().await?.fetch(&self.get(path)).await?;
        match status {
            200 => Ok(Some(
                serde_json::from_slice(&body).with_context(|| format!("GET {path}"))?,
            )),
            404 => Ok(None),
            _ => bail!(
                "GET {path}: HTTP {status}: {}",
                String::from_utf8_lossy(&body)
            ),
        }
    }

    /// For set-up: any success, or one of `also`.
    pub(crate) async fn write(
        &self,
        method: &str,
        path: &str,
        body: &str,
        also: &[u16],
    ) -> anyhow::Result<()> {
        let (status, answer) = self
            .connect()
            .await?
            .fetch(&self.request(method, path, body))
            .await?;
        if (200..300).contains(&status) || also.contains(&status) {
            return Ok(());
        }
        bail!(
            "{method} {path}: HTTP {status}: {}",
            String::from_utf8_lossy(&answer)
        )
    }
}

fn connector(
    config: &fluyt_client::kube::Config,
    host: &str,
) -> anyhow::Result<(TlsConnector, ServerName<'static>)> {
    let mut tls = config
        .rustls_client_config()
        .context("the TLS settings are unusable")?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = config.tls_server_name.as_deref().unwrap_or(host);
    let name = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let name = ServerName::try_from(name).context("the server's name is unusable")?;
    Ok((TlsConnector::from(Arc::new(tls)), name))
}
