-- From version 1: rows have sums, by which one that has changed is found (NULL: written before), and the time at which
-- each batch was taken is kept.
ALTER TABLE `{prefix}events` ADD COLUMN IF NOT EXISTS `crc` BIGINT;
ALTER TABLE `{prefix}events` ADD COLUMN IF NOT EXISTS `chain` BIGINT;
ALTER TABLE `{prefix}decisions` ADD COLUMN IF NOT EXISTS `crc` BIGINT;
ALTER TABLE `{prefix}flags` ADD COLUMN IF NOT EXISTS `crc` BIGINT;
ALTER TABLE `{prefix}hits` ADD COLUMN IF NOT EXISTS `crc` BIGINT;

CREATE TABLE IF NOT EXISTS `{prefix}batches` (
    `seq` BIGINT NOT NULL PRIMARY KEY,
    `at_ms` BIGINT
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
