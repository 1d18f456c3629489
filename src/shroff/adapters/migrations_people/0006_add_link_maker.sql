-- Who made a link, by name as in api_keys; it ends with them.
ALTER TABLE links ADD COLUMN made_by text NOT NULL DEFAULT '';
