-- From version 2: decisions of large batches stand in compressed frames.
CREATE TABLE IF NOT EXISTS `{prefix}decision_frames` (
    `seq` BIGINT NOT NULL PRIMARY KEY,
    `first_seq` BIGINT NOT NULL,
    `outcomes` LONGBLOB NOT NULL,
    `data` LONGBLOB NOT NULL,
    `crc` BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
