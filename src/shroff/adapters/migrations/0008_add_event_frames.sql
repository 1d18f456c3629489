-- From version 7: records of large batches stand in compressed frames, and their ids in a table of their own.
CREATE TABLE event_frames (
    seq       INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    labels    INTEGER NOT NULL,
    controls  INTEGER NOT NULL,
    chain     INTEGER,
    crc       INTEGER NOT NULL,
    data      BLOB    NOT NULL
);
CREATE INDEX event_frames_with_labels ON event_frames (seq) WHERE labels > 0;
CREATE INDEX event_frames_with_controls ON event_frames (seq) WHERE controls > 0;

CREATE TABLE event_ids (
    type TEXT    NOT NULL,
    id   TEXT    NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (type, id)
) WITHOUT ROWID;
