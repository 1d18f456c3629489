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
