-- From version 2: decisions of large batches stand in compressed frames.
CREATE TABLE decision_frames (
    seq       bigint NOT NULL PRIMARY KEY,
    first_seq bigint NOT NULL,
    outcomes  bytea  NOT NULL,
    data      bytea  NOT NULL,
    crc       bigint NOT NULL
);
