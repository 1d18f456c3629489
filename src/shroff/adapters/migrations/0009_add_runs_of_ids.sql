-- From version 8: ids of framed records stand in sorted runs of digests; those that event_ids has stay there.
CREATE TABLE id_runs (
    run        INTEGER PRIMARY KEY,
    crc        INTEGER NOT NULL,
    bits       INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    last_seq   INTEGER NOT NULL,
    filter_crc INTEGER NOT NULL,
    filter     BLOB    NOT NULL
);

CREATE TABLE id_parts (
    part INTEGER PRIMARY KEY,
    data BLOB    NOT NULL,
    crc  INTEGER NOT NULL
);

ALTER TABLE watermark ADD COLUMN last_seq INTEGER NOT NULL DEFAULT 0;
UPDATE watermark SET last_seq = (SELECT coalesce(max(seq), 0) FROM (SELECT max(seq) AS seq FROM events UNION ALL SELECT max(seq) AS seq FROM event_frames) AS both_of);
