-- From nothing; written as people's scripts are (see people_schema.py).

CREATE TABLE IF NOT EXISTS documents (
    kind   text NOT NULL,
    name   text NOT NULL,
    number {whole} NOT NULL,
    body   text NOT NULL,
    PRIMARY KEY (kind, name)
);
