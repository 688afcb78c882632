-- Users and sessions of outside identity providers, where sessions are used from, and security events: the same as in
-- PostgreSQL. A user of an outside provider has the empty text as password_hash and, without an address, as email; the
-- email_key is then 'external:' and the user's id, which is no address and so can be nobody else's.

-- Tokens of outside providers issued before this open no session.
ALTER TABLE users ADD COLUMN signed_out_ms INTEGER NOT NULL DEFAULT 0;

-- The provider's name of the session; null for a session with a token of ours.
ALTER TABLE sessions ADD COLUMN external_id TEXT;

ALTER TABLE session_activity ADD COLUMN last_ip TEXT;
ALTER TABLE session_activity ADD COLUMN fingerprint BLOB;

CREATE TABLE identities (
    issuer   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    user_id  BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX identities_user_id ON identities (user_id);

-- Sessions of outside providers that ended here: their tokens, which we cannot take back, open them no more.
CREATE TABLE ended_external_sessions (
    token_hash  BLOB    NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
    ended_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ended_external_sessions_ended_ms ON ended_external_sessions (ended_ms);

CREATE TABLE webhook_deliveries (
    id           TEXT    NOT NULL PRIMARY KEY,
    received_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_deliveries_received_ms ON webhook_deliveries (received_ms);

-- The id is ordered by time. What happened is kept when the session or the account is gone.
CREATE TABLE security_events (
    id          BLOB    NOT NULL PRIMARY KEY,
    at_ms       INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    user_id     BLOB    NOT NULL,
    session_id  BLOB,
    ip          TEXT,
    detail      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX security_events_user_id ON security_events (user_id, id);
CREATE INDEX security_events_at_ms ON security_events (at_ms);
