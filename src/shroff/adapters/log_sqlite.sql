-- The tables of a log in one SQLite file, version 1 (PRAGMA user_version; see adapters/log/sqlite.py). A later version
-- comes with a script in migrations/ that gives the same tables.
-- They are meant to be read by people too: `body` and `document` are JSON text, so json_extract works; `Project.sql()`
-- shows records and decisions in frames among the others.
-- `crc` is a sum of a row's values, by which a row that has changed is found.
-- No STRICT: Python 3.11 is still found with SQLite 3.34, which lacks it.

-- One row for each place of the log. `kind`: event, label or control.
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY,
    kind    TEXT    NOT NULL,
    type    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    time_ms INTEGER NOT NULL,
    decided INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    crc     INTEGER NOT NULL
);
CREATE UNIQUE INDEX events_by_id ON events (type, id);

-- Records of a large batch, 256 or more together, in place of their rows: those at all places from `first_seq` to `seq`,
-- compressed. `labels` and `controls` of them are of these kinds. What `data` is says docs/reference/log-format.md.
CREATE TABLE event_frames (
    seq       INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    labels    INTEGER NOT NULL,
    controls  INTEGER NOT NULL,
    crc       INTEGER NOT NULL,
    data      BLOB    NOT NULL
);
CREATE INDEX event_frames_with_labels ON event_frames (seq) WHERE labels > 0;
CREATE INDEX event_frames_with_controls ON event_frames (seq) WHERE controls > 0;

-- The ids of the records in frames, as events_by_id has those of rows: as sorted runs, each the ids of one batch or of
-- several. `bits`: a run is cut into parts by so many first bits of its digests. `size`: how many ids it has. `filter`:
-- of a run of 262,144 ids and more, which is not written again, bits that tell most ids that it does not have. `crc` is
-- that of all other columns, for the filter by its own.
CREATE TABLE id_runs (
    run        INTEGER PRIMARY KEY,
    crc        INTEGER NOT NULL,
    bits       INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    last_seq   INTEGER NOT NULL,
    filter_crc INTEGER NOT NULL,
    filter     BLOB    NOT NULL
);

-- `part`: its run times 2^32, and the first bits. `data` has 22 bytes an id: the digest that pruned_ids has, and the place.
CREATE TABLE id_parts (
    part INTEGER PRIMARY KEY,
    data BLOB    NOT NULL,
    crc  INTEGER NOT NULL
);

-- The places of each key of an entity, by a hash of it. `part` below 2^48 is the last place of a batch: `data` has 16
-- bytes for each key at each of its events, hash and place. Others are made of those: 2^48 times the first six bits of
-- the hash and 1, and a number; `data` is the least place, 8 bytes, and 8 for each key: half of its hash, and how far
-- behind that. Numbers begin with the low byte. Keys of what was pruned stay.
CREATE TABLE key_parts (
    part INTEGER PRIMARY KEY,
    data BLOB    NOT NULL,
    crc  INTEGER NOT NULL
);

-- The first place of each batch, and when it was taken (ingest time).
CREATE TABLE batches (
    seq   INTEGER PRIMARY KEY,
    at_ms INTEGER
);

-- The values of fields declared unique, as texts, each with the place of the one event that has it.
CREATE TABLE unique_values (
    type  TEXT    NOT NULL,
    field TEXT    NOT NULL,
    value TEXT    NOT NULL,
    seq   INTEGER NOT NULL,
    crc   INTEGER NOT NULL,
    PRIMARY KEY (type, field, value)
) WITHOUT ROWID;

-- The fields whose values, of all events of the log, stand in unique_values. `form`: what texts the values are.
CREATE TABLE unique_fields (
    type  TEXT NOT NULL,
    field TEXT NOT NULL,
    form  TEXT NOT NULL,
    crc   INTEGER NOT NULL,
    PRIMARY KEY (type, field)
) WITHOUT ROWID;

-- The greatest time of the records of kind event, and the last place of the log; one row. The time is kept since finding
-- it would read the whole log, the place since a tail that all other tables have lost is noticed by nothing else.
CREATE TABLE watermark (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    time_ms  INTEGER,
    last_seq INTEGER NOT NULL DEFAULT 0
);
INSERT INTO watermark (one, time_ms) VALUES (1, NULL);

