-- In the form of migrations_people/.

CREATE TABLE IF NOT EXISTS notice_dues (
    key_    text NOT NULL PRIMARY KEY,
    notice  text NOT NULL,
    kind    text NOT NULL,
    event   text NOT NULL,
    rule    text NOT NULL,
    told    text NOT NULL,
    at_ms   {whole} NOT NULL,
    due_ms  {whole} NOT NULL,
    is_held {whole} NOT NULL,
    letter  text NOT NULL
);

CREATE INDEX IF NOT EXISTS notice_dues_waiting ON notice_dues (letter, due_ms);

CREATE TABLE IF NOT EXISTS notice_letters (
    id         text NOT NULL PRIMARY KEY,
    notice     text NOT NULL,
    rule       text NOT NULL,
    who        {bytes} NOT NULL,
    made_ms    {whole} NOT NULL,
    due_ms     {whole} NOT NULL,
    dues       text NOT NULL,
    state      text NOT NULL,
    attempts   {whole} NOT NULL,
    doubts     {whole} NOT NULL,
    claimed_ms {whole} NOT NULL,
    done_ms    {whole} NOT NULL,
    reason     text NOT NULL,
    shown      text NOT NULL
);

CREATE INDEX IF NOT EXISTS notice_letters_open ON notice_letters (state, due_ms);

CREATE INDEX IF NOT EXISTS notice_letters_made ON notice_letters (made_ms);

CREATE INDEX IF NOT EXISTS notice_letters_who ON notice_letters (who, made_ms);

CREATE TABLE IF NOT EXISTS notice_questions (
    id          text NOT NULL PRIMARY KEY,
    letter      text NOT NULL,
    notice      text NOT NULL,
    event       text NOT NULL,
    receipt     text NOT NULL,
    who         {bytes} NOT NULL,
    made_ms     {whole} NOT NULL,
    ends_ms     {whole} NOT NULL,
    answer      text NOT NULL,
    answered_ms {whole} NOT NULL,
    is_released {whole} NOT NULL,
    words       text NOT NULL DEFAULT ''
);

CREATE INDEX IF NOT EXISTS notice_questions_event ON notice_questions (event);

CREATE INDEX IF NOT EXISTS notice_questions_answer ON notice_questions (answer);
