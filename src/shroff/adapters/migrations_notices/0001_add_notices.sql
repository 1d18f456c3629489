-- From nothing; written as people's scripts are (see people_schema.py).

CREATE TABLE IF NOT EXISTS {prefix}notice_dues (
    key_    {name} NOT NULL PRIMARY KEY,
    notice  {name} NOT NULL,
    kind    {text} NOT NULL,
    event   {text} NOT NULL,
    rule    {text} NOT NULL,
    told    {text} NOT NULL,
    at_ms   {whole} NOT NULL,
    due_ms  {whole} NOT NULL,
    is_held {whole} NOT NULL,
    letter  {name} NOT NULL
){more};

CREATE INDEX IF NOT EXISTS {prefix}notice_dues_waiting ON {prefix}notice_dues (letter, due_ms);

CREATE TABLE IF NOT EXISTS {prefix}notice_letters (
    id         {name} NOT NULL PRIMARY KEY,
    notice     {text} NOT NULL,
    rule       {text} NOT NULL,
    who        {hash} NOT NULL,
    made_ms    {whole} NOT NULL,
    due_ms     {whole} NOT NULL,
    dues       {text} NOT NULL,
    state      {name} NOT NULL,
    attempts   {whole} NOT NULL,
    doubts     {whole} NOT NULL,
    claimed_ms {whole} NOT NULL,
    done_ms    {whole} NOT NULL,
    reason     {text} NOT NULL,
    shown      {text} NOT NULL
){more};

CREATE INDEX IF NOT EXISTS {prefix}notice_letters_open ON {prefix}notice_letters (state, due_ms);

CREATE INDEX IF NOT EXISTS {prefix}notice_letters_made ON {prefix}notice_letters (made_ms);

CREATE INDEX IF NOT EXISTS {prefix}notice_letters_who ON {prefix}notice_letters (who, made_ms);

CREATE TABLE IF NOT EXISTS {prefix}notice_questions (
    id          {name} NOT NULL PRIMARY KEY,
    letter      {text} NOT NULL,
    notice      {text} NOT NULL,
    event       {name} NOT NULL,
    receipt     {text} NOT NULL,
    who         {hash} NOT NULL,
    made_ms     {whole} NOT NULL,
    ends_ms     {whole} NOT NULL,
    answer      {text} NOT NULL,
    answered_ms {whole} NOT NULL,
    is_released {whole} NOT NULL
){more};

CREATE INDEX IF NOT EXISTS {prefix}notice_questions_event ON {prefix}notice_questions (event);
