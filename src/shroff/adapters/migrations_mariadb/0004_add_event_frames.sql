-- From version 3: events of large batches stand in compressed frames, and their ids in a table of their own.
CREATE TABLE IF NOT EXISTS `{prefix}event_frames` (
    `seq` BIGINT NOT NULL PRIMARY KEY,
    `first_seq` BIGINT NOT NULL,
    `labels` BIGINT NOT NULL,
    `controls` BIGINT NOT NULL,
    `chain` BIGINT,
    `crc` BIGINT NOT NULL,
    `data` LONGBLOB NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE INDEX IF NOT EXISTS event_frames_with_labels ON `{prefix}event_frames` (labels);
CREATE INDEX IF NOT EXISTS event_frames_with_controls ON `{prefix}event_frames` (controls);

CREATE TABLE IF NOT EXISTS `{prefix}event_ids` (
    `type` VARCHAR(100) NOT NULL,
    `id` VARBINARY(2000) NOT NULL,
    `seq` BIGINT NOT NULL,
    PRIMARY KEY (type, id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
