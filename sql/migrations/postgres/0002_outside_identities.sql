-- Users and sessions of outside identity providers, where sessions are used from, and security events.
-- Nothing is rewritten: columns are added with constant defaults, and indexes on new tables only. A user of an outside
-- provider has the empty text as password_hash and, without an address, as email; the email_key is then
-- 'external:' and the user's id, which is no address and so can be nobody else's.

-- Tokens of outside providers issued before this open no session.
ALTER TABLE phoenix.users ADD COLUMN signed_out_ms bigint NOT NULL DEFAULT 0;

-- The provider's name of the session; null for a session with a token of ours.
ALTER TABLE phoenix.sessions ADD COLUMN external_id text;

-- No index may mention these either: both change with last_seen_ms or never.
ALTER TABLE phoenix.session_activity ADD COLUMN last_ip inet, ADD COLUMN fingerprint bytea;

CREATE TABLE phoenix.identities (
    issuer   text NOT NULL,
    subject  text NOT NULL,
    user_id  uuid NOT NULL REFERENCES phoenix.users (id) ON DELETE CASCADE,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_user_id ON phoenix.identities (user_id);

-- Sessions of outside providers that ended here: their tokens, which we cannot take back, open them no more.
CREATE TABLE phoenix.ended_external_sessions (
    token_hash  bytea  PRIMARY KEY CHECK (length(token_hash) = 32),
    ended_ms    bigint NOT NULL
);
CREATE INDEX ended_external_sessions_ended_ms ON phoenix.ended_external_sessions (ended_ms);

CREATE TABLE phoenix.webhook_deliveries (
    id           text   PRIMARY KEY,
    received_ms  bigint NOT NULL
);
CREATE INDEX webhook_deliveries_received_ms ON phoenix.webhook_deliveries (received_ms);

-- The id is ordered by time. What happened is kept when the session or the account is gone.
CREATE TABLE phoenix.security_events (
    id          uuid   PRIMARY KEY,
    at_ms       bigint NOT NULL,
    kind        text   NOT NULL,
    user_id     uuid   NOT NULL,
    session_id  uuid,
    ip          inet,
    detail      text   NOT NULL
);
CREATE INDEX security_events_user_id ON phoenix.security_events (user_id, id);
CREATE INDEX security_events_at_ms ON phoenix.security_events (at_ms);
