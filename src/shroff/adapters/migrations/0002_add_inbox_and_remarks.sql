-- From version 1: single records come in beside a writer, what aggregates cannot hold is remembered, and a label that
-- waits keeps what it was read from.

-- What other processes ask of the one that writes, numbered in the order of arrival; AUTOINCREMENT, so that a number
-- never means another request later. `body` and `reply` are JSON, `at_ms` is when it was asked. With its reply, NULL
-- before, a request loses its body.
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind   TEXT    NOT NULL,
    body   TEXT    NOT NULL,
    at_ms  INTEGER NOT NULL,
    reply  TEXT
);
CREATE INDEX inbox_waiting ON inbox (number) WHERE reply IS NULL;

-- What people should be told of the values of aggregates: how often, and at which events first and last. `what`: "value
-- left out" or "sum outside 64 bits". `asker`: the feature or the rule.
CREATE TABLE remarks (
    what      TEXT    NOT NULL,
    asker     TEXT    NOT NULL,
    count     INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    first_ms  INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    last_ms   INTEGER NOT NULL,
    PRIMARY KEY (what, asker)
) WITHOUT ROWID;

-- What a label that waits was read from. Of those that wait already it is not known: they get a name of their own.
ALTER TABLE waiting_labels RENAME TO earlier_waiting_labels;
DROP INDEX waiting_labels_by_event;
CREATE TABLE waiting_labels (
    number     INTEGER PRIMARY KEY,
    event_type TEXT NOT NULL,
    event_id   TEXT NOT NULL,
    id         TEXT NOT NULL UNIQUE,
    body       TEXT NOT NULL,
    source     TEXT NOT NULL,
    place      TEXT NOT NULL,
    raw        BLOB NOT NULL
);
INSERT INTO waiting_labels (number, event_type, event_id, id, body, source, place, raw)
    SELECT number, event_type, event_id, id, body, 'waiting labels', event_type || '/' || event_id, CAST(body AS BLOB)
    FROM earlier_waiting_labels ORDER BY number;
DROP TABLE earlier_waiting_labels;
CREATE INDEX waiting_labels_by_event ON waiting_labels (event_type, event_id);
