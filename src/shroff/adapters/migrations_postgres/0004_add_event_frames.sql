-- From version 3: events of large batches stand in compressed frames, and their ids in a table of their own.
-- What is compressed already is not compressed again.
ALTER TABLE decision_frames ALTER COLUMN outcomes SET STORAGE EXTERNAL, ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE event_frames (
    seq       bigint NOT NULL PRIMARY KEY,
    first_seq bigint NOT NULL,
    labels    bigint NOT NULL,
    controls  bigint NOT NULL,
    chain     bigint,
    crc       bigint NOT NULL,
    data      bytea  NOT NULL
);
ALTER TABLE event_frames ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX event_frames_with_labels ON event_frames (seq) WHERE labels > 0;
CREATE INDEX event_frames_with_controls ON event_frames (seq) WHERE controls > 0;

CREATE TABLE event_ids (
    type text   COLLATE "C" NOT NULL,
    id   text   COLLATE "C" NOT NULL,
    seq  bigint NOT NULL,
    PRIMARY KEY (type, id)
);
