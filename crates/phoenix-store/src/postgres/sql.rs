//! Every statement that Phoenix runs on PostgreSQL, with its name. All names are qualified with the schema.
//! Columns are read by position in `rows.rs`.
//!
//! Locks are always taken in this order, so that no two transactions wait for each other: the administrators' lock,
//! users, then for each session in order of its id the session and its activity, and last the invalidation counter.

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
            " FROM phoenix.sessions s JOIN phoenix.session_activity a ON a.session_id = s.id \
             JOIN phoenix.users u ON u.id = s.user_id WHERE ",
            $condition
        )
    };
}

macro_rules! credentials {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            user_columns!(),
            ", u.password_hash, u.auth_epoch FROM phoenix.users u WHERE ",
            $condition
        )
    };
}

/// Deletes the sessions that `$which` selects, in order of their ids.
macro_rules! delete_sessions {
    ($which:literal) => {
        concat!(
            "WITH doomed AS MATERIALIZED (SELECT s.id FROM phoenix.sessions s \
             JOIN phoenix.session_activity a ON a.session_id = s.id WHERE ",
            $which,
            ") DELETE FROM phoenix.sessions d USING doomed WHERE d.id = doomed.id RETURNING d.id"
        )
    };
}

/// A session and its activity, of the owner that `$source` selects, as $1 to $10.
macro_rules! insert_session {
    ($source:literal) => {
        concat!(
            "opened AS (INSERT INTO phoenix.sessions \
             (id, user_id, token_hash, created_ms, expires_ms, provider) SELECT $1, $2, $3, $4, $5, $6 ",
            $source,
            " RETURNING id) INSERT INTO phoenix.session_activity (session_id, last_seen_ms, device, user_agent, ip) \
             SELECT id, $7, $8, $9, $10 FROM opened"
        )
    };
}

