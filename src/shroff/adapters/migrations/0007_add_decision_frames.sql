-- From version 6: decisions of large batches stand in compressed frames.
CREATE TABLE decision_frames (
    seq       INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    outcomes  BLOB    NOT NULL,
    data      BLOB    NOT NULL,
    crc       INTEGER NOT NULL
);
