-- From version 5: rows have sums, by which one that has changed is found (NULL: written before), and the time at which
-- each batch was taken is kept.
ALTER TABLE events ADD COLUMN crc INTEGER;
ALTER TABLE events ADD COLUMN chain INTEGER;
ALTER TABLE decisions ADD COLUMN crc INTEGER;
ALTER TABLE flags ADD COLUMN crc INTEGER;
ALTER TABLE hits ADD COLUMN crc INTEGER;

-- The first place of each batch, and when it was taken (ingest time).
CREATE TABLE batches (
    seq   INTEGER PRIMARY KEY,
    at_ms INTEGER
);
