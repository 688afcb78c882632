//! Every statement that Phoenix runs on PostgreSQL, with its name. All names are qualified with the schema.
//! Columns are read by position in `rows.rs`.
//!
//! Locks are always taken in this order, so that no two transactions wait for each other: the administrators' lock,
//! an identity that is being made, users, then for each session in order of its id the session and its activity, what
//! is remembered of those that ended, and last the invalidation counter. The counter of blocks is the first lock of a
//! transaction that changes blocks, which takes no others.

use crate::columns::{block_columns, session_columns, user_columns};
use crate::statements::statements;

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

/// A user found through an identity, with the time up to which outside tokens open no session.
macro_rules! identity_owner {
    ($lock:literal) => {
        concat!(
            "SELECT ",
            user_columns!(),
            ", u.signed_out_ms FROM phoenix.identities i JOIN phoenix.users u ON u.id = i.user_id \
             WHERE i.issuer = $1 AND i.subject = $2",
            $lock
        )
    };
}

/// Ends the sessions that `$which` selects, in order of their ids, and remembers those of outside providers as ended
/// at `$at`. Returns the columns of `rows::ended`.
macro_rules! end_sessions {
    ($which:literal, $at:literal) => {
        concat!(
            "WITH doomed AS MATERIALIZED (SELECT s.id FROM phoenix.sessions s \
             JOIN phoenix.session_activity a ON a.session_id = s.id WHERE ",
            $which,
            "), gone AS (DELETE FROM phoenix.sessions d USING doomed WHERE d.id = doomed.id \
             RETURNING d.id, d.user_id, d.token_hash, d.external_id), \
             remembered AS (INSERT INTO phoenix.ended_external_sessions (token_hash, ended_ms) \
             SELECT token_hash, ",
            $at,
            "::int8 FROM gone WHERE external_id IS NOT NULL ORDER BY token_hash ON CONFLICT (token_hash) DO NOTHING) \
             SELECT g.id, g.external_id, i.issuer, i.subject FROM gone g LEFT JOIN LATERAL \
             (SELECT n.issuer, n.subject FROM phoenix.identities n WHERE n.user_id = g.user_id \
             AND g.external_id IS NOT NULL ORDER BY n.issuer, n.subject LIMIT 1) i ON true ORDER BY g.id"
        )
    };
}

