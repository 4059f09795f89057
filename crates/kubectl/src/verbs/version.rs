//! `version`: the client's and the server's.

use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::rest::Call;
use crate::text::{gojson, yaml};
use serde_json::{Value, json};

/// The Kubernetes version whose behaviour this client has.
const MAJOR: i64 = 1;
const MINOR: i64 = 36;

/// Print the client and server version information
#[derive(clap::Parser, Debug)]
#[command(after_help = "Examples:\n  kubectl version\n  kubectl version --client -o yaml")]
pub(crate) struct Arguments {
    /// If true, shows client version only (no server required)
    #[arg(long)]
    client: bool,
    /// One of 'yaml' or 'json'
    #[arg(long, short = 'o', default_value = "", hide_default_value = true)]
    output: String,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    if !matches!(arguments.output.as_str(), "" | "yaml" | "json") {
        return Err(Failure::message("--output must be 'yaml' or 'json'"));
    }
    let client = client_version();
    let mut failure = None;
    let mut server = None;
    if !arguments.client {
        match context.rest().await {
            Ok(rest) => match rest.json(&Call::get("/version")).await {
                Ok(version) => server = Some(version),
                Err(error) => failure = Some(error),
            },
            Err(error) => failure = Some(error),
        }
    }
    let mut document = json!({"clientVersion": client});
    if let Some(server) = &server {
        document["serverVersion"] = server.clone();
    }
    match arguments.output.as_str() {
        "yaml" => output::line(yaml::to_string(&document)),
        "json" => output::line(gojson::pretty(&document, 2)),
        _ => {
            output::line(format!("Client Version: {}", client.text("gitVersion")));
            if let Some(server) = &server {
                output::line(format!("Server Version: {}", server.text("gitVersion")));
            }
        }
    }
    if let Some(server) = &server {
        warn_about_skew(server);
    }
    failure.map_or(Ok(()), Err)
}

fn client_version() -> Value {
    json!({
        "major": MAJOR.to_string(),
        "minor": MINOR.to_string(),
        "gitVersion": format!("v{MAJOR}.{MINOR}.0+fluyt-{}", env!("CARGO_PKG_VERSION")),
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// One minor version apart is supported.
fn warn_about_skew(server: &Value) {
    let minor: String = server.text("minor").chars().take_while(char::is_ascii_digit).collect();
    let Ok(minor) = minor.parse::<i64>() else {
        return;
    };
    if (minor - MINOR).abs() > 1 {
        output::warning(format!(
            "version difference between client ({MAJOR}.{MINOR}) and server ({}.{minor}) exceeds the supported minor version skew of +/-1",
            server.text("major")
        ));
    }
}
