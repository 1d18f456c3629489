-- Tables of a log in one schema of a PostgreSQL database, version 1 (table `version`). A later version adds a script in
-- migrations_postgres/ that makes the same tables.
-- `log_sqlite.sql` describes the tables. To read `body` and `document` in SQL, cast them to jsonb. Texts compare byte by
-- byte. A text in PostgreSQL has no NUL: it is stored as U+001A 0, and U+001A as U+001A S. `digest`, in an index:
-- BLAKE2b of a text that may be too long for the index, 16 bytes.

CREATE TABLE events (
    seq     bigint   NOT NULL PRIMARY KEY,
    time_ms bigint   NOT NULL,
    decided smallint NOT NULL,
    kind    text     COLLATE "C" NOT NULL,
    type    text     COLLATE "C" NOT NULL,
    id      text     COLLATE "C" NOT NULL,
    body    text     COLLATE "C" NOT NULL,
    crc     bigint NOT NULL
);
CREATE UNIQUE INDEX events_by_id ON events (type, id);

-- STORAGE EXTERNAL: the data is compressed already.
CREATE TABLE event_frames (
    seq       bigint NOT NULL PRIMARY KEY,
    first_seq bigint NOT NULL,
    labels    bigint NOT NULL,
    controls  bigint NOT NULL,
    crc       bigint NOT NULL,
    data      bytea  NOT NULL
);
ALTER TABLE event_frames ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX event_frames_with_labels ON event_frames (seq) WHERE labels > 0;
CREATE INDEX event_frames_with_controls ON event_frames (seq) WHERE controls > 0;

CREATE TABLE id_runs (
    run        bigint NOT NULL PRIMARY KEY,
    crc        bigint NOT NULL,
    bits       bigint NOT NULL,
    size       bigint NOT NULL,
    last_seq   bigint NOT NULL,
    filter_crc bigint NOT NULL,
    filter     bytea  NOT NULL
);
ALTER TABLE id_runs ALTER COLUMN filter SET STORAGE EXTERNAL;

CREATE TABLE id_parts (
    part bigint NOT NULL PRIMARY KEY,
    crc  bigint NOT NULL,
    data bytea  NOT NULL
);
ALTER TABLE id_parts ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE key_parts (
    part bigint NOT NULL PRIMARY KEY,
    crc  bigint NOT NULL,
    data bytea  NOT NULL
);
ALTER TABLE key_parts ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE batches (
    seq   bigint NOT NULL PRIMARY KEY,
    at_ms bigint
);

CREATE TABLE unique_values (
    type   text   COLLATE "C" NOT NULL,
    field  text   COLLATE "C" NOT NULL,
    digest bytea  NOT NULL,
    value  text   COLLATE "C" NOT NULL,
    seq    bigint NOT NULL,
    crc    bigint NOT NULL,
    PRIMARY KEY (type, field, digest)
);

CREATE TABLE unique_fields (
    type  text COLLATE "C" NOT NULL,
    field text COLLATE "C" NOT NULL,
    form  text COLLATE "C" NOT NULL,
    crc   bigint NOT NULL,
    PRIMARY KEY (type, field)
);

CREATE TABLE watermark (
    one      smallint NOT NULL PRIMARY KEY CHECK (one = 1),
    time_ms  bigint,
    last_seq bigint   NOT NULL DEFAULT 0
);
INSERT INTO watermark (one, time_ms) VALUES (1, NULL);

CREATE TABLE decisions (
    seq      bigint NOT NULL PRIMARY KEY,
    outcome  text   COLLATE "C" NOT NULL,
    receipt  bytea  NOT NULL,
    document text   COLLATE "C" NOT NULL,
    crc      bigint NOT NULL
);

CREATE TABLE decision_frames (
    seq       bigint NOT NULL PRIMARY KEY,
    first_seq bigint NOT NULL,
    outcomes  bytea  NOT NULL,
    receipts  bytea  NOT NULL,
    data      bytea  NOT NULL,
    crc       bigint NOT NULL
);
ALTER TABLE decision_frames ALTER COLUMN outcomes SET STORAGE EXTERNAL,
    ALTER COLUMN receipts SET STORAGE EXTERNAL, ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE flags (
    seq      bigint NOT NULL,
    number   bigint NOT NULL,
    time_ms  bigint NOT NULL,
    rule     text   COLLATE "C" NOT NULL,
    entity   text   COLLATE "C" NOT NULL,
    key      text   COLLATE "C" NOT NULL,
    event    text   COLLATE "C" NOT NULL,
    reason   text   COLLATE "C" NOT NULL,
    accuracy text   COLLATE "C" NOT NULL,
    crc      bigint NOT NULL,
    PRIMARY KEY (seq, number)
);

CREATE TABLE hits (
    seq    bigint   NOT NULL,
    number bigint   NOT NULL,
    shadow smallint NOT NULL,
    rule   text     COLLATE "C" NOT NULL,
    key    text     COLLATE "C",
    crc    bigint NOT NULL,
    PRIMARY KEY (seq, number)
);

-- Numbers of an identity are never reused, even after a rollback.
CREATE TABLE quarantine (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea  NOT NULL UNIQUE, -- of source, place and raw
    at_ms  bigint NOT NULL,
    source text   COLLATE "C" NOT NULL,
    place  text   COLLATE "C" NOT NULL,
    type   text   COLLATE "C" NOT NULL,
    reason text   COLLATE "C" NOT NULL,
    header text   COLLATE "C" NOT NULL,
    raw    bytea  NOT NULL
);

