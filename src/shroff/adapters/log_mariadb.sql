-- The tables of a log in a MariaDB database, version 5 (table `version`), each behind a prefix. A log of an older version
-- comes to the same tables by the scripts in migrations_mariadb/.
-- They are those of `log_sqlite.sql`, which says what they hold, and as there meant to be read by people too: JSON_VALUE
-- works on `body` and `document`. Texts compare code point by code point, also by their spaces at the end; ids are bytes,
-- as an index over texts is too short for them. `digest` stands in an index for what may be too long for it: BLAKE2b, 16
-- bytes. Every statement may be repeated, since MariaDB commits each by itself: making tables can be broken off anywhere.

CREATE TABLE IF NOT EXISTS `{prefix}version` (
    `one` SMALLINT NOT NULL PRIMARY KEY CHECK (one = 1),
    `number` BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}events` (
    `seq` BIGINT NOT NULL PRIMARY KEY,
    `time_ms` BIGINT NOT NULL,
    `decided` SMALLINT NOT NULL,
    `kind` VARCHAR(100) NOT NULL,
    `type` VARCHAR(100) NOT NULL,
    `id` VARBINARY(2000) NOT NULL,
    `body` LONGTEXT NOT NULL,
    `crc` BIGINT,
    `chain` BIGINT
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE UNIQUE INDEX IF NOT EXISTS events_by_id ON `{prefix}events` (type, id);

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

-- Ids that version 4 wrote.
CREATE TABLE IF NOT EXISTS `{prefix}event_ids` (
    `type` VARCHAR(100) NOT NULL,
    `id` VARBINARY(2000) NOT NULL,
    `seq` BIGINT NOT NULL,
    PRIMARY KEY (type, id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}batches` (
    `seq` BIGINT NOT NULL PRIMARY KEY,
    `at_ms` BIGINT
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}unique_values` (
    `type` VARCHAR(100) NOT NULL,
    `field` VARCHAR(100) NOT NULL,
    `digest` BINARY(16) NOT NULL,
    `value` MEDIUMTEXT NOT NULL,
    `seq` BIGINT NOT NULL,
    PRIMARY KEY (type, field, digest)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}unique_fields` (
    `type` VARCHAR(100) NOT NULL,
    `field` VARCHAR(100) NOT NULL,
    `form` MEDIUMTEXT NOT NULL,
    PRIMARY KEY (type, field)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}watermark` (
    `one` SMALLINT NOT NULL PRIMARY KEY CHECK (one = 1),
    `time_ms` BIGINT,
    `last_seq` BIGINT NOT NULL DEFAULT 0
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
INSERT IGNORE INTO `{prefix}watermark` (one, time_ms) VALUES (1, NULL);

CREATE TABLE IF NOT EXISTS `{prefix}decisions` (
    `seq` BIGINT NOT NULL PRIMARY KEY,
    `outcome` VARCHAR(50) NOT NULL,
    `receipt` VARBINARY(64) NOT NULL,
    `document` LONGTEXT NOT NULL,
    `crc` BIGINT
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}decision_frames` (
    `seq` BIGINT NOT NULL PRIMARY KEY,
    `first_seq` BIGINT NOT NULL,
    `outcomes` LONGBLOB NOT NULL,
    `data` LONGBLOB NOT NULL,
    `crc` BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}flags` (
    `seq` BIGINT NOT NULL,
    `number` BIGINT NOT NULL,
    `time_ms` BIGINT NOT NULL,
    `rule` VARCHAR(250) NOT NULL,
    `entity` VARCHAR(250) NOT NULL,
    `key` MEDIUMTEXT NOT NULL,
    `event` VARCHAR(100) NOT NULL,
    `reason` MEDIUMTEXT NOT NULL,
    `accuracy` VARCHAR(50) NOT NULL,
    `crc` BIGINT,
    PRIMARY KEY (seq, number)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}hits` (
    `seq` BIGINT NOT NULL,
    `number` BIGINT NOT NULL,
    `shadow` SMALLINT NOT NULL,
    `rule` VARCHAR(250) NOT NULL,
    `key` MEDIUMTEXT,
    `crc` BIGINT,
    PRIMARY KEY (seq, number)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Numbers of an identity are never given twice, not by a transaction that was undone either.
CREATE TABLE IF NOT EXISTS `{prefix}quarantine` (
    `number` BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    `digest` BINARY(16) NOT NULL UNIQUE, -- of source, place and raw
    `at_ms` BIGINT NOT NULL,
    `source` MEDIUMTEXT NOT NULL,
    `place` MEDIUMTEXT NOT NULL,
    `type` VARCHAR(100) NOT NULL,
    `reason` MEDIUMTEXT NOT NULL,
    `raw` LONGBLOB NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}waiting_labels` (
    `number` BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    `digest` BINARY(16) NOT NULL, -- of event_id
    `event_type` VARCHAR(100) NOT NULL,
    `event_id` MEDIUMTEXT NOT NULL,
    `id` VARBINARY(2000) NOT NULL UNIQUE,
    `body` LONGTEXT NOT NULL,
    `source` MEDIUMTEXT NOT NULL,
    `place` MEDIUMTEXT NOT NULL,
    `raw` LONGBLOB NOT NULL,
    `field` VARCHAR(100) NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE INDEX IF NOT EXISTS waiting_labels_by_event ON `{prefix}waiting_labels` (digest);

CREATE TABLE IF NOT EXISTS `{prefix}outbox` (
    `seq` BIGINT NOT NULL,
    `number` BIGINT NOT NULL,
    `kind` VARCHAR(100) NOT NULL,
    `body` LONGTEXT NOT NULL,
    PRIMARY KEY (seq, number)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}stuck` (
    `seq` BIGINT NOT NULL,
    `number` BIGINT NOT NULL,
    `attempts` BIGINT NOT NULL,
    `at_ms` BIGINT NOT NULL,
    `is_due` SMALLINT NOT NULL,
    `sink` VARCHAR(250) NOT NULL,
    `kind` VARCHAR(100) NOT NULL,
    `event` VARCHAR(100) NOT NULL,
    `id` VARBINARY(2000) NOT NULL,
    `outcome` VARCHAR(50) NOT NULL,
    `body` LONGTEXT NOT NULL,
    `fields` LONGTEXT NOT NULL,
    `reason` MEDIUMTEXT NOT NULL,
    PRIMARY KEY (sink, seq, number)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}personal` (
    `type` VARCHAR(100) NOT NULL,
    `id` VARBINARY(2000) NOT NULL,
    `field` VARCHAR(100) NOT NULL,
    `value` MEDIUMTEXT NOT NULL,
    PRIMARY KEY (type, id, field)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}late_events` (
    `time_ms` BIGINT NOT NULL,
    `at_ms` BIGINT NOT NULL,
    `type` VARCHAR(100) NOT NULL,
    `id` VARBINARY(2000) NOT NULL,
    `body` LONGTEXT NOT NULL,
    PRIMARY KEY (type, id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}offsets` (
    `digest` BINARY(16) NOT NULL PRIMARY KEY, -- of source and part
    `source` MEDIUMTEXT NOT NULL,
    `part` MEDIUMTEXT NOT NULL,
    `offset` MEDIUMTEXT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS `{prefix}inbox` (
    `number` BIGINT NOT NULL PRIMARY KEY,
    `at_ms` BIGINT NOT NULL,
    `kind` VARCHAR(100) NOT NULL,
    `body` LONGTEXT NOT NULL,
    `reply` LONGTEXT
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE INDEX IF NOT EXISTS inbox_waiting ON `{prefix}inbox` (reply(1)); -- those that wait stand together, at NULL

-- The last number of the inbox. Whoever asks holds this row, so that requests come to be seen in the order of numbers.
CREATE TABLE IF NOT EXISTS `{prefix}inbox_number` (
    `one` SMALLINT NOT NULL PRIMARY KEY CHECK (one = 1),
    `number` BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
INSERT IGNORE INTO `{prefix}inbox_number` (one, number) VALUES (1, 0);

CREATE TABLE IF NOT EXISTS `{prefix}remarks` (
    `count` BIGINT NOT NULL,
    `first_seq` BIGINT NOT NULL,
    `first_ms` BIGINT NOT NULL,
    `last_seq` BIGINT NOT NULL,
    `last_ms` BIGINT NOT NULL,
    `what` VARCHAR(250) NOT NULL,
    `asker` VARCHAR(250) NOT NULL,
    PRIMARY KEY (what, asker)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Who leads: how many times the log was opened for writing. Each transaction of its owner holds this row, so that none
-- of an earlier opening is committed behind the moment at which the epoch moved on.
CREATE TABLE IF NOT EXISTS `{prefix}lead` (
    `one` SMALLINT NOT NULL PRIMARY KEY CHECK (one = 1),
    `epoch` BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
INSERT IGNORE INTO `{prefix}lead` (one, epoch) VALUES (1, 0);

-- Until when others leave the owner alone, by this server's clock. `session` names the connection that it writes by.
CREATE TABLE IF NOT EXISTS `{prefix}lease` (
    `one` SMALLINT NOT NULL PRIMARY KEY CHECK (one = 1),
    `epoch` BIGINT NOT NULL,
    `expires_ms` BIGINT NOT NULL,
    `owner` VARCHAR(250) NOT NULL,
    `session` VARCHAR(250) NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
INSERT IGNORE INTO `{prefix}lease` (one, epoch, expires_ms, owner, session) VALUES (1, 0, 0, '', '');

-- Up to which place records and decisions have moved to the lake.
CREATE TABLE IF NOT EXISTS `{prefix}pruned` (
    `one` SMALLINT NOT NULL PRIMARY KEY CHECK (one = 1),
    `seq` BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
INSERT IGNORE INTO `{prefix}pruned` (one, seq) VALUES (1, 0);

-- The places of what has moved, by 16 bytes that stand for type and id: an id is remembered for ever.
CREATE TABLE IF NOT EXISTS `{prefix}pruned_ids` (
    `digest` BINARY(16) NOT NULL PRIMARY KEY,
    `seq` BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