-- The decision about the event at `seq`; type and id are those of the event. `receipt` is a SHA-256.
CREATE TABLE decisions (
    seq      INTEGER PRIMARY KEY,
    outcome  TEXT NOT NULL,
    receipt  BLOB NOT NULL,
    document TEXT NOT NULL,
    crc      INTEGER NOT NULL
);

-- Decisions of a large batch, 256 or more together, in place of their rows: those at places from `first_seq` to `seq`,
-- compressed. `outcomes` has a line for each with its place and outcome; docs/reference/log-format.md says the rest.
CREATE TABLE decision_frames (
    seq       INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    outcomes  BLOB    NOT NULL,
    receipts  BLOB    NOT NULL,
    data      BLOB    NOT NULL,
    crc       INTEGER NOT NULL
);

-- `number` is the order within the batch.
CREATE TABLE flags (
    seq      INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    rule     TEXT    NOT NULL,
    entity   TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    event    TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    time_ms  INTEGER NOT NULL,
    accuracy TEXT    NOT NULL,
    crc      INTEGER NOT NULL,
    PRIMARY KEY (seq, number)
) WITHOUT ROWID;

CREATE TABLE hits (
    seq    INTEGER NOT NULL,
    number INTEGER NOT NULL,
    rule   TEXT    NOT NULL,
    key    TEXT,
    shadow INTEGER NOT NULL,
    crc    INTEGER NOT NULL,
    PRIMARY KEY (seq, number)
) WITHOUT ROWID;

-- Input that was not taken. AUTOINCREMENT, so that a number a person noted never means another entry later.
-- `digest`: BLAKE2b of `source`, `place`, `type` and `raw`, 16 bytes: a line that is read as event and as label has an
-- entry for each.
CREATE TABLE quarantine (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT    NOT NULL,
    place  TEXT    NOT NULL,
    type   TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    raw    BLOB    NOT NULL,
    at_ms  INTEGER NOT NULL,
    digest BLOB    NOT NULL UNIQUE,
    header TEXT    NOT NULL
);

-- Labels whose event is not in the log yet, numbered in the order of their arrival. With a `field`, a unique one,
-- `event_id` is its value. Where a label does not fit its event in the end, `source`, `place`, `raw` and `header` are
-- those of its entry in quarantine.
CREATE TABLE waiting_labels (
    number     INTEGER PRIMARY KEY,
    event_type TEXT NOT NULL,
    event_id   TEXT NOT NULL,
    id         TEXT NOT NULL UNIQUE,
    body       TEXT NOT NULL,
    source     TEXT NOT NULL,
    place      TEXT NOT NULL,
    raw        BLOB NOT NULL,
    field      TEXT NOT NULL,
    header     TEXT NOT NULL,
    crc        INTEGER NOT NULL
);
CREATE INDEX waiting_labels_by_event ON waiting_labels (event_type, event_id);

-- What still has to leave the program; a delivered row is removed.
CREATE TABLE outbox (
    seq    INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    body   TEXT    NOT NULL,
    crc    INTEGER NOT NULL,
    PRIMARY KEY (seq, number)
) WITHOUT ROWID;

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
    crc      INTEGER NOT NULL,
    PRIMARY KEY (sink, seq, number)
) WITHOUT ROWID;

-- What lies beside events until it is erased: no fold reads it.
CREATE TABLE personal (
    type  TEXT NOT NULL,
    id    TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    crc   INTEGER NOT NULL,
    PRIMARY KEY (type, id, field)
) WITHOUT ROWID;

-- Events that came too late for a source which keeps them: without a place, and in no window. `at_ms` is when they came.
CREATE TABLE late_events (
    type    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    time_ms INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,
    crc     INTEGER NOT NULL,
    PRIMARY KEY (type, id)
) WITHOUT ROWID;

CREATE TABLE offsets (
    source   TEXT NOT NULL,
    part     TEXT NOT NULL,
    "offset" TEXT NOT NULL,
    crc      INTEGER NOT NULL,
    PRIMARY KEY (source, part)
) WITHOUT ROWID;

-- Who leads: how many times the log was opened for writing; one row. Nothing of an earlier opening is committed.
CREATE TABLE lead (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL
);
INSERT INTO lead (one, epoch) VALUES (1, 0);

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
