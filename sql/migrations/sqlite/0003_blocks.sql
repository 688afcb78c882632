-- Blocks: who is refused until when, so that a lock-out outlives the process: the same tables as in PostgreSQL.

CREATE TABLE block_counter (
    one_row  INTEGER PRIMARY KEY CHECK (one_row = 1),
    seq      INTEGER NOT NULL
) STRICT;
INSERT INTO block_counter VALUES (1, 0);

-- The latest block of each key, running, ended or lifted. A key is a keyed hash; subject is a text for administrators,
-- in which an account's address is shortened.
CREATE TABLE blocks (
    key        BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 16),
    id         BLOB    NOT NULL UNIQUE,
    class      TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    cause      TEXT    NOT NULL CHECK (cause IN ('limit', 'administrator')),
    reason     TEXT    NOT NULL,
    since_ms   INTEGER NOT NULL,
    until_ms   INTEGER NOT NULL,
    made_by    BLOB,
    lifted_ms  INTEGER,
    changed    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX blocks_changed ON blocks (changed, key);
CREATE INDEX blocks_class ON blocks (class, id);
CREATE INDEX blocks_until_ms ON blocks (until_ms);
