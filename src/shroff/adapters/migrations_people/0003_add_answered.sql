-- What was answered in the place of a decision, before it came; hash stands for the event.

CREATE TABLE IF NOT EXISTS {prefix}answered (
    hash    {hash} NOT NULL PRIMARY KEY,
    outcome {name} NOT NULL,
    at_ms   {whole} NOT NULL
){more};
