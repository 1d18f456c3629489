-- Tables of people and cases, for all databases: a word in braces is a type (TYPES in people/sql.py). Empty lines separate
-- statements. `zone` and `theme` of users: settings of the pages, empty for the browser's.

CREATE TABLE IF NOT EXISTS users (
    number        {counted},
    name          text NOT NULL UNIQUE,
    display_name  text NOT NULL,
    email         text NOT NULL,
    role          text NOT NULL,
    password      text NOT NULL,
    stamp         {whole} NOT NULL,
    is_disabled   {whole} NOT NULL,
    made_at_ms    {whole} NOT NULL,
    last_login_ms {whole},
    subject       text UNIQUE,
    zone          text,
    theme         text,
    factor        {bytes} NOT NULL,
    factor_step   {whole} NOT NULL,
    recovery      text NOT NULL,
    passkeys      text NOT NULL
);

CREATE TABLE IF NOT EXISTS sessions (
    hash       {bytes} NOT NULL PRIMARY KEY,
    user_      {whole} NOT NULL,
    stamp      {whole} NOT NULL,
    made_at_ms {whole} NOT NULL,
    seen_at_ms {whole} NOT NULL,
    ends_at_ms {whole} NOT NULL,
    address    text NOT NULL,
    is_half    {whole} NOT NULL,
    device     text NOT NULL
);

CREATE INDEX IF NOT EXISTS sessions_by_user ON sessions (user_);

CREATE TABLE IF NOT EXISTS api_keys (
    id            text NOT NULL PRIMARY KEY,
    name          text NOT NULL,
    hash          {bytes} NOT NULL,
    role          text NOT NULL,
    scopes        text NOT NULL,
    made_at_ms    {whole} NOT NULL,
    made_by       text NOT NULL,
    ends_at_ms    {whole},
    revoked_at_ms {whole},
    used_at_ms    {whole}
);

CREATE TABLE IF NOT EXISTS links (
    hash       {bytes} NOT NULL PRIMARY KEY,
    user_      {whole},
    ends_at_ms {whole} NOT NULL,
    made_by    text NOT NULL DEFAULT ''
);

CREATE TABLE IF NOT EXISTS attempts (
    hash       {bytes} NOT NULL PRIMARY KEY,
    count      {whole} NOT NULL,
    last_at_ms {whole} NOT NULL,
    until_ms   {whole} NOT NULL
);

CREATE TABLE IF NOT EXISTS visits (
    hash       {bytes} NOT NULL PRIMARY KEY,
    state      text NOT NULL,
    nonce      text NOT NULL,
    verifier   text NOT NULL,
    back       text NOT NULL,
    ends_at_ms {whole} NOT NULL
);

CREATE TABLE IF NOT EXISTS audit (
    number   {whole} NOT NULL PRIMARY KEY,
    at_ms    {whole} NOT NULL,
    who      text NOT NULL,
    name     text NOT NULL,
    via      text NOT NULL,
    action   text NOT NULL,
    subject  text NOT NULL,
    before_  text NOT NULL,
    after_   text NOT NULL,
    previous {bytes} NOT NULL,
    hash     {bytes} NOT NULL
);

CREATE INDEX IF NOT EXISTS audit_by_who ON audit (who, number);

CREATE INDEX IF NOT EXISTS audit_by_time ON audit (at_ms);

-- Sealed end of the audit log. One row, which every change of people locks.
CREATE TABLE IF NOT EXISTS audit_head (
    one    {whole} NOT NULL PRIMARY KEY,
    number {whole} NOT NULL,
    hash   {bytes} NOT NULL,
    seal   {bytes} NOT NULL
);

-- Cases; see cases/case.py for the columns.

-- Last sequence number that was read for alerts, and number of the newest case. One row.
CREATE TABLE IF NOT EXISTS case_place (
    one       {whole} NOT NULL PRIMARY KEY,
    seq       {whole} NOT NULL,
    last_case {whole} NOT NULL
);

INSERT INTO case_place (one, seq, last_case) VALUES (1, 0, 0);

CREATE TABLE IF NOT EXISTS cases (
    number        {whole} NOT NULL PRIMARY KEY,
    about         {bytes} NOT NULL,
    entity        text NOT NULL,
    key_          text NOT NULL,
    opened_ms     {whole} NOT NULL,
    due_ms        {whole} NOT NULL,
    state         text NOT NULL,
    assignee      text NOT NULL,
    assignee_name text NOT NULL,
    lock_ms       {whole},
    snoozed_ms    {whole},
    outcome       text NOT NULL,
    score         {whole},
    rule_         text NOT NULL,
    reason        text NOT NULL,
    stake         {whole},
    alerts        {whole} NOT NULL,
    last_seq      {whole} NOT NULL,
    version       {whole} NOT NULL,
    verdict       text NOT NULL,
    closed_ms     {whole},
    closed_by     text NOT NULL,
    closed_name   text NOT NULL,
    changed_by    text NOT NULL,
    changed_name  text NOT NULL,
    changed_ms    {whole} NOT NULL,
    look_         {whole} NOT NULL,
    first_by      text NOT NULL,
    first_verdict text NOT NULL,
    customer      text NOT NULL,
    tags          text NOT NULL DEFAULT '',
    checks        text NOT NULL DEFAULT '',
    queue         text NOT NULL DEFAULT '',
    auto_close    text NOT NULL DEFAULT ''
);

