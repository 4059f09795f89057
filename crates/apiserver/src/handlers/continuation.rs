//! Continue tokens: where the next page of a list starts, and which state of the store it shows.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fluyt_api::status::Status;
use serde::{Deserialize, Serialize};

const VERSION: &str = "meta.k8s.io/v1";

/// The decoded token. `rv` -1 asks for the newest state: an inconsistent continuation after expiry.
#[derive(Serialize, Deserialize)]
pub(crate) struct Token {
    v: String,
    pub(crate) rv: i64,
    /// The last key of the page before, relative to the list's prefix.
    pub(crate) start: String,
}

impl Token {
    pub(crate) fn new(revision: i64, last: &str) -> Self {
        Token {
            v: VERSION.to_owned(),
            rv: revision,
            start: format!("{last}\0"),
        }
    }

    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(crate::http::respond::to_bytes(self))
    }

    pub(crate) fn decode(text: &str) -> Result<Self, Status> {
        let invalid = |why: &str| Status::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|error| invalid(&error.to_string()))?;
        let token: Token =
            serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
        if token.v != VERSION {
            return Err(invalid("server does not recognize this encoded version"));
        }
        if token.start.is_empty() {
            return Err(invalid("encoded start key empty (version meta.k8s.io/v1)"));
        }
        if token.rv == 0 {
            return Err(invalid(
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ));
        }
        // Keys of a page never leave its prefix.
        if token.start.split('/').any(|part| part == "..") {
            return Err(invalid("encoded start key is not in the list"));
        }
        Ok(token)
    }

    pub(crate) fn last(&self) -> &str {
        self.start.trim_end_matches('\0')
    }
}

pub(crate) const EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_round_trip_and_garbage_is_refused() {
        let token = Token::new(42, "default/a").encode();
        let decoded = Token::decode(&token).unwrap();
        assert_eq!((decoded.rv, decoded.last()), (42, "default/a"));
        for bad in [
            "",
            "!!",
            "e30",
            &URL_SAFE_NO_PAD.encode("{\"v\":\"x\",\"rv\":1,\"start\":\"a\"}"),
        ] {
            assert_eq!(Token::decode(bad).err().map(|s| s.code), Some(400), "{bad}");
        }
    }
}
