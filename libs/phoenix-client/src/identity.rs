//! Who is calling. Made by the verifier only.

use std::time::SystemTime;

/// Somebody who is signed in, as Phoenix knew them when it passed the request on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Identity {
    /// The user's id, which never changes: what to keep in a database. A UUID in its usual text form.
    pub user_id: String,
    /// The session's id. Names a device of the user; knowing it grants nothing.
    pub session_id: String,
    /// The user's e-mail address. May change.
    pub email: Option<String>,
    /// Whether the user has shown that the address is theirs.
    pub email_verified: bool,
    /// The user's role, such as `user` or `admin`.
    pub role: String,
    /// When Phoenix signed this, in whole seconds.
    pub issued_at: SystemTime,
    /// From then on it does not count.
    pub expires_at: SystemTime,
}
