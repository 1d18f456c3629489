-- Users and groups of an identity provider (SCIM), as they were sent last; see people/directory.py.

CREATE TABLE IF NOT EXISTS directory (
    id       text NOT NULL PRIMARY KEY,
    kind     text NOT NULL,
    document text NOT NULL,
    role     text NOT NULL
);
