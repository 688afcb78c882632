-- Accounts, sessions and the log of what became stale. Everything lives in schema phoenix; every name is
-- qualified, so neither search_path nor an application's own tables of the same name matter.
-- Times are whole milliseconds since 1970-01-01T00:00:00Z, as in the embedded database.

CREATE TABLE phoenix.users (
    id              uuid    PRIMARY KEY,
    email           text    NOT NULL,
    email_key       text    NOT NULL CONSTRAINT users_email_key UNIQUE,
    email_verified  boolean NOT NULL,
    password_hash   text    NOT NULL,
    role            text    NOT NULL,
    disabled        boolean NOT NULL,
    username        text,
    first_name      text,
    last_name       text,
    image_url       text,
    timezone        text,
    locale          text,
    settings        text    NOT NULL,
    -- Raised by every change of password or access; a session is opened only at the epoch that was checked.
    auth_epoch      bigint  NOT NULL,
    created_ms      bigint  NOT NULL,
    updated_ms      bigint  NOT NULL,
    last_active_ms  bigint
) WITH (fillfactor = 80);  -- room for last_active_ms, which no index mentions: its updates stay on their page

-- Literal predicate, as in the statement that uses it: a generic plan cannot prove a parameter.
CREATE INDEX users_administrators ON phoenix.users (id) WHERE role = 'admin' AND NOT disabled;

CREATE TABLE phoenix.sessions (
    id                   uuid   PRIMARY KEY,
    user_id              uuid   NOT NULL REFERENCES phoenix.users (id) ON DELETE CASCADE,
    token_hash           bytea  NOT NULL CHECK (length(token_hash) = 32),
    previous_token_hash  bytea  CHECK (length(previous_token_hash) = 32),
    rotated_ms           bigint,
    created_ms           bigint NOT NULL,
    expires_ms           bigint NOT NULL,
    provider             text   NOT NULL,
    CHECK ((previous_token_hash IS NULL) = (rotated_ms IS NULL))
) WITH (
    -- Rows are written once and rarely rotated. Vacuum after few inserts keeps the look-up index-only.
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_vacuum_scale_factor = 0.02
);

-- The look-up of every uncached request is answered from this index alone.
CREATE UNIQUE INDEX sessions_token_hash ON phoenix.sessions (token_hash)
    INCLUDE (id, user_id, created_ms, expires_ms, provider);
CREATE UNIQUE INDEX sessions_previous_token_hash ON phoenix.sessions (previous_token_hash)
    WHERE previous_token_hash IS NOT NULL;
CREATE INDEX sessions_user_id ON phoenix.sessions (user_id);
CREATE INDEX sessions_expires_ms ON phoenix.sessions (expires_ms);

-- What changes while a session is used, apart from what does not. No index may mention last_seen_ms: an update
-- that touches no index is heap-only (measured: half the WAL, no index growth).
CREATE TABLE phoenix.session_activity (
    session_id    uuid   PRIMARY KEY REFERENCES phoenix.sessions (id) ON DELETE CASCADE,
    last_seen_ms  bigint NOT NULL,
    device        text   NOT NULL,
    user_agent    text   NOT NULL,
    ip            inet
) WITH (
    fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 1
);

-- One row. Its lock is held from the increment to the commit, so sequence order is commit order.
CREATE TABLE phoenix.invalidation_counter (
    one_row  boolean PRIMARY KEY CHECK (one_row),
    seq      bigint  NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
INSERT INTO phoenix.invalidation_counter VALUES (true, 0);

CREATE TABLE phoenix.invalidations (
    seq         bigint PRIMARY KEY,
    kind        text   NOT NULL CHECK (kind IN ('session', 'user')),
    subject     uuid   NOT NULL,
    created_ms  bigint NOT NULL
);
CREATE INDEX invalidations_created_ms ON phoenix.invalidations (created_ms);

-- Facts about this installation.
CREATE TABLE phoenix.instance (
    key    text  PRIMARY KEY,
    value  bytea NOT NULL
);
-- Locked by a change that could take away the last administrator, so that two of them take turns.
INSERT INTO phoenix.instance VALUES ('administrators_lock', '');
