-- Blocks: who is refused until when, so that a lock-out outlives the memory of every node and Redis. New tables only.

-- One row. Its lock is held from the increment to the commit, so the order of numbers is the order of commits. It also
-- makes all who write blocks take turns.
CREATE TABLE phoenix.block_counter (
    one_row  boolean PRIMARY KEY CHECK (one_row),
    seq      bigint  NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
INSERT INTO phoenix.block_counter VALUES (true, 0);

-- The latest block of each key, running, ended or lifted. A key is a keyed hash; subject is a text for administrators,
-- in which an account's address is shortened.
CREATE TABLE phoenix.blocks (
    key        bytea  PRIMARY KEY CHECK (length(key) = 16),
    id         uuid   NOT NULL CONSTRAINT blocks_id_key UNIQUE,
    class      text   NOT NULL,
    subject    text   NOT NULL,
    cause      text   NOT NULL CHECK (cause IN ('limit', 'administrator')),
    reason     text   NOT NULL,
    since_ms   bigint NOT NULL,
    until_ms   bigint NOT NULL,
    made_by    uuid,
    lifted_ms  bigint,
    changed    bigint NOT NULL
);
CREATE INDEX blocks_changed ON phoenix.blocks (changed, key);
CREATE INDEX blocks_class ON phoenix.blocks (class, id);
CREATE INDEX blocks_until_ms ON phoenix.blocks (until_ms);
