//! The public half of a key file, whichever half the file holds.

use base64::Engine;
use rcgen::{KeyPair, PublicKeyData};

/// SubjectPublicKeyInfo (DER) of the public or private key in `pem`; `None` when there is none.
pub fn public_key_der(pem: &str) -> Option<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
    const END: &str = "-----END PUBLIC KEY-----";
    if let Some(start) = pem.find(BEGIN) {
        let body = &pem[start + BEGIN.len()..];
        let text: String = body[..body.find(END)?].split_whitespace().collect();
        return base64::engine::general_purpose::STANDARD.decode(text).ok();
    }
    let key = KeyPair::from_pem(pem).ok()?;
    Some(key.subject_public_key_info())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_give_the_same_key() {
        let key = KeyPair::generate().unwrap();
        let public = public_key_der(&key.public_key_pem());
        assert!(public.is_some());
        assert_eq!(public, public_key_der(&key.serialize_pem()));
        assert_eq!(public_key_der("nothing"), None);
    }
}
