-- In the form of migrations_people/.

CREATE TABLE IF NOT EXISTS documents (
    kind   text NOT NULL,
    name   text NOT NULL,
    number {whole} NOT NULL,
    body   text NOT NULL,
    PRIMARY KEY (kind, name)
);
