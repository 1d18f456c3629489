-- From version 1: rows have sums, by which one that has changed is found (NULL: written before), and the time at which
-- each batch was taken is kept.
ALTER TABLE events ADD COLUMN crc bigint;
ALTER TABLE events ADD COLUMN chain bigint;
ALTER TABLE decisions ADD COLUMN crc bigint;
ALTER TABLE flags ADD COLUMN crc bigint;
ALTER TABLE hits ADD COLUMN crc bigint;

CREATE TABLE batches (
    seq   bigint NOT NULL PRIMARY KEY,
    at_ms bigint
);
