//! Every statement that Phoenix runs on SQLite, with its name. Columns are read by position in `rows.rs`.

use crate::columns::{block_columns, session_columns, user_columns};
use crate::statements::statements;

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

/// Sessions that are to end, with the columns of `rows::doomed`.
macro_rules! doomed_sessions {
    ($which:literal) => {
        concat!(
            "SELECT s.id, s.external_id, i.issuer, i.subject, s.token_hash FROM sessions s LEFT JOIN identities i \
             ON s.external_id IS NOT NULL AND (i.issuer, i.subject) = \
             (SELECT n.issuer, n.subject FROM identities n WHERE n.user_id = s.user_id \
             ORDER BY n.issuer, n.subject LIMIT 1) WHERE ",
            $which
        )
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
        "UPDATE users SET role = ?2, disabled = ?3, auth_epoch = auth_epoch + 1, updated_ms = ?4, \
         signed_out_ms = iif(?3, max(signed_out_ms, ?4), signed_out_ms) WHERE id = ?1";
    UserSignedOut "user_signed_out" = "UPDATE users SET signed_out_ms = max(signed_out_ms, ?2) WHERE id = ?1";
    OwnerCheck "owner_check" = "SELECT 1 FROM users WHERE id = ?1 AND auth_epoch = ?2 AND disabled = 0";
    SessionsBeyondCap "sessions_beyond_cap" =
        "SELECT s.id FROM sessions s JOIN session_activity a ON a.session_id = s.id \
         WHERE s.user_id = ?1 AND s.id <> ?2 AND s.expires_ms > ?3 AND a.last_seen_ms >= ?4 \
         ORDER BY s.created_ms DESC, s.id DESC LIMIT -1 OFFSET ?5";
    SessionInsert "session_insert" =
        "INSERT INTO sessions (token_hash, id, user_id, created_ms, expires_ms, provider, external_id) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    ActivityInsert "activity_insert" =
        "INSERT INTO session_activity (session_id, last_seen_ms, device, user_agent, ip, last_ip, fingerprint) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
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
    RecentlyUsed "recently_used" = concat!(
        "SELECT ",
        user_columns!(),
        ", ",
        session_columns!(),
        ", s.token_hash FROM (SELECT session_id FROM session_activity \
         ORDER BY last_seen_ms DESC, session_id DESC LIMIT ?1) l JOIN sessions s ON s.id = l.session_id \
         JOIN session_activity a ON a.session_id = l.session_id JOIN users u ON u.id = s.user_id \
         ORDER BY a.last_seen_ms DESC, s.id DESC"
    );
    SessionRotate "session_rotate" =
        "UPDATE sessions SET previous_token_hash = token_hash, token_hash = ?2, rotated_ms = ?3 \
         WHERE token_hash = ?1 AND external_id IS NULL RETURNING id";
    SessionReplaced "session_replaced" =
        "SELECT id, user_id, token_hash, rotated_ms FROM sessions WHERE previous_token_hash = ?1";
    SessionDelete "session_delete" = "DELETE FROM sessions WHERE id = ?1";
    SessionDoomed "session_doomed" = doomed_sessions!("s.id = ?1");
    SessionDoomedOwn "session_doomed_own" = doomed_sessions!("s.id = ?1 AND s.user_id = ?2");
    SessionDoomedOthers "session_doomed_others" =
        doomed_sessions!("s.user_id = ?1 AND s.id <> ?2 ORDER BY s.id");
    SessionDoomedAll "session_doomed_all" = doomed_sessions!("s.user_id = ?1 ORDER BY s.id");
    SessionDoomedPassword "session_doomed_password" =
        doomed_sessions!("s.user_id = ?1 AND s.provider = 'password' ORDER BY s.id");
    EndingInsert "ending_insert" =
        "INSERT INTO ended_external_sessions (token_hash, ended_ms) VALUES (?1, ?2) ON CONFLICT (token_hash) DO NOTHING";
    ActivityRecord "activity_record" =
        "UPDATE session_activity SET last_seen_ms = max(last_seen_ms, ?2), \
         last_ip = iif(last_seen_ms <= ?4, ?3, last_ip) WHERE session_id = ?1 \
         AND (last_seen_ms < ?2 OR (last_seen_ms <= ?4 AND last_ip IS NOT ?3))";
    UserActive "user_active" =
        "UPDATE users SET last_active_ms = ?2 WHERE id = ?1 AND coalesce(last_active_ms, ?2 - 1) < ?2";
    ExpiredDoomed "expired_doomed" =
        doomed_sessions!("s.expires_ms <= ?1 ORDER BY s.expires_ms LIMIT ?2");
    IdleScan "idle_scan" =
        "SELECT session_id, last_seen_ms FROM session_activity WHERE session_id > ?1 ORDER BY session_id LIMIT ?2";
    IdentityOwner "identity_owner" = concat!(
        "SELECT ",
        user_columns!(),
        ", u.signed_out_ms FROM identities i JOIN users u ON u.id = i.user_id WHERE i.issuer = ?1 AND i.subject = ?2"
    );
    IdentitiesOfUser "identities_of_user" =
        "SELECT issuer, subject FROM identities WHERE user_id = ?1 ORDER BY issuer, subject";
    IdentityInsert "identity_insert" = "INSERT INTO identities (issuer, subject, user_id) VALUES (?1, ?2, ?3)";
    ExternalUserInsert "external_user_insert" =
        "INSERT INTO users (id, email, email_key, email_verified, password_hash, role, disabled, username, \
         first_name, last_name, image_url, timezone, locale, settings, auth_epoch, created_ms, updated_ms) \
         VALUES (?1, ?2, ?3, ?4, '', ?5, 0, ?6, ?7, ?8, ?9, ?10, ?11, '{}', 0, ?12, ?12)";
    IdentityUpdate "identity_update" =
        "UPDATE users SET email = ?3, email_verified = ?4, username = ?5, first_name = coalesce(?6, first_name), \
         last_name = coalesce(?7, last_name), image_url = coalesce(?8, image_url), \
         timezone = coalesce(?9, timezone), locale = coalesce(?10, locale), updated_ms = ?11 \
         WHERE id = (SELECT user_id FROM identities WHERE issuer = ?1 AND subject = ?2) \
         AND updated_ms <= ?11 \
         AND (email, email_verified, username, first_name, last_name, image_url, timezone, locale) \
         IS NOT (?3, ?4, ?5, coalesce(?6, first_name), coalesce(?7, last_name), \
         coalesce(?8, image_url), coalesce(?9, timezone), coalesce(?10, locale)) RETURNING id";
    ExternalEnded "external_ended" =
        "SELECT EXISTS (SELECT 1 FROM ended_external_sessions WHERE token_hash = ?1)";
    UserUsed "user_used" =
        "UPDATE users SET last_active_ms = max(coalesce(last_active_ms, ?2), ?2) WHERE id = ?1";
    DeliveryInsert "delivery_insert" =
        "INSERT INTO webhook_deliveries (id, received_ms) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING";
    DeliveryFind "delivery_find" = "SELECT EXISTS (SELECT 1 FROM webhook_deliveries WHERE id = ?1)";
    DeliveryTrim "delivery_trim" =
        "DELETE FROM webhook_deliveries WHERE id IN \
         (SELECT id FROM webhook_deliveries WHERE received_ms < ?1 ORDER BY received_ms LIMIT ?2)";
    EndingTrim "ending_trim" =
        "DELETE FROM ended_external_sessions WHERE token_hash IN \
         (SELECT token_hash FROM ended_external_sessions WHERE ended_ms < ?1 ORDER BY ended_ms LIMIT ?2)";
    EventInsert "event_insert" =
        "INSERT INTO security_events (id, at_ms, kind, user_id, session_id, ip, detail) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING";
    EventPage "event_page" =
        "SELECT id, at_ms, kind, user_id, session_id, ip, detail FROM security_events \
         WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    EventPageOfUser "event_page_of_user" =
        "SELECT id, at_ms, kind, user_id, session_id, ip, detail FROM security_events \
         WHERE user_id = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2";
    EventTrim "event_trim" =
        "DELETE FROM security_events WHERE id IN \
         (SELECT id FROM security_events WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)";
    BlockCounterNext "block_counter_next" = "UPDATE block_counter SET seq = seq + 1 RETURNING seq";
    // A running block stays, unless an administrator replaces it; nothing replaces itself, also when it was lifted.
    BlockPut "block_put" =
        "INSERT INTO blocks AS b (key, id, class, subject, cause, reason, since_ms, until_ms, made_by, changed) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
         ON CONFLICT (key) DO UPDATE SET id = excluded.id, class = excluded.class, subject = excluded.subject, \
         cause = excluded.cause, reason = excluded.reason, since_ms = excluded.since_ms, \
         until_ms = excluded.until_ms, made_by = excluded.made_by, lifted_ms = NULL, changed = excluded.changed \
         WHERE b.id <> excluded.id AND (excluded.cause = 'administrator' \
         OR coalesce(b.lifted_ms, b.until_ms) <= excluded.since_ms)";
    BlockLift "block_lift" = concat!(
        "UPDATE blocks SET lifted_ms = ?2, changed = ?3 \
         WHERE id = ?1 AND lifted_ms IS NULL AND until_ms > ?2 RETURNING ",
        "key, id, class, subject, cause, reason, since_ms, until_ms, made_by, lifted_ms, changed"
    );
    BlockLiftKey "block_lift_key" =
        "UPDATE blocks SET lifted_ms = ?2, changed = ?3 WHERE key = ?1 AND lifted_ms IS NULL AND until_ms > ?2";
    BlockLiftEvery "block_lift_every" =
        "UPDATE blocks SET lifted_ms = ?1, changed = ?3 WHERE key IN \
         (SELECT key FROM blocks WHERE until_ms > ?1 AND lifted_ms IS NULL ORDER BY until_ms LIMIT ?2)";
    BlocksSince "blocks_since" = concat!(
        "SELECT ",
        block_columns!(),
        ", c.seq FROM block_counter c LEFT JOIN (SELECT * FROM blocks \
         WHERE (changed, key) > (?1, ?2) AND until_ms > ?3 ORDER BY changed, key LIMIT ?4) b ON true \
         ORDER BY b.changed, b.key"
    );
    BlockPage "block_page" = concat!(
        "SELECT ",
        block_columns!(),
        " FROM blocks b WHERE b.id < ?1 AND b.until_ms > ?2 AND b.lifted_ms IS NULL ORDER BY b.id DESC LIMIT ?3"
    );
    BlockPageOfClass "block_page_of_class" = concat!(
        "SELECT ",
        block_columns!(),
        " FROM blocks b WHERE b.class = ?4 AND b.id < ?1 AND b.until_ms > ?2 AND b.lifted_ms IS NULL \
         ORDER BY b.id DESC LIMIT ?3"
    );
    BlockTrim "block_trim" =
        "DELETE FROM blocks WHERE key IN \
         (SELECT key FROM blocks WHERE until_ms < ?1 ORDER BY until_ms LIMIT ?2)";
    CounterNext "counter_next" = "UPDATE invalidation_counter SET seq = seq + 1 RETURNING seq";
    InvalidationInsert "invalidation_insert" =
        "INSERT INTO invalidations (seq, kind, subject, created_ms) VALUES (?1, ?2, ?3, ?4)";
    LogAfter "log_after" =
        "SELECT c.seq, i.seq, i.kind, i.subject, i.created_ms FROM invalidation_counter c \
         LEFT JOIN (SELECT seq, kind, subject, created_ms FROM invalidations \
         WHERE seq > ?1 ORDER BY seq LIMIT ?2) i ON true ORDER BY i.seq";
    Probe "probe" = "SELECT seq FROM invalidation_counter";
    InvalidationTrim "invalidation_trim" =
        "DELETE FROM invalidations WHERE seq IN \
         (SELECT seq FROM invalidations WHERE created_ms < ?1 ORDER BY created_ms LIMIT ?2)";
    InstanceInsert "instance_insert" =
        "INSERT INTO instance (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING";
    InstanceGet "instance_get" = "SELECT value FROM instance WHERE key = ?1";
    InstanceReplace "instance_replace" =
        "INSERT INTO instance (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    SessionDeleteEvery "session_delete_every" = "DELETE FROM sessions";
    // The names of ended sessions are hashes by the old key and of no use. So a session of an outside provider that
    // ended here may be opened again, by tokens that the provider issues after this.
    EndingDeleteEvery "ending_delete_every" = "DELETE FROM ended_external_sessions";
    // Keys of blocks are hashes by the old key too: nobody is refused because of them any more.
    BlockDeleteEvery "block_delete_every" = "DELETE FROM blocks";
    SignOutEvery "sign_out_every" =
        "UPDATE users SET signed_out_ms = max(signed_out_ms, CAST(unixepoch('subsec') * 1000 AS INTEGER)) \
         WHERE id IN (SELECT user_id FROM identities)";
}
