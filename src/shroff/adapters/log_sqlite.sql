-- Tables of a log in one SQLite file, version 1 (PRAGMA user_version; see adapters/log/sqlite.py). A later version adds a
-- script in migrations/ that makes the same tables.
-- People may read them too: `body` and `document` are JSON text, so json_extract works. `Project.sql()` also shows the
-- records and decisions in frames.
-- `crc`: checksum of the row's values, to detect a changed row.
-- Not STRICT, since Python 3.11 may come with SQLite 3.34, which lacks it.

-- One row for each record. `kind`: event, label or control.
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

-- 256 or more consecutive records, `first_seq` to `seq`, compressed; they have no row in `events`. `labels`, `controls`:
-- number of records of these kinds. `data`: see docs/reference/log-format.md.
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

-- Index of the ids in frames (events_by_id has those of rows): sorted runs, each with the ids of one or more batches.
-- `bits`: the run is cut into 2^bits parts by the first bits of its digests. `size`: number of ids. `filter`: Bloom
-- filter of a run of 262,144 or more ids, which is not written again. `crc` covers the other columns, the filter by
-- `filter_crc`.
CREATE TABLE id_runs (
    run        INTEGER PRIMARY KEY,
    crc        INTEGER NOT NULL,
    bits       INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    last_seq   INTEGER NOT NULL,
    filter_crc INTEGER NOT NULL,
    filter     BLOB    NOT NULL
);

-- `part`: run times 2^32, plus the first bits. `data`: 22 bytes an id, the digest as in pruned_ids and the sequence number.
CREATE TABLE id_parts (
    part INTEGER PRIMARY KEY,
    data BLOB    NOT NULL,
    crc  INTEGER NOT NULL
);

-- Index of keys: the sequence numbers of each key of an entity, by a hash of the key. All numbers are little-endian.
-- `part` below 2^48 is the last sequence number of a batch; `data` then has 16 bytes for each key of each event: hash and
-- sequence number. Such rows are merged into parts: `part` is 2^48 times (1 + the lowest six bits of the hash), plus a
-- number; `data` has the lowest sequence number (8 bytes), the number of keys (4), and the bytes of a count (1) and of a
-- distance (1); then half of each hash (4 bytes, ascending), the count of each key, and for each key the distances of its
-- sequence numbers from the lowest one. Keys of pruned records stay.
CREATE TABLE key_parts (
    part INTEGER PRIMARY KEY,
    data BLOB    NOT NULL,
    crc  INTEGER NOT NULL
);

-- First sequence number of each batch, and its ingest time.
CREATE TABLE batches (
    seq   INTEGER PRIMARY KEY,
    at_ms INTEGER
);

-- Values of unique fields as text, each with the sequence number of its only event.
CREATE TABLE unique_values (
    type  TEXT    NOT NULL,
    field TEXT    NOT NULL,
    value TEXT    NOT NULL,
    seq   INTEGER NOT NULL,
    crc   INTEGER NOT NULL,
    PRIMARY KEY (type, field, value)
) WITHOUT ROWID;

-- Fields of which unique_values has the values of all events. `form`: format of the texts.
CREATE TABLE unique_fields (
    type  TEXT NOT NULL,
    field TEXT NOT NULL,
    form  TEXT NOT NULL,
    crc   INTEGER NOT NULL,
    PRIMARY KEY (type, field)
) WITHOUT ROWID;

-- Greatest event time and last sequence number; one row. Finding the time would read the whole log; the sequence number
-- reveals a tail that all other tables have lost.
CREATE TABLE watermark (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    time_ms  INTEGER,
    last_seq INTEGER NOT NULL DEFAULT 0
);
INSERT INTO watermark (one, time_ms) VALUES (1, NULL);

-- Decision about the event `seq`. `receipt`: SHA-256.
CREATE TABLE decisions (
    seq      INTEGER PRIMARY KEY,
    outcome  TEXT NOT NULL,
    receipt  BLOB NOT NULL,
    document TEXT NOT NULL,
    crc      INTEGER NOT NULL
);

-- 256 or more decisions from `first_seq` to `seq`, compressed; they have no row in `decisions`. `outcomes`: a line for
-- each with sequence number and outcome. The rest: see docs/reference/log-format.md.
CREATE TABLE decision_frames (
    seq       INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    outcomes  BLOB    NOT NULL,
    receipts  BLOB    NOT NULL,
    data      BLOB    NOT NULL,
    crc       INTEGER NOT NULL
);

-- `number`: order within the batch.
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

-- Refused input. AUTOINCREMENT, so that a number is never reused. `digest`: BLAKE2b of `source`, `place`, `type` and
-- `raw`, 16 bytes; a line that was read as event and as label has two entries.
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

-- Labels whose event is not in the log yet, in order of arrival. With `field`, a unique field, `event_id` is its value.
-- If a label does not fit its event later, `source`, `place`, `raw` and `header` are those of its entry in quarantine.
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

-- Outgoing rows; a delivered row is removed.
CREATE TABLE outbox (
    seq    INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    body   TEXT    NOT NULL,
    crc    INTEGER NOT NULL,
    PRIMARY KEY (seq, number)
) WITHOUT ROWID;

-- Rows that a sink refused, until they are dropped or delivered. `body`, `fields`: JSON. `at_ms`: last refusal. `is_due`:
-- whether to retry.
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

-- Personal values, stored beside events so that they can be erased. No feature reads them.
CREATE TABLE personal (
    type  TEXT NOT NULL,
    id    TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    crc   INTEGER NOT NULL,
    PRIMARY KEY (type, id, field)
) WITHOUT ROWID;

-- Late events of a source that stores them: without sequence number, in no window. `at_ms`: arrival.
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

-- Number of times that the log was opened for writing; one row. A process with an earlier epoch can commit nothing.
CREATE TABLE lead (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL
);
INSERT INTO lead (one, epoch) VALUES (1, 0);

-- Requests of other processes to the writer, in order of arrival; numbers are never reused. `body`, `reply`: JSON.
-- `at_ms`: time of the request. `reply` is NULL at first; with the reply the body becomes empty.
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind   TEXT    NOT NULL,
    body   TEXT    NOT NULL,
    at_ms  INTEGER NOT NULL,
    reply  TEXT
);
CREATE INDEX inbox_waiting ON inbox (number) WHERE reply IS NULL;

-- Remarks on values of aggregates, with their number, and their first and last event. `what`: "value left out" or "sum
-- outside 64 bits". `asker`: the feature or rule.
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

-- Last sequence number whose records and decisions have moved to the lake; one row.
CREATE TABLE pruned (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL
);
INSERT INTO pruned (one, seq) VALUES (1, 0);

-- Sequence numbers of the moved records, by a digest of type and id (16 bytes): an id stays taken for ever.
CREATE TABLE pruned_ids (
    digest BLOB    NOT NULL PRIMARY KEY,
    seq    INTEGER NOT NULL
) WITHOUT ROWID;
