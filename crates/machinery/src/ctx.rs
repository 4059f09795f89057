//! What a request brings from outside the pure world: the time, an identifier and randomness.
//!
//! Invariant: two calls with equal contexts give equal objects.

use jiff::Timestamp;
use uuid::Uuid;

/// The circumstances of one request.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// When the request is served.
    pub now: Timestamp,
    /// The identifier of an object that the request creates.
    pub uid: Uuid,
    /// Random bits for generated names.
    pub entropy: u64,
    /// The namespace of the request; empty for none.
    pub namespace: String,
}

/// Letters and digits of generated names: none that could spell a word or be misread.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

impl Ctx {
    /// Five random characters; `salt` gives independent ones.
    pub fn suffix(&self, salt: u64) -> String {
        let mut bits = mix(self.entropy ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (0..5)
            .map(|_| {
                let place = (bits % ALPHABET.len() as u64) as usize;
                bits /= ALPHABET.len() as u64;
                char::from(ALPHABET[place])
            })
            .collect()
    }
}

/// Spreads the bits of a number over all of it.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_five_letters_and_differ_by_salt() {
        let ctx = Ctx {
            now: Timestamp::UNIX_EPOCH,
            uid: Uuid::nil(),
            entropy: 42,
            namespace: String::new(),
        };
        assert_eq!(ctx.suffix(0).len(), 5);
        assert_ne!(ctx.suffix(0), ctx.suffix(1));
        assert!(ctx.suffix(7).bytes().all(|b| ALPHABET.contains(&b)));
    }
}
