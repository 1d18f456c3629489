-- What people note of a case beside its answer, the queue that it waits in, and the rules that close cases.
ALTER TABLE cases ADD COLUMN tags text NOT NULL DEFAULT '';

ALTER TABLE cases ADD COLUMN checks text NOT NULL DEFAULT '';

ALTER TABLE cases ADD COLUMN queue text NOT NULL DEFAULT '';

ALTER TABLE case_alerts ADD COLUMN queue text NOT NULL DEFAULT '';

CREATE INDEX IF NOT EXISTS cases_by_queue ON cases (queue, state);

-- Rules that close cases, as somebody has started them.
CREATE TABLE IF NOT EXISTS case_closing (
    name       text NOT NULL PRIMARY KEY,
    text       text NOT NULL,
    since_ms   {whole} NOT NULL,
    stopped_ms {whole},
    why        text NOT NULL
);
