-- From version 4: ids of framed records stand in sorted runs of digests; those that event_ids has stay there.
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

ALTER TABLE watermark ADD COLUMN IF NOT EXISTS last_seq bigint NOT NULL DEFAULT 0;
UPDATE watermark SET last_seq = (SELECT coalesce(max(seq), 0) FROM (SELECT max(seq) AS seq FROM events UNION ALL SELECT max(seq) AS seq FROM event_frames) AS both_of);
