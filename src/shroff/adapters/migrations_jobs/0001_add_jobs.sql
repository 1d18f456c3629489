-- In the form of migrations_people/.

CREATE TABLE IF NOT EXISTS jobs (
    id          text NOT NULL PRIMARY KEY,
    kind        text NOT NULL,
    params      text NOT NULL,
    who         text NOT NULL,
    schedule    text NOT NULL,
    due_ms      {whole} NOT NULL,
    state       text NOT NULL,
    attempt     {whole} NOT NULL,
    retries     {whole} NOT NULL,
    timeout_ms  {whole} NOT NULL,
    made_ms     {whole} NOT NULL,
    begins_ms   {whole} NOT NULL,
    begun_ms    {whole} NOT NULL,
    ended_ms    {whole} NOT NULL,
    lease_ms    {whole} NOT NULL,
    is_stopping {whole} NOT NULL,
    step        text NOT NULL,
    done        {whole} NOT NULL,
    total       {whole} NOT NULL,
    lines_      text NOT NULL,
    result      text NOT NULL,
    why         text NOT NULL
);

CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state);

CREATE TABLE IF NOT EXISTS job_schedules (
    name      text NOT NULL PRIMARY KEY,
    seen_ms   {whole} NOT NULL,
    is_paused {whole} NOT NULL
);
