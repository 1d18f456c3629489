-- From version 4: ids of framed records stand in sorted runs of digests; those that event_ids has stay there.
CREATE TABLE IF NOT EXISTS `{prefix}id_runs` (
    `run` BIGINT NOT NULL PRIMARY KEY,
    `crc` BIGINT NOT NULL,
    `bits` BIGINT NOT NULL,
    `size` BIGINT NOT NULL,
    `last_seq` BIGINT NOT NULL,
    `filter_crc` BIGINT NOT NULL,
    `filter` LONGBLOB NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}id_parts` (
    `part` BIGINT NOT NULL PRIMARY KEY,
    `crc` BIGINT NOT NULL,
    `data` LONGBLOB NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