CREATE TABLE waiting_labels (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest     bytea  NOT NULL, -- of event_id
    event_type text   COLLATE "C" NOT NULL,
    event_id   text   COLLATE "C" NOT NULL,
    id         text   COLLATE "C" NOT NULL UNIQUE,
    body       text   COLLATE "C" NOT NULL,
    source     text   COLLATE "C" NOT NULL,
    place      text   COLLATE "C" NOT NULL,
    raw        bytea  NOT NULL,
    field      text   COLLATE "C" NOT NULL,
    header     text   COLLATE "C" NOT NULL,
    crc        bigint NOT NULL
);
CREATE INDEX waiting_labels_by_event ON waiting_labels (digest);

CREATE TABLE outbox (
    seq    bigint NOT NULL,
    number bigint NOT NULL,
    kind   text   COLLATE "C" NOT NULL,
    body   text   COLLATE "C" NOT NULL,
    crc    bigint NOT NULL,
    PRIMARY KEY (seq, number)
);

CREATE TABLE stuck (
    seq      bigint   NOT NULL,
    number   bigint   NOT NULL,
    attempts bigint   NOT NULL,
    at_ms    bigint   NOT NULL,
    is_due   smallint NOT NULL,
    sink     text     COLLATE "C" NOT NULL,
    kind     text     COLLATE "C" NOT NULL,
    event    text     COLLATE "C" NOT NULL,
    id       text     COLLATE "C" NOT NULL,
    outcome  text     COLLATE "C" NOT NULL,
    body     text     COLLATE "C" NOT NULL,
    fields   text     COLLATE "C" NOT NULL,
    reason   text     COLLATE "C" NOT NULL,
    crc      bigint NOT NULL,
    PRIMARY KEY (sink, seq, number)
);

CREATE TABLE personal (
    type  text COLLATE "C" NOT NULL,
    id    text COLLATE "C" NOT NULL,
    field text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    crc   bigint NOT NULL,
    PRIMARY KEY (type, id, field)
);

CREATE TABLE late_events (
    time_ms bigint NOT NULL,
    at_ms   bigint NOT NULL,
    type    text   COLLATE "C" NOT NULL,
    id      text   COLLATE "C" NOT NULL,
    body    text   COLLATE "C" NOT NULL,
    crc     bigint NOT NULL,
    PRIMARY KEY (type, id)
);

CREATE TABLE offsets (
    digest   bytea NOT NULL PRIMARY KEY, -- of source and part
    source   text  COLLATE "C" NOT NULL,
    part     text  COLLATE "C" NOT NULL,
    "offset" text  COLLATE "C" NOT NULL,
    crc      bigint NOT NULL
);

CREATE TABLE inbox (
    number bigint NOT NULL PRIMARY KEY,
    at_ms  bigint NOT NULL,
    kind   text   COLLATE "C" NOT NULL,
    body   text   COLLATE "C" NOT NULL,
    reply  text   COLLATE "C"
);
CREATE INDEX inbox_waiting ON inbox (number) WHERE reply IS NULL;

-- Last number of the inbox. A request locks this row until its commit, so that requests appear in the order of numbers.
CREATE TABLE inbox_number (
    one    smallint NOT NULL PRIMARY KEY CHECK (one = 1),
    number bigint   NOT NULL
);
INSERT INTO inbox_number (one, number) VALUES (1, 0);

CREATE TABLE remarks (
    count     bigint NOT NULL,
    first_seq bigint NOT NULL,
    first_ms  bigint NOT NULL,
    last_seq  bigint NOT NULL,
    last_ms   bigint NOT NULL,
    what      text   COLLATE "C" NOT NULL,
    asker     text   COLLATE "C" NOT NULL,
    PRIMARY KEY (what, asker)
);

-- Number of times that the log was opened for writing. Each transaction of the leader locks this row, so that a former
-- leader commits nothing after the epoch has moved on.
CREATE TABLE lead (
    one   smallint NOT NULL PRIMARY KEY CHECK (one = 1),
    epoch bigint   NOT NULL
);
INSERT INTO lead (one, epoch) VALUES (1, 0);

-- End of the leader's lease, by this server's clock. `session`: the connection that it writes by.
CREATE TABLE lease (
    one        smallint NOT NULL PRIMARY KEY CHECK (one = 1),
    epoch      bigint   NOT NULL,
    expires_ms bigint   NOT NULL,
    owner      text     NOT NULL,
    session    text     NOT NULL
);
INSERT INTO lease (one, epoch, expires_ms, owner, session) VALUES (1, 0, 0, '', '');

-- Last sequence number whose records and decisions have moved to the lake.
CREATE TABLE pruned (
    one smallint NOT NULL PRIMARY KEY CHECK (one = 1),
    seq bigint   NOT NULL
);
INSERT INTO pruned (one, seq) VALUES (1, 0);

-- Sequence numbers of the moved records, by a digest of type and id (16 bytes): an id stays taken for ever.
CREATE TABLE pruned_ids (
    digest bytea  NOT NULL PRIMARY KEY,
    seq    bigint NOT NULL
);
