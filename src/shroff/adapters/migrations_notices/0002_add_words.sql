-- What a customer writes with an appeal against a decision; appeals are found by their answer.
ALTER TABLE notice_questions ADD COLUMN words text NOT NULL DEFAULT '';

CREATE INDEX IF NOT EXISTS notice_questions_answer ON notice_questions (answer);
