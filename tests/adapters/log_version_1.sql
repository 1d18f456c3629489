-- A log of version 1 with one batch, as shroff made it before the inbox came: `sqlite3 log.db .dump`.
PRAGMA application_id = 1936224879;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE decisions (
    seq      INTEGER PRIMARY KEY,
    outcome  TEXT NOT NULL,
    receipt  BLOB NOT NULL,
    document TEXT NOT NULL
);
INSERT INTO "decisions" VALUES(1,'approve',X'0000000000000000000000000000000000000000000000000000000000000001','{"event":"payment","seq":1,"reasons":["café"]}');
INSERT INTO "decisions" VALUES(2,'approve',X'0000000000000000000000000000000000000000000000000000000000000002','{"event":"payment","seq":2,"reasons":["café"]}');
INSERT INTO "decisions" VALUES(3,'approve',X'0000000000000000000000000000000000000000000000000000000000000003','{"event":"payment","seq":3,"reasons":["café"]}');
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY,
    kind    TEXT    NOT NULL,
    type    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    time_ms INTEGER NOT NULL,
    decided INTEGER NOT NULL,
    body    TEXT    NOT NULL
);
INSERT INTO "events" VALUES(1,'event','payment','p-1',1700000000001,1,'{"amount":1,"café":"€"}');
INSERT INTO "events" VALUES(2,'event','payment','p-2',1700000000002,1,'{"amount":2,"café":"€"}');
INSERT INTO "events" VALUES(3,'event','payment','p-3',1700000000003,1,'{"amount":3,"café":"€"}');
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
    PRIMARY KEY (seq, number)
) WITHOUT ROWID;
INSERT INTO "flags" VALUES(1,0,'card_testing','card','c1','payment','8 payments in 10 minutes',1700000000001,'PENDING_CONFIRMATION');
CREATE TABLE hits (
    seq    INTEGER NOT NULL,
    number INTEGER NOT NULL,
    rule   TEXT    NOT NULL,
    key    TEXT,
    shadow INTEGER NOT NULL,
    PRIMARY KEY (seq, number)
) WITHOUT ROWID;
INSERT INTO "hits" VALUES(1,0,'large',NULL,0);
INSERT INTO "hits" VALUES(2,1,'large',NULL,0);
INSERT INTO "hits" VALUES(3,2,'large',NULL,0);
CREATE TABLE offsets (
    source   TEXT NOT NULL,
    part     TEXT NOT NULL,
    "offset" TEXT NOT NULL,
    PRIMARY KEY (source, part)
) WITHOUT ROWID;
INSERT INTO "offsets" VALUES('march.csv','0','1');
CREATE TABLE outbox (
    seq    INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    body   TEXT    NOT NULL,
    PRIMARY KEY (seq, number)
) WITHOUT ROWID;
INSERT INTO "outbox" VALUES(1,0,'mail','{"to":"a card"}');
CREATE TABLE quarantine (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT    NOT NULL,
    place  TEXT    NOT NULL,
    type   TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    raw    BLOB    NOT NULL,
    at_ms  INTEGER NOT NULL,
    digest BLOB    NOT NULL,
    UNIQUE (source, place, digest)
);
INSERT INTO "quarantine" VALUES(1,'march.csv','1','payment','amount: expected a number, found ''x''',X'737465702C74797065FF',1700000000000,X'96D72F15EEBE458BEC78BEBEB74A8412');
CREATE TABLE waiting_labels (
    number     INTEGER PRIMARY KEY,
    event_type TEXT NOT NULL,
    event_id   TEXT NOT NULL,
    id         TEXT NOT NULL UNIQUE,
    body       TEXT NOT NULL
);
INSERT INTO "waiting_labels" VALUES(1,'payment','not-yet-1','l-1','{"verdict":"fraud"}');
CREATE TABLE watermark (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    time_ms INTEGER
);
INSERT INTO "watermark" VALUES(1,1700000000003);
CREATE UNIQUE INDEX events_by_id ON events (type, id);
CREATE INDEX waiting_labels_by_event ON waiting_labels (event_type, event_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('quarantine',1);
COMMIT;
