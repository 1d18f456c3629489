-- The rule that closes a case by itself, and the one that takes each alert.
ALTER TABLE cases ADD COLUMN auto_close text NOT NULL DEFAULT '';

CREATE INDEX IF NOT EXISTS cases_by_auto_close ON cases (auto_close, state);

ALTER TABLE case_alerts ADD COLUMN auto_close text NOT NULL DEFAULT '';
