//! What a token says once it is verified.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

/// A token whose signature and claims are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// `stack`, or the issuer as it was configured. A subject means something together with it only.
    pub provider: Arc<str>,
    /// The user at the provider, 1 to 255 bytes without control characters.
    pub subject: String,
    /// What the token belongs to: the key of revocation.
    pub session: SessionReference,
    /// `iat`, seconds since 1970. It may be in the future.
    pub issued_at: i64,
    /// `exp`, seconds since 1970. Tokens are accepted for the leeway longer.
    pub expires_at: i64,
    /// Address, as the provider writes it; not checked.
    pub email: Option<String>,
    /// Whether the provider says that the address is the user's. `false` without an address.
    pub email_verified: bool,
    /// Name to show; not checked.
    pub name: Option<String>,
    /// Address of a picture; not checked.
    pub picture: Option<String>,
}

/// What a token belongs to. All tokens of one session share it, if the provider tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionReference {
    /// The provider's session: `refresh_token_id` of Stack Auth, `sid` of others. 1 to 255 bytes.
    Session(String),
    /// This token alone, by its `jti`. 1 to 255 bytes.
    Token(String),
    /// This token alone, by the SHA-256 of its header and payload. The signature is left out, because whoever has an
    /// ECDSA signature can make a second one for the same text, and would be somebody else with it.
    Digest([u8; 32]),
}

impl SessionReference {
    pub(crate) fn of_text(signed: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, signed.as_bytes()).as_ref());
        Self::Digest(bytes)
    }
}

/// One text for each reference, and never the same for two: `session:…`, `token:…`, `sha256:<64 hex>`.
impl fmt::Display for SessionReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => write!(f, "session:{id}"),
            Self::Token(id) => write!(f, "token:{id}"),
            Self::Digest(bytes) => {
                f.write_str("sha256:")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}
