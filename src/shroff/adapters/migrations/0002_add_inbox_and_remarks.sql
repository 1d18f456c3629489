-- From version 1: single records come in beside a writer, and what aggregates cannot hold is remembered.

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
