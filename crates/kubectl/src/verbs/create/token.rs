//! `create token`: asks the server for a token of a service account.

use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;
use crate::printers::PrintFlags;
use crate::rest::Call;
use crate::text::{duration, goquote::quote};
use serde_json::json;

/// Request a service account token
#[derive(clap::Args, Debug)]
pub(super) struct Token {
    names: Vec<String>,
    #[command(flatten)]
    print: PrintFlags,
    /// Audience of the requested token; may be repeated
    #[arg(long = "audience")]
    audiences: Vec<String>,
    /// Requested lifetime of the issued token
    #[arg(long)]
    duration: Option<String>,
    /// Kind of an object to bind the token to: Node, Pod, Secret
    #[arg(long)]
    bound_object_kind: Option<String>,
    /// Name of an object to bind the token to
    #[arg(long)]
    bound_object_name: Option<String>,
    /// UID of an object to bind the token to
    #[arg(long)]
    bound_object_uid: Option<String>,
}

impl Token {
    pub(super) async fn run(&self, context: &Context) -> Result<(), Failure> {
        let name = super::one_name(&self.names, "token")?;
        let mut request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {},
            "spec": {"audiences": self.audiences},
        });
        if let Some(text) = &self.duration {
            let lifetime = duration::parse(text).ok_or_else(|| {
                Failure::message(format!(
                    "invalid argument {} for \"--duration\" flag: time: invalid duration {}",
                    quote(text),
                    quote(text)
                ))
            })?;
            request["spec"]["expirationSeconds"] = json!(lifetime.as_secs());
        }
        if let Some(kind) = &self.bound_object_kind {
            let Some(object) = &self.bound_object_name else {
                return Err(Failure::message("--bound-object-name is required if --bound-object-kind is provided"));
            };
            request["spec"]["boundObjectRef"] = json!({"apiVersion": "v1", "kind": kind, "name": object});
            if let Some(uid) = &self.bound_object_uid {
                request["spec"]["boundObjectRef"]["uid"] = json!(uid);
            }
        }
        let mapping = context.mapper().well_known("serviceaccounts");
        let path = format!("{}/token", mapping.path(Some(&context.namespace()?), name));
        let answer = match context.rest().await?.json(&Call::post(path, &request)).await {
            Ok(answer) => answer,
            Err(Failure::Api(error)) => {
                return Err(Failure::message(format!("failed to create token: {}", error.message)));
            }
            Err(other) => return Err(other),
        };
        if self.print.is_human() {
            output::line(answer.text("status.token"));
            return Ok(());
        }
        self.print.printer()?.print(&answer, "")
    }
}
