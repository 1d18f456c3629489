-- From version 4: what sinks would not take is kept, with the reason; personal values lie beside their events; so
-- do events that came too late; and old records and decisions may move to the lake.

-- What sinks would not take, until somebody drops it or it is taken after all. `body` and `fields` are JSON, `at_ms` is
-- when it was last refused, `is_due` whether it is to be tried again.
CREATE TABLE stuck (
    sink     TEXT    NOT NULL,
    seq      INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    event    TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    outcome  TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    fields   TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    attempts INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    is_due   INTEGER NOT NULL,
    PRIMARY KEY (sink, seq, number)
) WITHOUT ROWID;

-- What lies beside events until it is erased: no fold reads it.
CREATE TABLE personal (
    type  TEXT NOT NULL,
    id    TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (type, id, field)
) WITHOUT ROWID;

-- Events that came too late for a source which keeps them: without a place, and in no window. `at_ms` is when they came.
CREATE TABLE late_events (
    type    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    time_ms INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (type, id)
) WITHOUT ROWID;

-- Up to which place records and decisions have moved to the lake; one row.
CREATE TABLE pruned (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL
);
INSERT INTO pruned (one, seq) VALUES (1, 0);

-- The places of what has moved, by 16 bytes that stand for type and id: an id is remembered for ever.
CREATE TABLE pruned_ids (
    digest BLOB    NOT NULL PRIMARY KEY,
    seq    INTEGER NOT NULL
) WITHOUT ROWID;