/// A session and its activity, of the owner that `$source` selects, as $1 to $13.
macro_rules! insert_session {
    ($source:literal) => {
        concat!(
            "opened AS (INSERT INTO phoenix.sessions \
             (id, user_id, token_hash, created_ms, expires_ms, provider, external_id) \
             SELECT $1, $2, $3, $4, $5, $6, $13 ",
            $source,
            " RETURNING id) INSERT INTO phoenix.session_activity \
             (session_id, last_seen_ms, device, user_agent, ip, last_ip, fingerprint) \
             SELECT id, $7, $8, $9, $10, $11, $12 FROM opened"
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
        "UPDATE phoenix.users SET role = $2, disabled = $3, auth_epoch = auth_epoch + 1, updated_ms = $4, \
         signed_out_ms = CASE WHEN $3 THEN greatest(signed_out_ms, $4) ELSE signed_out_ms END WHERE id = $1";
    UserSignedOut "user_signed_out" =
        "UPDATE phoenix.users SET signed_out_ms = greatest(signed_out_ms, $2) WHERE id = $1";
    OwnerLock "owner_lock" =
        "SELECT 1 FROM phoenix.users WHERE id = $1 AND auth_epoch = $2 AND NOT disabled FOR NO KEY UPDATE";
    SessionsBeyondCap "sessions_beyond_cap" =
        "SELECT s.id FROM phoenix.sessions s JOIN phoenix.session_activity a ON a.session_id = s.id \
         WHERE s.user_id = $1 AND s.id <> $2 AND s.expires_ms > $3 AND a.last_seen_ms >= $4 \
         ORDER BY s.created_ms DESC, s.id DESC OFFSET $5";
    SessionOpen "session_open" = concat!(
        "WITH owner AS (UPDATE phoenix.users SET last_active_ms = greatest(last_active_ms, $4) \
         WHERE id = $2 AND auth_epoch = $14 AND NOT disabled RETURNING id), ",
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
    RecentlyUsed "recently_used" = concat!(
        "WITH latest AS MATERIALIZED (SELECT session_id FROM phoenix.session_activity \
         ORDER BY last_seen_ms DESC, session_id DESC LIMIT $1) SELECT ",
        user_columns!(),
        ", ",
        session_columns!(),
        ", s.token_hash FROM latest l JOIN phoenix.sessions s ON s.id = l.session_id \
         JOIN phoenix.session_activity a ON a.session_id = l.session_id JOIN phoenix.users u ON u.id = s.user_id \
         ORDER BY a.last_seen_ms DESC, s.id DESC"
    );
    SessionRotate "session_rotate" =
        "UPDATE phoenix.sessions SET previous_token_hash = token_hash, token_hash = $2, rotated_ms = $3 \
         WHERE token_hash = $1 AND external_id IS NULL RETURNING id";
    SessionReplaced "session_replaced" =
        "SELECT id, user_id, token_hash, rotated_ms FROM phoenix.sessions \
         WHERE previous_token_hash = $1 AND previous_token_hash IS NOT NULL FOR UPDATE";
    SessionDelete "session_delete" = "DELETE FROM phoenix.sessions WHERE id = $1";
    SessionEndEach "session_end_each" =
        end_sessions!("s.id = ANY ($1) ORDER BY s.id FOR UPDATE OF s, a", "$2");
    SessionEndOwn "session_end_own" =
        end_sessions!("s.id = $1 AND s.user_id = $2 FOR UPDATE OF s, a", "$3");
    SessionEndOthers "session_end_others" =
        end_sessions!("s.user_id = $1 AND s.id <> $2 ORDER BY s.id FOR UPDATE OF s, a", "$3");
    SessionEndAll "session_end_all" =
        end_sessions!("s.user_id = $1 ORDER BY s.id FOR UPDATE OF s, a", "$2");
    SessionEndPassword "session_end_password" = end_sessions!(
        "s.user_id = $1 AND s.provider = 'password' ORDER BY s.id FOR UPDATE OF s, a", "$2"
    );
    ActivityRecord "activity_record" =
        "WITH latest AS MATERIALIZED (SELECT t.id, t.at_ms, t.ip, t.ip_ms \
         FROM unnest($1::uuid[], $2::int8[], $3::inet[], $4::int8[]) AS t (id, at_ms, ip, ip_ms)), \
         locked AS MATERIALIZED (SELECT a.session_id, l.at_ms, l.ip, l.ip_ms FROM phoenix.session_activity a \
         JOIN latest l ON l.id = a.session_id WHERE a.last_seen_ms < l.at_ms \
         OR (a.last_seen_ms <= l.ip_ms AND a.last_ip IS DISTINCT FROM l.ip) \
         ORDER BY a.session_id FOR NO KEY UPDATE OF a) \
         UPDATE phoenix.session_activity a SET last_seen_ms = greatest(a.last_seen_ms, l.at_ms), \
         last_ip = CASE WHEN a.last_seen_ms <= l.ip_ms THEN l.ip ELSE a.last_ip END FROM locked l \
         WHERE a.session_id = l.session_id AND (a.last_seen_ms < l.at_ms \
         OR (a.last_seen_ms <= l.ip_ms AND a.last_ip IS DISTINCT FROM l.ip))";
    UserActive "user_active" =
        "WITH latest AS MATERIALIZED (SELECT t.id, t.at_ms \
         FROM unnest($1::uuid[], $2::int8[]) AS t (id, at_ms)), \
         locked AS MATERIALIZED (SELECT u.id, l.at_ms FROM phoenix.users u \
         JOIN latest l ON l.id = u.id WHERE coalesce(u.last_active_ms < l.at_ms, true) \
         ORDER BY u.id FOR NO KEY UPDATE OF u) \
         UPDATE phoenix.users u SET last_active_ms = l.at_ms FROM locked l \
         WHERE u.id = l.id AND coalesce(u.last_active_ms < l.at_ms, true)";
    ExpiredDelete "expired_delete" = end_sessions!(
        "s.expires_ms <= $1 ORDER BY s.expires_ms LIMIT $2 FOR UPDATE OF s, a SKIP LOCKED", "$1"
    );
    IdleScan "idle_scan" =
        "WITH part AS MATERIALIZED (SELECT session_id, last_seen_ms FROM phoenix.session_activity \
         WHERE session_id > $1 ORDER BY session_id LIMIT $2) \
         SELECT ARRAY(SELECT session_id FROM part WHERE last_seen_ms < $3 ORDER BY session_id LIMIT $4), \
         (SELECT count(*) FROM part), (SELECT session_id FROM part ORDER BY session_id DESC LIMIT 1)";
    IdleDelete "idle_delete" = end_sessions!(
        "s.id = ANY ($1) AND a.last_seen_ms < $2 ORDER BY s.id FOR UPDATE OF s, a SKIP LOCKED", "$3"
    );
    IdentityOwner "identity_owner" = identity_owner!("");
    IdentityOwnerLock "identity_owner_lock" = identity_owner!(" FOR NO KEY UPDATE OF u");
    IdentitiesOfUser "identities_of_user" =
        "SELECT issuer, subject FROM phoenix.identities WHERE user_id = $1 ORDER BY issuer, subject";
    // The identity is checked for its user only when the statement ends: who loses the race leaves no user behind.
    IdentityInsert "identity_insert" =
        "WITH made AS (INSERT INTO phoenix.identities (issuer, subject, user_id) VALUES ($1, $2, $3) \
         ON CONFLICT (issuer, subject) DO NOTHING RETURNING user_id) \
         INSERT INTO phoenix.users (id, email, email_key, email_verified, password_hash, role, disabled, username, \
         first_name, last_name, image_url, timezone, locale, settings, auth_epoch, created_ms, updated_ms) \
         SELECT user_id, $4, $5, $6, '', $7, false, $8, $9, $10, $11, $12, $13, '{}', 0, $14, $14 FROM made";
    IdentityUpdate "identity_update" =
        "UPDATE phoenix.users u SET email = $3, email_verified = $4, username = $5, \
         first_name = coalesce($6, u.first_name), last_name = coalesce($7, u.last_name), \
         image_url = coalesce($8, u.image_url), timezone = coalesce($9, u.timezone), \
         locale = coalesce($10, u.locale), updated_ms = $11 \
         FROM phoenix.identities i WHERE i.issuer = $1 AND i.subject = $2 AND u.id = i.user_id \
         AND u.updated_ms <= $11 AND (u.email, u.email_verified, u.username, u.first_name, u.last_name, u.image_url, u.timezone, u.locale) \
         IS DISTINCT FROM ($3, $4, $5, coalesce($6, u.first_name), coalesce($7, u.last_name), \
         coalesce($8, u.image_url), coalesce($9, u.timezone), coalesce($10, u.locale)) RETURNING u.id";
    ExternalEnded "external_ended" =
        "SELECT EXISTS (SELECT 1 FROM phoenix.ended_external_sessions WHERE token_hash = $1)";
    ExternalOpen "external_open" = concat!(
        "WITH owner AS (UPDATE phoenix.users SET last_active_ms = greatest(last_active_ms, $4) \
         WHERE id = $2 RETURNING id), ",
        insert_session!("FROM owner ON CONFLICT (token_hash) DO NOTHING")
    );
    ExternalOpened "external_opened" = active_session!(
        "s.token_hash = $1 AND NOT EXISTS \
         (SELECT 1 FROM phoenix.ended_external_sessions e WHERE e.token_hash = s.token_hash)"
    );
    DeliveryInsert "delivery_insert" =
        "INSERT INTO phoenix.webhook_deliveries (id, received_ms) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    DeliveryFind "delivery_find" =
        "SELECT EXISTS (SELECT 1 FROM phoenix.webhook_deliveries WHERE id = $1)";
    DeliveryTrim "delivery_trim" =
        "DELETE FROM phoenix.webhook_deliveries WHERE id = ANY (ARRAY(SELECT id FROM phoenix.webhook_deliveries \
         WHERE received_ms < $1 ORDER BY received_ms LIMIT $2 FOR UPDATE SKIP LOCKED))";
    EndingTrim "ending_trim" =
        "DELETE FROM phoenix.ended_external_sessions WHERE token_hash = ANY (ARRAY(SELECT token_hash \
         FROM phoenix.ended_external_sessions WHERE ended_ms < $1 ORDER BY ended_ms LIMIT $2 \
         FOR UPDATE SKIP LOCKED))";
    EventInsert "event_insert" =
        "INSERT INTO phoenix.security_events (id, at_ms, kind, user_id, session_id, ip, detail) \
         SELECT * FROM unnest($1::uuid[], $2::int8[], $3::text[], $4::uuid[], $5::uuid[], $6::inet[], $7::text[]) \
         AS t (id, at_ms, kind, user_id, session_id, ip, detail) ORDER BY t.id ON CONFLICT (id) DO NOTHING";
    EventPage "event_page" =
        "SELECT id, at_ms, kind, user_id, session_id, ip, detail FROM phoenix.security_events \
         WHERE id < $1 ORDER BY id DESC LIMIT $2";
    EventPageOfUser "event_page_of_user" =
        "SELECT id, at_ms, kind, user_id, session_id, ip, detail FROM phoenix.security_events \
         WHERE user_id = $3 AND id < $1 ORDER BY id DESC LIMIT $2";
    EventTrim "event_trim" =
        "DELETE FROM phoenix.security_events WHERE id = ANY (ARRAY(SELECT id FROM phoenix.security_events \
         WHERE at_ms < $1 ORDER BY at_ms LIMIT $2 FOR UPDATE SKIP LOCKED))";
    BlockCounterNext "block_counter_next" =
        "UPDATE phoenix.block_counter SET seq = seq + 1 RETURNING seq";
    // A running block stays, unless an administrator replaces it; nothing replaces itself, also when it was lifted.
    BlockPut "block_put" =
        "INSERT INTO phoenix.blocks AS b \
         (key, id, class, subject, cause, reason, since_ms, until_ms, made_by, changed) \
         SELECT t.key, t.id, t.class, t.subject, t.cause, t.reason, t.since_ms, t.until_ms, t.made_by, $10::int8 \
         FROM unnest($1::bytea[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int8[], $8::int8[], \
         $9::uuid[]) AS t (key, id, class, subject, cause, reason, since_ms, until_ms, made_by) ORDER BY t.key \
         ON CONFLICT (key) DO UPDATE SET id = excluded.id, class = excluded.class, subject = excluded.subject, \
         cause = excluded.cause, reason = excluded.reason, since_ms = excluded.since_ms, \
         until_ms = excluded.until_ms, made_by = excluded.made_by, lifted_ms = NULL, changed = excluded.changed \
         WHERE b.id <> excluded.id AND (excluded.cause = 'administrator' \
         OR coalesce(b.lifted_ms, b.until_ms) <= excluded.since_ms)";
    BlockLift "block_lift" = concat!(
        "UPDATE phoenix.blocks b SET lifted_ms = $2, changed = $3 \
         WHERE b.id = $1 AND b.lifted_ms IS NULL AND b.until_ms > $2 RETURNING ",
        block_columns!()
    );
    BlockLiftKeys "block_lift_keys" =
        "UPDATE phoenix.blocks SET lifted_ms = $2, changed = $3 \
         WHERE key = ANY ($1) AND lifted_ms IS NULL AND until_ms > $2";
    BlockLiftEvery "block_lift_every" =
        "UPDATE phoenix.blocks SET lifted_ms = $1, changed = $3 WHERE key = ANY (ARRAY(SELECT key \
         FROM phoenix.blocks WHERE until_ms > $1 AND lifted_ms IS NULL ORDER BY until_ms LIMIT $2))";
    BlocksSince "blocks_since" = concat!(
        "SELECT ",
        block_columns!(),
        ", c.seq FROM phoenix.block_counter c LEFT JOIN LATERAL (SELECT * FROM phoenix.blocks \
         WHERE (changed, key) > ($1, $2) AND until_ms > $3 ORDER BY changed, key LIMIT $4) b ON true \
         ORDER BY b.changed, b.key"
    );
    BlockPage "block_page" = concat!(
        "SELECT ",
        block_columns!(),
        " FROM phoenix.blocks b WHERE b.id < $1 AND b.until_ms > $2 AND b.lifted_ms IS NULL \
         ORDER BY b.id DESC LIMIT $3"
    );
    BlockPageOfClass "block_page_of_class" = concat!(
        "SELECT ",
        block_columns!(),
        " FROM phoenix.blocks b WHERE b.class = $4 AND b.id < $1 AND b.until_ms > $2 AND b.lifted_ms IS NULL \
         ORDER BY b.id DESC LIMIT $3"
    );
    BlockTrim "block_trim" =
        "DELETE FROM phoenix.blocks WHERE key = ANY (ARRAY(SELECT key FROM phoenix.blocks \
         WHERE until_ms < $1 ORDER BY until_ms LIMIT $2 FOR UPDATE SKIP LOCKED))";
    InvalidationAppend "invalidation_append" =
        "WITH counter AS (UPDATE phoenix.invalidation_counter SET seq = seq + cardinality($2::uuid[]) RETURNING seq) \
         INSERT INTO phoenix.invalidations (seq, kind, subject, created_ms) \
         SELECT c.seq - cardinality($2::uuid[]) + t.number, t.kind, t.subject, $3 FROM counter c, \
         unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS t (kind, subject, number) ORDER BY t.number RETURNING seq";
    // The last column, at `rows::STANDBY`: a standby shows how the log was a while ago.
    LogAfter "log_after" =
        "SELECT c.seq, i.seq, i.kind, i.subject, i.created_ms, pg_is_in_recovery() FROM phoenix.invalidation_counter c \
         LEFT JOIN LATERAL (SELECT seq, kind, subject, created_ms FROM phoenix.invalidations \
         WHERE seq > $1 ORDER BY seq LIMIT $2) i ON true ORDER BY i.seq";
    // Leaves a hole in the log, which says that anything before it may be stale.
    CounterSkip "counter_skip" = "UPDATE phoenix.invalidation_counter SET seq = seq + 1";
    Notify "notify" = "SELECT pg_notify($1, $2)";
    InvalidationTrim "invalidation_trim" =
        "DELETE FROM phoenix.invalidations WHERE seq = ANY (ARRAY(SELECT seq FROM phoenix.invalidations \
         WHERE created_ms < $1 ORDER BY created_ms LIMIT $2 FOR UPDATE SKIP LOCKED))";
    InstanceInsert "instance_insert" =
        "INSERT INTO phoenix.instance (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
    InstanceGet "instance_get" = "SELECT value FROM phoenix.instance WHERE key = $1";
    InstanceReplace "instance_replace" =
        "INSERT INTO phoenix.instance (key, value) VALUES ($1, $2) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    // The names of ended sessions are hashes by the old key and of no use. So a session of an outside provider that
    // ended here may be opened again, by tokens that the provider issues after this.
    SessionDeleteEvery "session_delete_every" =
        "TRUNCATE phoenix.sessions, phoenix.session_activity, phoenix.ended_external_sessions";
    // Keys of blocks are hashes by the old key too: nobody is refused because of them any more.
    BlockDeleteEvery "block_delete_every" = "TRUNCATE phoenix.blocks";
    SignOutEvery "sign_out_every" =
        "UPDATE phoenix.users SET signed_out_ms = \
         greatest(signed_out_ms, (extract(epoch FROM clock_timestamp()) * 1000)::int8) \
         WHERE id IN (SELECT user_id FROM phoenix.identities)";
}
