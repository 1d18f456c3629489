-- From nothing. One script for all databases: words in braces stand for a type, or for what comes before a table's name
-- (see people_schema.py). Statements are parted by empty lines, and repeated where MariaDB was broken off in one.

CREATE TABLE IF NOT EXISTS {prefix}users (
    number        {counted},
    name          {name} NOT NULL UNIQUE,
    display_name  {text} NOT NULL,
    email         {text} NOT NULL,
    role          {name} NOT NULL,
    password      {text} NOT NULL,
    stamp         {whole} NOT NULL,
    is_disabled   {whole} NOT NULL,
    made_at_ms    {whole} NOT NULL,
    last_login_ms {whole},
    subject       {name} UNIQUE
){more};

CREATE TABLE IF NOT EXISTS {prefix}sessions (
    hash       {hash} NOT NULL PRIMARY KEY,
    user_      {whole} NOT NULL,
    stamp      {whole} NOT NULL,
    made_at_ms {whole} NOT NULL,
    seen_at_ms {whole} NOT NULL,
    ends_at_ms {whole} NOT NULL,
    address    {text} NOT NULL
){more};

CREATE INDEX IF NOT EXISTS {prefix}sessions_by_user ON {prefix}sessions (user_);

CREATE TABLE IF NOT EXISTS {prefix}api_keys (
    id            {name} NOT NULL PRIMARY KEY,
    name          {text} NOT NULL,
    hash          {hash} NOT NULL,
    role          {name} NOT NULL,
    scopes        {text} NOT NULL,
    made_at_ms    {whole} NOT NULL,
    made_by       {name} NOT NULL,
    ends_at_ms    {whole},
    revoked_at_ms {whole},
    used_at_ms    {whole}
){more};

CREATE TABLE IF NOT EXISTS {prefix}links (
    hash       {hash} NOT NULL PRIMARY KEY,
    user_      {whole},
    ends_at_ms {whole} NOT NULL
){more};

CREATE TABLE IF NOT EXISTS {prefix}attempts (
    hash       {hash} NOT NULL PRIMARY KEY,
    count      {whole} NOT NULL,
    last_at_ms {whole} NOT NULL,
    until_ms   {whole} NOT NULL
){more};

CREATE TABLE IF NOT EXISTS {prefix}visits (
    hash       {hash} NOT NULL PRIMARY KEY,
    state      {text} NOT NULL,
    nonce      {text} NOT NULL,
    verifier   {text} NOT NULL,
    back       {text} NOT NULL,
    ends_at_ms {whole} NOT NULL
){more};

CREATE TABLE IF NOT EXISTS {prefix}audit (
    number   {whole} NOT NULL PRIMARY KEY,
    at_ms    {whole} NOT NULL,
    who      {name} NOT NULL,
    name     {text} NOT NULL,
    via      {name} NOT NULL,
    action   {name} NOT NULL,
    subject  {text} NOT NULL,
    before_  {text} NOT NULL,
    after_   {text} NOT NULL,
    previous {hash} NOT NULL,
    hash     {hash} NOT NULL
){more};

CREATE INDEX IF NOT EXISTS {prefix}audit_by_who ON {prefix}audit (who, number);

CREATE INDEX IF NOT EXISTS {prefix}audit_by_time ON {prefix}audit (at_ms);

-- The end of the record, sealed. One row, which every change of people holds while it lasts.
CREATE TABLE IF NOT EXISTS {prefix}audit_head (
    one    {whole} NOT NULL PRIMARY KEY,
    number {whole} NOT NULL,
    hash   {hash} NOT NULL,
    seal   {hash} NOT NULL
){more};
