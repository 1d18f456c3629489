-- From nothing; written as people's scripts are (see people_schema.py).

CREATE TABLE IF NOT EXISTS {prefix}jobs (
    id          {word} NOT NULL PRIMARY KEY,
    kind        {text} NOT NULL,
    params      {text} NOT NULL,
    who         {text} NOT NULL,
    schedule    {text} NOT NULL,
    due_ms      {whole} NOT NULL,
    state       {word} NOT NULL,
    attempt     {whole} NOT NULL,
    retries     {whole} NOT NULL,
    timeout_ms  {whole} NOT NULL,
    made_ms     {whole} NOT NULL,
    begins_ms   {whole} NOT NULL,
    begun_ms    {whole} NOT NULL,
    ended_ms    {whole} NOT NULL,
    lease_ms    {whole} NOT NULL,
    is_stopping {whole} NOT NULL,
    step        {text} NOT NULL,
    done        {whole} NOT NULL,
    total       {whole} NOT NULL,
    lines_      {text} NOT NULL,
    result      {text} NOT NULL,
    why         {text} NOT NULL
){more};

CREATE INDEX IF NOT EXISTS {prefix}jobs_state ON {prefix}jobs (state);

CREATE TABLE IF NOT EXISTS {prefix}job_schedules (
    name      {name} NOT NULL PRIMARY KEY,
    seen_ms   {whole} NOT NULL,
    is_paused {whole} NOT NULL
){more};
