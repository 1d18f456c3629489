-- From version 3: a process whose place another one has taken can commit nothing more.

-- Who leads: how many times the log was opened for writing; one row. Nothing of an earlier opening is committed.
CREATE TABLE lead (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL
);
INSERT INTO lead (one, epoch) VALUES (1, 0);
