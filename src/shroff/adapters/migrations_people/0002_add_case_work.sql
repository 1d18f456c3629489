-- What people note of a case beside its answer.
ALTER TABLE cases ADD COLUMN tags text NOT NULL DEFAULT '';

ALTER TABLE cases ADD COLUMN checks text NOT NULL DEFAULT '';
