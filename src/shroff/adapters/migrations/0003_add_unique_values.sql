-- From version 2: the values of unique fields are known, and a label may wait for one. The next program that writes
-- fills them in from the events.

-- The values of fields declared unique, as texts, each with the place of the one event that has it.
CREATE TABLE unique_values (
    type  TEXT    NOT NULL,
    field TEXT    NOT NULL,
    value TEXT    NOT NULL,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (type, field, value)
) WITHOUT ROWID;

-- The fields whose values, of all events of the log, stand in unique_values. `form`: what texts the values are.
CREATE TABLE unique_fields (
    type  TEXT NOT NULL,
    field TEXT NOT NULL,
    form  TEXT NOT NULL,
    PRIMARY KEY (type, field)
) WITHOUT ROWID;

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
    raw        BLOB NOT NULL,
    field      TEXT NOT NULL
);
INSERT INTO waiting_labels (number, event_type, event_id, id, body, source, place, raw, field)
    SELECT number, event_type, event_id, id, body, source, place, raw, '' FROM earlier_waiting_labels ORDER BY number;
DROP TABLE earlier_waiting_labels;
CREATE INDEX waiting_labels_by_event ON waiting_labels (event_type, event_id);
