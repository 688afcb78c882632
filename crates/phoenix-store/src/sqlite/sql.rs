//! Every statement that Phoenix runs on SQLite, with its name. Columns are read by position in `rows.rs`.

use crate::statements::statements;

/// Columns of a user, in the order of `rows::user`.
macro_rules! user_columns {
    () => {
        "u.id, u.email, u.email_verified, u.role, u.disabled, u.username, u.first_name, u.last_name, \
         u.image_url, u.timezone, u.locale, u.settings, u.created_ms, u.last_active_ms"
    };
}

/// Columns of a session, in the order of `rows::session`.
macro_rules! session_columns {
    () => {
        "s.id, s.user_id, s.created_ms, s.expires_ms, s.provider, a.last_seen_ms, a.device, a.ip"
    };
}

macro_rules! active_session {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            user_columns!(),
            ", ",
            session_columns!(),
            " FROM sessions s JOIN session_activity a ON a.session_id = s.id JOIN users u ON u.id = s.user_id \
             WHERE ",
            $condition
        )
    };
}

macro_rules! credentials {
    ($condition:literal) => {
        concat!("SELECT ", user_columns!(), ", u.password_hash, u.auth_epoch FROM users u WHERE ", $condition)
    };
}

statements! {
    UserInsert "user_insert" =
        "INSERT INTO users (id, email, email_key, email_verified, password_hash, role, disabled, username, \
         first_name, last_name, image_url, timezone, locale, settings, auth_epoch, created_ms, updated_ms, \
         last_active_ms) \
         VALUES (?1, ?2, ?3, 0, ?4, ?5, 0, ?6, ?7, ?8, ?9, ?10, ?11, '{}', 0, ?12, ?12, ?13) \
         ON CONFLICT (email_key) DO NOTHING";
    UserExists "user_exists" = "SELECT EXISTS (SELECT 1 FROM users)";
    Credentials "credentials" = credentials!("u.email_key = ?1");
    CredentialsById "credentials_by_id" = credentials!("u.id = ?1");
    UserPage "user_page" =
        concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id > ?1 ORDER BY u.id LIMIT ?2");
    UserPageFirst "user_page_first" =
        concat!("SELECT ", user_columns!(), " FROM users u ORDER BY u.id LIMIT ?1");
    PasswordUpgrade "password_upgrade" =
        "UPDATE users SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2";
    PasswordChange "password_change" =
        "UPDATE users SET password_hash = ?3, auth_epoch = auth_epoch + 1, updated_ms = ?4 \
         WHERE id = ?1 AND auth_epoch = ?2 AND disabled = 0";
    OtherAdministrator "other_administrator" =
        "SELECT EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND disabled = 0 AND id <> ?1)";
    AccessChange "access_change" =
        "UPDATE users SET role = ?2, disabled = ?3, auth_epoch = auth_epoch + 1, updated_ms = ?4 WHERE id = ?1";
    UserSignIn "user_sign_in" =
        "UPDATE users SET last_active_ms = max(coalesce(last_active_ms, ?3), ?3) \
         WHERE id = ?1 AND auth_epoch = ?2 AND disabled = 0";
    SessionInsert "session_insert" =
        "INSERT INTO sessions (token_hash, id, user_id, created_ms, expires_ms, provider) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    ActivityInsert "activity_insert" =
        "INSERT INTO session_activity (session_id, last_seen_ms, device, user_agent, ip) \
         VALUES (?1, ?2, ?3, ?4, ?5)";
    SessionFind "session_find" = active_session!("s.token_hash = ?1");
    SessionFindPrevious "session_find_previous" =
        active_session!("s.previous_token_hash = ?1 AND s.rotated_ms >= ?2");
    SessionById "session_by_id" = active_session!("s.id = ?1");
    SessionsOfUser "sessions_of_user" = concat!(
        "SELECT ",
        session_columns!(),
        ", a.user_agent FROM sessions s JOIN session_activity a ON a.session_id = s.id \
         WHERE s.user_id = ?1 ORDER BY a.last_seen_ms DESC, s.id DESC LIMIT ?2"
    );
    SessionRotate "session_rotate" =
        "UPDATE sessions SET previous_token_hash = token_hash, token_hash = ?2, rotated_ms = ?3 \
         WHERE token_hash = ?1 RETURNING id";
    SessionReplaced "session_replaced" =
        "SELECT id, user_id, token_hash, rotated_ms FROM sessions WHERE previous_token_hash = ?1";
    SessionDelete "session_delete" = "DELETE FROM sessions WHERE id = ?1";
    SessionDeleteOwn "session_delete_own" = "DELETE FROM sessions WHERE id = ?1 AND user_id = ?2";
    SessionDeleteOthers "session_delete_others" =
        "DELETE FROM sessions WHERE user_id = ?1 AND id <> ?2 RETURNING id";
    SessionDeleteAll "session_delete_all" = "DELETE FROM sessions WHERE user_id = ?1 RETURNING id";
    ActivityRecord "activity_record" =
        "UPDATE session_activity SET last_seen_ms = ?2 WHERE session_id = ?1 AND last_seen_ms < ?2";
    UserActive "user_active" =
        "UPDATE users SET last_active_ms = ?2 WHERE id = ?1 AND coalesce(last_active_ms, ?2 - 1) < ?2";
    ExpiredDelete "expired_delete" =
        "DELETE FROM sessions WHERE id IN \
         (SELECT id FROM sessions WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)";
    IdleScan "idle_scan" =
        "SELECT session_id, last_seen_ms FROM session_activity WHERE session_id > ?1 ORDER BY session_id LIMIT ?2";
    CounterNext "counter_next" = "UPDATE invalidation_counter SET seq = seq + 1 RETURNING seq";
    InvalidationInsert "invalidation_insert" =
        "INSERT INTO invalidations (seq, kind, subject, created_ms) VALUES (?1, ?2, ?3, ?4)";
    InvalidationsAfter "invalidations_after" =
        "SELECT seq, kind, subject FROM invalidations WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    LastSeq "last_seq" = "SELECT seq FROM invalidation_counter";
    InvalidationTrim "invalidation_trim" =
        "DELETE FROM invalidations WHERE seq IN \
         (SELECT seq FROM invalidations WHERE created_ms < ?1 ORDER BY created_ms LIMIT ?2)";
    InstanceInsert "instance_insert" =
        "INSERT INTO instance (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING";
    InstanceGet "instance_get" = "SELECT value FROM instance WHERE key = ?1";
    InstanceReplace "instance_replace" =
        "INSERT INTO instance (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    SessionDeleteEvery "session_delete_every" = "DELETE FROM sessions";
}
