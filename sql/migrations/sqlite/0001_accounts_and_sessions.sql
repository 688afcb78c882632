-- Accounts, sessions and the log of what became stale: the same tables as in PostgreSQL.
-- Times are whole milliseconds since 1970-01-01T00:00:00Z; identifiers are the 16 bytes of a UUID.

CREATE TABLE users (
    id              BLOB    NOT NULL PRIMARY KEY,
    email           TEXT    NOT NULL,
    email_key       TEXT    NOT NULL UNIQUE,
    email_verified  INTEGER NOT NULL CHECK (email_verified IN (0, 1)),
    password_hash   TEXT    NOT NULL,
    role            TEXT    NOT NULL,
    disabled        INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    username        TEXT,
    first_name      TEXT,
    last_name       TEXT,
    image_url       TEXT,
    timezone        TEXT,
    locale          TEXT,
    settings        TEXT    NOT NULL,
    -- Raised by every change of password or access; a session is opened only at the epoch that was checked.
    auth_epoch      INTEGER NOT NULL,
    created_ms      INTEGER NOT NULL,
    updated_ms      INTEGER NOT NULL,
    last_active_ms  INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX users_administrators ON users (id) WHERE role = 'admin' AND disabled = 0;

-- Kept in the order of the token's hash: the look-up of every uncached request is one descent of one tree.
CREATE TABLE sessions (
    token_hash           BLOB    NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
    id                   BLOB    NOT NULL UNIQUE,
    user_id              BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    previous_token_hash  BLOB    CHECK (length(previous_token_hash) = 32),
    rotated_ms           INTEGER,
    created_ms           INTEGER NOT NULL,
    expires_ms           INTEGER NOT NULL,
    provider             TEXT    NOT NULL,
    CHECK ((previous_token_hash IS NULL) = (rotated_ms IS NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX sessions_previous_token_hash ON sessions (previous_token_hash)
    WHERE previous_token_hash IS NOT NULL;
CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_expires_ms ON sessions (expires_ms);

-- What changes while a session is used, apart from what does not.
CREATE TABLE session_activity (
    session_id    BLOB    NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    last_seen_ms  INTEGER NOT NULL,
    device        TEXT    NOT NULL,
    user_agent    TEXT    NOT NULL,
    ip            TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE invalidation_counter (
    one_row  INTEGER PRIMARY KEY CHECK (one_row = 1),
    seq      INTEGER NOT NULL
) STRICT;
INSERT INTO invalidation_counter VALUES (1, 0);

CREATE TABLE invalidations (
    seq         INTEGER PRIMARY KEY,
    kind        TEXT    NOT NULL CHECK (kind IN ('session', 'user')),
    subject     BLOB    NOT NULL,
    created_ms  INTEGER NOT NULL
) STRICT;
CREATE INDEX invalidations_created_ms ON invalidations (created_ms);

-- Facts about this installation.
CREATE TABLE instance (
    key    TEXT NOT NULL PRIMARY KEY,
    value  BLOB NOT NULL
) STRICT, WITHOUT ROWID;