CREATE INDEX IF NOT EXISTS cases_by_due ON cases (state, due_ms, number, stake);

CREATE INDEX IF NOT EXISTS cases_by_about ON cases (about, state);

CREATE INDEX IF NOT EXISTS cases_by_assignee ON cases (assignee, state);

CREATE INDEX IF NOT EXISTS cases_by_closing ON cases (closed_ms);

CREATE INDEX IF NOT EXISTS cases_by_opening ON cases (opened_ms);

CREATE INDEX IF NOT EXISTS cases_by_look ON cases (look_, state);

CREATE INDEX IF NOT EXISTS cases_by_auto_close ON cases (auto_close, state);

CREATE TABLE IF NOT EXISTS case_alerts (
    seq          {whole} NOT NULL,
    entity       text NOT NULL,
    key_         text NOT NULL,
    event        text NOT NULL,
    id           text NOT NULL,
    time_ms      {whole} NOT NULL,
    due_ms       {whole} NOT NULL,
    outcome      text NOT NULL,
    score        {whole},
    rule_        text NOT NULL,
    rules        text NOT NULL,
    reason       text NOT NULL,
    stake        {whole},
    case_        {whole} NOT NULL,
    verdict      text NOT NULL,
    decided_ms   {whole},
    decided_by   text NOT NULL,
    label        text NOT NULL,
    label_source text NOT NULL,
    label_ms     {whole},
    customer     text NOT NULL,
    event_hash   {bytes} NOT NULL,
    queue        text NOT NULL DEFAULT '',
    auto_close   text NOT NULL DEFAULT '',
    PRIMARY KEY (seq, entity)
);

CREATE INDEX IF NOT EXISTS case_alerts_by_case ON case_alerts (case_, seq);

CREATE INDEX IF NOT EXISTS case_alerts_by_event ON case_alerts (event_hash);

CREATE INDEX IF NOT EXISTS case_alerts_by_answer ON case_alerts (decided_ms);

CREATE TABLE IF NOT EXISTS case_history (
    number {counted},
    case_  {whole} NOT NULL,
    at_ms  {whole} NOT NULL,
    who    text NOT NULL,
    name   text NOT NULL,
    what   text NOT NULL,
    words  text NOT NULL,
    more   text NOT NULL
);

CREATE INDEX IF NOT EXISTS case_history_by_case ON case_history (case_, number);

-- Actions that can still be undone; a row is deleted once its action is carried out.
CREATE TABLE IF NOT EXISTS case_pending (
    number   {counted},
    kind     text NOT NULL,
    who      text NOT NULL,
    name     text NOT NULL,
    who_kind text NOT NULL,
    role     text NOT NULL,
    at_ms    {whole} NOT NULL,
    due_ms   {whole} NOT NULL,
    body     text NOT NULL
);

CREATE INDEX IF NOT EXISTS case_pending_by_due ON case_pending (due_ms, number);

CREATE TABLE IF NOT EXISTS case_files (
    number     {counted},
    case_      {whole} NOT NULL,
    name       text NOT NULL,
    media_type text NOT NULL,
    size       {whole} NOT NULL,
    sha256     {bytes} NOT NULL,
    who        text NOT NULL,
    who_name   text NOT NULL,
    at_ms      {whole} NOT NULL,
    content    {bytes} NOT NULL
);

CREATE INDEX IF NOT EXISTS case_files_by_case ON case_files (case_, number);

CREATE TABLE IF NOT EXISTS case_views (
    owner      text NOT NULL,
    name       text NOT NULL,
    owner_name text NOT NULL,
    is_shared  {whole} NOT NULL,
    query      text NOT NULL,
    changed_ms {whole} NOT NULL,
    PRIMARY KEY (owner, name)
);

-- Outcomes answered before the decision was available; `hash`: of the event.
CREATE TABLE IF NOT EXISTS answered (
    hash    {bytes} NOT NULL PRIMARY KEY,
    outcome text NOT NULL,
    at_ms   {whole} NOT NULL
);

-- Users and groups of an identity provider (SCIM), as last received; see people/directory.py.
CREATE TABLE IF NOT EXISTS directory (
    id       text NOT NULL PRIMARY KEY,
    kind     text NOT NULL,
    document text NOT NULL,
    role     text NOT NULL
);
