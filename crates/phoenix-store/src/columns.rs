//! The columns of a user, of a session and of a block, the same in both databases. They are read by position, in `rows.rs` of
//! each.

/// Columns of a block, in the order of `rows::block_change`, of the table or sub-query `b`.
macro_rules! block_columns {
    () => {
        "b.key, b.id, b.class, b.subject, b.cause, b.reason, b.since_ms, b.until_ms, b.made_by, b.lifted_ms, b.changed"
    };
}
pub(crate) use block_columns;

/// How many columns a block has.
pub(crate) const BLOCK_COLUMNS: usize = 11;

/// Columns of a user, in the order of `rows::user`.
macro_rules! user_columns {
    () => {
        "u.id, u.email, u.email_verified, u.role, u.disabled, u.username, u.first_name, u.last_name, \
         u.image_url, u.timezone, u.locale, u.settings, u.created_ms, u.last_active_ms"
    };
}
pub(crate) use user_columns;

/// Columns of a session, in the order of `rows::session`.
macro_rules! session_columns {
    () => {
        "s.id, s.user_id, s.created_ms, s.expires_ms, s.provider, a.last_seen_ms, a.device, a.ip, \
         a.last_ip, a.fingerprint"
    };
}
pub(crate) use session_columns;

/// Number of columns of a user.
pub(crate) const USER_COLUMNS: usize = 14;
/// Number of columns of a session.
pub(crate) const SESSION_COLUMNS: usize = 10;
