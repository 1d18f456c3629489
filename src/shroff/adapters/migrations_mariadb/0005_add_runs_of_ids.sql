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

ALTER TABLE `{prefix}watermark` ADD COLUMN IF NOT EXISTS last_seq BIGINT NOT NULL DEFAULT 0;
UPDATE `{prefix}watermark` SET last_seq = (SELECT coalesce(max(seq), 0) FROM (SELECT max(seq) AS seq FROM `{prefix}events` UNION ALL SELECT max(seq) AS seq FROM `{prefix}event_frames`) AS both_of);
