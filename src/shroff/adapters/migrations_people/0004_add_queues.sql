-- The queue of a case, and the one that each alert goes to if it opens one.
ALTER TABLE cases ADD COLUMN queue text NOT NULL DEFAULT '';

ALTER TABLE case_alerts ADD COLUMN queue text NOT NULL DEFAULT '';