statements! {
    Probe "probe" = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool";
    UserInsert "user_insert" =
        "INSERT INTO phoenix.users (id, email, email_key, email_verified, password_hash, role, disabled, username, \
         first_name, last_name, image_url, timezone, locale, settings, auth_epoch, created_ms, updated_ms, \
         last_active_ms) \
         VALUES ($1, $2, $3, false, $4, $5, false, $6, $7, $8, $9, $10, $11, '{}', 0, $12, $12, $13) \
         ON CONFLICT (email_key) DO NOTHING";
    UserExists "user_exists" = "SELECT EXISTS (SELECT 1 FROM phoenix.users)";
    Credentials "credentials" = credentials!("u.email_key = $1");
    CredentialsById "credentials_by_id" = credentials!("u.id = $1");
    UserLock "user_lock" = credentials!("u.id = $1 FOR NO KEY UPDATE");
    UserPage "user_page" =
        concat!("SELECT ", user_columns!(), " FROM phoenix.users u WHERE u.id > $1 ORDER BY u.id LIMIT $2");
    UserPageFirst "user_page_first" =
        concat!("SELECT ", user_columns!(), " FROM phoenix.users u ORDER BY u.id LIMIT $1");
    PasswordUpgrade "password_upgrade" =
        "UPDATE phoenix.users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
    PasswordChange "password_change" =
        "UPDATE phoenix.users SET password_hash = $3, auth_epoch = auth_epoch + 1, updated_ms = $4 \
         WHERE id = $1 AND auth_epoch = $2 AND NOT disabled";
    AdministratorsLock "administrators_lock" =
        "SELECT 1 FROM phoenix.instance WHERE key = 'administrators_lock' FOR UPDATE";
    OtherAdministrator "other_administrator" =
        "SELECT EXISTS (SELECT 1 FROM phoenix.users WHERE role = 'admin' AND NOT disabled AND id <> $1)";
    AccessChange "access_change" =
        "UPDATE phoenix.users SET role = $2, disabled = $3, auth_epoch = auth_epoch + 1, updated_ms = $4 \
         WHERE id = $1";
    SessionOpen "session_open" = concat!(
        "WITH owner AS (UPDATE phoenix.users SET last_active_ms = greatest(last_active_ms, $4) \
         WHERE id = $2 AND auth_epoch = $11 AND NOT disabled RETURNING id), ",
        insert_session!("FROM owner")
    );
    SessionInsert "session_insert" = concat!("WITH ", insert_session!(""));
    SessionFind "session_find" = active_session!("s.token_hash = $1");
    SessionFindPrevious "session_find_previous" = active_session!(
        "s.previous_token_hash = $1 AND s.previous_token_hash IS NOT NULL AND s.rotated_ms >= $2"
    );
    SessionById "session_by_id" = active_session!("s.id = $1");
    SessionsOfUser "sessions_of_user" = concat!(
        "SELECT ",
        session_columns!(),
        ", a.user_agent FROM phoenix.sessions s JOIN phoenix.session_activity a ON a.session_id = s.id \
         WHERE s.user_id = $1 ORDER BY a.last_seen_ms DESC, s.id DESC LIMIT $2"
    );
    SessionRotate "session_rotate" =
        "UPDATE phoenix.sessions SET previous_token_hash = token_hash, token_hash = $2, rotated_ms = $3 \
         WHERE token_hash = $1 RETURNING id";
    SessionReplaced "session_replaced" =
        "SELECT id, user_id, token_hash, rotated_ms FROM phoenix.sessions \
         WHERE previous_token_hash = $1 AND previous_token_hash IS NOT NULL FOR UPDATE";
    SessionDelete "session_delete" = "DELETE FROM phoenix.sessions WHERE id = $1";
    SessionDeleteOwn "session_delete_own" = "DELETE FROM phoenix.sessions WHERE id = $1 AND user_id = $2";
    SessionDeleteOthers "session_delete_others" =
        delete_sessions!("s.user_id = $1 AND s.id <> $2 ORDER BY s.id FOR UPDATE OF s, a");
    SessionDeleteAll "session_delete_all" =
        delete_sessions!("s.user_id = $1 ORDER BY s.id FOR UPDATE OF s, a");
    ActivityRecord "activity_record" =
        "WITH latest AS MATERIALIZED (SELECT t.id, max(t.at_ms) AS at_ms \
         FROM unnest($1::uuid[], $2::int8[]) AS t (id, at_ms) GROUP BY t.id), \
         locked AS MATERIALIZED (SELECT a.session_id, l.at_ms FROM phoenix.session_activity a \
         JOIN latest l ON l.id = a.session_id WHERE a.last_seen_ms < l.at_ms \
         ORDER BY a.session_id FOR NO KEY UPDATE OF a) \
         UPDATE phoenix.session_activity a SET last_seen_ms = l.at_ms FROM locked l \
         WHERE a.session_id = l.session_id AND a.last_seen_ms < l.at_ms";
    UserActive "user_active" =
        "WITH latest AS MATERIALIZED (SELECT t.id, max(t.at_ms) AS at_ms \
         FROM unnest($1::uuid[], $2::int8[]) AS t (id, at_ms) GROUP BY t.id), \
         locked AS MATERIALIZED (SELECT u.id, l.at_ms FROM phoenix.users u \
         JOIN latest l ON l.id = u.id WHERE coalesce(u.last_active_ms < l.at_ms, true) \
         ORDER BY u.id FOR NO KEY UPDATE OF u) \
         UPDATE phoenix.users u SET last_active_ms = l.at_ms FROM locked l \
         WHERE u.id = l.id AND coalesce(u.last_active_ms < l.at_ms, true)";
    ExpiredDelete "expired_delete" = delete_sessions!(
        "s.expires_ms <= $1 ORDER BY s.expires_ms LIMIT $2 FOR UPDATE OF s, a SKIP LOCKED"
    );
    IdleScan "idle_scan" =
        "WITH part AS MATERIALIZED (SELECT session_id, last_seen_ms FROM phoenix.session_activity \
         WHERE session_id > $1 ORDER BY session_id LIMIT $2) \
         SELECT ARRAY(SELECT session_id FROM part WHERE last_seen_ms < $3 ORDER BY session_id LIMIT $4), \
         (SELECT count(*) FROM part), (SELECT session_id FROM part ORDER BY session_id DESC LIMIT 1)";
    IdleDelete "idle_delete" = delete_sessions!(
        "s.id = ANY ($1) AND a.last_seen_ms < $2 ORDER BY s.id FOR UPDATE OF s, a SKIP LOCKED"
    );
    InvalidationAppend "invalidation_append" =
        "WITH counter AS (UPDATE phoenix.invalidation_counter SET seq = seq + 1 RETURNING seq) \
         INSERT INTO phoenix.invalidations (seq, kind, subject, created_ms) \
         SELECT seq, $1, $2, $3 FROM counter RETURNING seq";
    InvalidationsAfter "invalidations_after" =
        "SELECT seq, kind, subject FROM phoenix.invalidations WHERE seq > $1 ORDER BY seq LIMIT $2";
    LastSeq "last_seq" = "SELECT seq FROM phoenix.invalidation_counter";
    InvalidationTrim "invalidation_trim" =
        "DELETE FROM phoenix.invalidations WHERE seq = ANY (ARRAY(SELECT seq FROM phoenix.invalidations \
         WHERE created_ms < $1 ORDER BY created_ms LIMIT $2 FOR UPDATE SKIP LOCKED))";
    InstanceInsert "instance_insert" =
        "INSERT INTO phoenix.instance (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
    InstanceGet "instance_get" = "SELECT value FROM phoenix.instance WHERE key = $1";
    InstanceReplace "instance_replace" =
        "INSERT INTO phoenix.instance (key, value) VALUES ($1, $2) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    SessionDeleteEvery "session_delete_every" = "TRUNCATE phoenix.sessions, phoenix.session_activity";
}
