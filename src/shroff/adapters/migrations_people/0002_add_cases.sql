-- Cases: what people look at. See cases/case.py for what the columns mean.

-- How far the log was read for alerts, and the number of the newest case. One row.
CREATE TABLE IF NOT EXISTS {prefix}case_place (
    one       {whole} NOT NULL PRIMARY KEY,
    seq       {whole} NOT NULL,
    last_case {whole} NOT NULL
){more};

INSERT INTO {prefix}case_place (one, seq, last_case)
SELECT 1, 0, 0 FROM (SELECT 1 AS one) AS none_yet WHERE NOT EXISTS (SELECT 1 FROM {prefix}case_place);

CREATE TABLE IF NOT EXISTS {prefix}cases (
    number        {whole} NOT NULL PRIMARY KEY,
    about         {hash} NOT NULL,
    entity        {name} NOT NULL,
    key_          {text} NOT NULL,
    opened_ms     {whole} NOT NULL,
    due_ms        {whole} NOT NULL,
    state         {word} NOT NULL,
    assignee      {word} NOT NULL,
    assignee_name {text} NOT NULL,
    lock_ms       {whole},
    snoozed_ms    {whole},
    outcome       {word} NOT NULL,
    score         {whole},
    rule_         {name} NOT NULL,
    reason        {text} NOT NULL,
    stake         {whole},
    alerts        {whole} NOT NULL,
    last_seq      {whole} NOT NULL,
    version       {whole} NOT NULL,
    verdict       {word} NOT NULL,
    closed_ms     {whole},
    closed_by     {word} NOT NULL,
    closed_name   {text} NOT NULL,
    changed_by    {word} NOT NULL,
    changed_name  {text} NOT NULL,
    changed_ms    {whole} NOT NULL,
    look_         {whole} NOT NULL,
    first_by      {word} NOT NULL,
    first_verdict {word} NOT NULL,
    customer      {word} NOT NULL
){more};

CREATE INDEX IF NOT EXISTS {prefix}cases_by_due ON {prefix}cases (state, due_ms, number, stake);

CREATE INDEX IF NOT EXISTS {prefix}cases_by_about ON {prefix}cases (about, state);

CREATE INDEX IF NOT EXISTS {prefix}cases_by_assignee ON {prefix}cases (assignee, state);

CREATE INDEX IF NOT EXISTS {prefix}cases_by_closing ON {prefix}cases (closed_ms);

CREATE INDEX IF NOT EXISTS {prefix}cases_by_opening ON {prefix}cases (opened_ms);

CREATE INDEX IF NOT EXISTS {prefix}cases_by_look ON {prefix}cases (look_, state);

CREATE TABLE IF NOT EXISTS {prefix}case_alerts (
    seq          {whole} NOT NULL,
    entity       {name} NOT NULL,
    key_         {text} NOT NULL,
    event        {name} NOT NULL,
    id           {text} NOT NULL,
    time_ms      {whole} NOT NULL,
    due_ms       {whole} NOT NULL,
    outcome      {word} NOT NULL,
    score        {whole},
    rule_        {name} NOT NULL,
    rules        {text} NOT NULL,
    reason       {text} NOT NULL,
    stake        {whole},
    case_        {whole} NOT NULL,
    verdict      {word} NOT NULL,
    decided_ms   {whole},
    decided_by   {word} NOT NULL,
    label        {word} NOT NULL,
    label_source {word} NOT NULL,
    label_ms     {whole},
    customer     {word} NOT NULL,
    event_hash   {hash} NOT NULL,
    PRIMARY KEY (seq, entity)
){more};

CREATE INDEX IF NOT EXISTS {prefix}case_alerts_by_case ON {prefix}case_alerts (case_, seq);

CREATE INDEX IF NOT EXISTS {prefix}case_alerts_by_event ON {prefix}case_alerts (event_hash);

CREATE INDEX IF NOT EXISTS {prefix}case_alerts_by_answer ON {prefix}case_alerts (decided_ms);

CREATE TABLE IF NOT EXISTS {prefix}case_history (
    number {counted},
    case_  {whole} NOT NULL,
    at_ms  {whole} NOT NULL,
    who    {name} NOT NULL,
    name   {text} NOT NULL,
    what   {word} NOT NULL,
    words  {text} NOT NULL,
    more   {text} NOT NULL
){more};

CREATE INDEX IF NOT EXISTS {prefix}case_history_by_case ON {prefix}case_history (case_, number);

-- What was done a moment ago and can still be undone; a row is gone when it was carried out.
CREATE TABLE IF NOT EXISTS {prefix}case_pending (
    number   {counted},
    kind     {word} NOT NULL,
    who      {name} NOT NULL,
    name     {text} NOT NULL,
    who_kind {word} NOT NULL,
    role     {word} NOT NULL,
    at_ms    {whole} NOT NULL,
    due_ms   {whole} NOT NULL,
    body     {text} NOT NULL
){more};

CREATE INDEX IF NOT EXISTS {prefix}case_pending_by_due ON {prefix}case_pending (due_ms, number);

CREATE TABLE IF NOT EXISTS {prefix}case_files (
    number     {counted},
    case_      {whole} NOT NULL,
    name       {text} NOT NULL,
    media_type {word} NOT NULL,
    size       {whole} NOT NULL,
    sha256     {hash} NOT NULL,
    who        {name} NOT NULL,
    who_name   {text} NOT NULL,
    at_ms      {whole} NOT NULL,
    content    {bytes} NOT NULL
){more};

CREATE INDEX IF NOT EXISTS {prefix}case_files_by_case ON {prefix}case_files (case_, number);

CREATE TABLE IF NOT EXISTS {prefix}case_views (
    owner      {word} NOT NULL,
    name       {word} NOT NULL,
    owner_name {text} NOT NULL,
    is_shared  {whole} NOT NULL,
    query      {text} NOT NULL,
    changed_ms {whole} NOT NULL,
    PRIMARY KEY (owner, name)
){more};
