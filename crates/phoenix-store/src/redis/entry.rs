//! Form of an entry in Redis: 32 bytes of seal, 8 bytes of stamp, then the session as JSON.

use phoenix_auth::model::{ActiveSession, KeyRing, TokenHash};
use phoenix_cache::Seq;

/// Raised when the JSON changes its meaning; nodes of different versions then do not read each other's entries.
const PREFIX: &str = "phoenix:s1:";
const SEAL_BYTES: usize = 32;
const STAMP_BYTES: usize = 8;

/// Key of a token's entry.
pub(super) fn key(hash: &TokenHash) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut key = String::with_capacity(PREFIX.len() + 64);
    key.push_str(PREFIX);
    for byte in hash.as_bytes() {
        for nibble in [byte >> 4, byte & 15] {
            key.push(char::from(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0')));
        }
    }
    key
}

/// Bytes to keep.
pub(super) fn seal(keys: &KeyRing, hash: &TokenHash, active: &ActiveSession, stamp: Seq) -> Option<Vec<u8>> {
    let mut body = stamp.0.to_be_bytes().to_vec();
    serde_json::to_writer(&mut body, active).ok()?;
    let mut bytes = keys.seal(hash.as_bytes(), &body).to_vec();
    bytes.append(&mut body);
    Some(bytes)
}

/// The session and its stamp, if the seal is ours.
pub(super) fn open(keys: &KeyRing, hash: &TokenHash, bytes: &[u8]) -> Option<(ActiveSession, Seq)> {
    let (seal, body) = bytes.split_at_checked(SEAL_BYTES)?;
    if !keys.seal_is_valid(hash.as_bytes(), body, seal) {
        return None;
    }
    let (stamp, json) = body.split_first_chunk::<STAMP_BYTES>()?;
    Some((serde_json::from_slice(json).ok()?, Seq(u64::from_be_bytes(*stamp))))
}
