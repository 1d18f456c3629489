"""The JSON Schema of project files and the loaders say the same: what one takes the other takes, wrong keys neither."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from shroff import config
from shroff.cli.main import run
from shroff.config import TEMPLATE_FOLDER
from shroff.errors import InputError
from shroff.events.avro.schema import schema_of as schema_of_avro
from shroff.events.keys import FIELD_EXAMPLES, FIELD_TYPE
from shroff.events.validation import EventValidator
from shroff.language.field_types import TypeTextError, parse_field_type
from shroff.language.keys import Either, Key, Many, MappingShape, Shape
from shroff.language.yaml import text as yamltext
from shroff.log.active_files import SETTING, beside
from shroff.notices.keys import NOTICE_FILE
from shroff.project.definitions import load_definitions
from shroff.project.file_kinds import ProjectFile
from shroff.project.parse_cache import ReadOnce
from shroff.project.schema import project_files, schema_of
from shroff.project.settings.project_keys import SETTINGS
from shroff.project.settings.systems import DECIDING_KEYS, load_systems
from shroff.runtime.values import replace
from shroff.web.http.schemas import event_schema
from tests.conformance.cases import all_cases
from tests.support.effort import long_after
from tests.support.projects import FILES as SMALL
from tests.support.projects import definitions

if TYPE_CHECKING:
    import jsonschema

# Laws are read by `check` and `prove`, not with the definitions: tests/services/test_laws.py has their mistakes.
FILES = tuple(file for file in project_files() if file.kind != "laws")
KINDS = {file.kind: file for file in FILES}
READ = ReadOnce()  # most of a test here is YAML, and of a project one file differs from the test before
CORE = {"true": True, "false": False, "null": None, "~": None, "": None}
# A whole project in which each key of every table stands at least once, those that are not there yet aside.
EVERYTHING = {
    "shroff.yaml": """
shroff: 1
name: 2026
money: { currency: ZAR, places: 4, rates: fx }
lateness: 7d
ahead: 1h
untaken: quarantine
zone: Europe/Berlin
source:
  kafka:
    brokers: localhost:9092, localhost:9093
    topics: { payment: [payments, more], any: mixed }
    labels: verdicts
    format: avro
    registry:
      { url: https://localhost:8081/apis/ccompat/v7, ca: a.pem, cert: b.pem, key: c.key, proxy: none, timeout: 2s }
    group: bank
    dead_letters: refused
    start: latest
    gone: skip
    late: keep
    wait: 200ms
    client: { security.protocol: SASL_SSL, sasl.password: "${KAFKA_PASSWORD}" }
store: { url: "postgresql://shroff@localhost/shroff", lease: 3s }
lake:
  to: az://lake/shroff
  account: bank
  every: 10s
  layout: both
  documents: { transaction: { of: payment }, answers: { of: label, sources: [customer], lines: 1000 } }
  endpoint: http://localhost:9000
  region: eu-central-1
sinks:
  all: { kafka: { take: flags, start: now, brokers: "localhost:9092", topic: all } }
  topics:
    kafka:
      brokers: localhost:9092
      by: outcome
      topics: { decline: fraud_transaction, else: non_fraud_transaction }
      client: { compression.type: lz4 }
  documents:
    mongodb:
      take: decisions
      start: first
      url: mongodb://localhost
      database: bank
      collection: decisions
      document: { Type of Card: row.fields.card, ID: row.id }
  rows:
    sql:
      take: decisions
      start: first
      url: mariadb://bank@localhost/bank
      table: decisions
      columns: { paid_at: event_time, amount: fields.amount }
  calls:
    webhook:
      take: decisions
      start: first
      url: https://bank.example/hook
      secret: ${HOOK_SECRET}
      outcomes: [decline, review]
      timeout: 10s
      proxy: http://proxy.bank:3128
      ca: certs/ca.pem
online: { url: "redis://localhost:6379/1", prefix: bank, ttl: 90d, entities: [card] }
mail:
  smtp: smtp://shroff@mail.bank.example:587
  from: Bank <notices@bank.example>
  security: tls
  ca: ca.pem
  keep: 7d
  timeout: 30s
web:
  url: https://answer.bank.example
  name: Bank
  help: Call us.
  proxies: [10.0.0.0/8]
  networks: [10.20.0.0/16, 203.0.113.7]
  proxy_header: forwarded
sign_in:
  passwords: true
  second_factor: [admin, author]
  oidc:
    issuer: https://login.bank.org/realms/bank
    client_id: shroff
    client_secret: ${OIDC_SECRET}
    claim: groups
    roles: { fraud-team: analyst, "fraud leads": admin }
    ca: certs/ca.pem
    proxy: none
    timeout: 5s
  scim:
    roles: { fraud-team: analyst }
http: { proxy: "${PROXY}", ca: certs/ca.pem, timeout: 5s }
sessions: { idle: 15m, lasts: 8h }
snapshots:
  every: 10m
  events: 1000000
  kept: 3
  to: az://lake/snapshots
  account: bank
  endpoint: http://localhost:9000
  region: eu-central-1
backup:
  to: az://backups/bank
  key: secrets/backup.key
  account: bank
  endpoint: http://localhost:9000
  region: eu-central-1
metrics:
  port: 8000
  host: 10.0.0.7
  earlier_names: { transaction_type: kind, country: card, fraud: [decline] }
keep: 400d
second_person: [rules, silences]
scheme_programmes:
  scheme: network
  acquirer: bank
  merchant: shop
  card_not_present: { channel: [web, app] }
  settled: { captured: [true] }
  enumeration: card_testing
  left_out: [rdr, ce3]
  limits:
    - { name: own, scheme: [visa], since: 2026-01-01, by: acquirer, counts: [dispute], codes: [10.4],
        payments: all, divisor: previous_month, limit: 0.9%, reports: 100, money: 50.00, settled: 1000, source: us }
cases:
  outcomes: [review, decline]
  about: { payment: card }
  until: { payment: due }
  within: 4h
  lock: 30m
  second_look: 10%
  checklists: { card: { called: { text: Customer called, required: true } } }
  macros:
    stolen: { verdict: fraud, note: Reported stolen., tags: [stolen] }
    wait: { snooze: 1d }
    hand: { escalate: Hard. }
  queues: { large: { when: this.amount > 1, rules: [large], teams: [senior], only: true, due: 1h } }
  teams: { senior: [ann] }
  auto_close:
    small: { when: this.amount < 1, rules: [large], after: 2h, verdict: genuine, sample: 5% }
    later: { when: this.amount < 1, from: 2026-12-01, at_most: 1% }
  evidence: { card: card, device: kind, ip: kind, address: kind, login: kind }
""",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text? hashed, amount: money, kind: text?, due: time? }
  summary: [amount, kind]
  from:
    zone: Europe/Berlin
    arrived: row.loaded_at
    csv:
      { id: row.Nr, arrived: row.loaded, when: row.kind == 'p', decimal: ',', separator: ';', zone: UTC,
        columns: [Nr, at], order: descending, skip: 2, missing: ['', '-'] }
    json:
      { each: row.items, arrived: row.loaded, amount: money(item.price), when: row.kind == 'p', zone: UTC,
        decimal: ',', order: descending }
    parquet: { id: row.nr, when: row.nr == 'p', arrived: row.loaded, zone: UTC, order: descending, decimal: ',' }
    avro: { id: row.nr, when: row.nr == 'p', arrived: row.loaded, zone: UTC, order: descending, decimal: ',' }
label:
  from:
    zone: Europe/Berlin
    arrived: row.loaded_at
    csv:
      { arrived: row.loaded, verdict: "'fraud'", when: row.nr is missing, decimal: ',', separator: tab, zone: UTC,
        columns: [Nr, at], order: descending, skip: 2, missing: ['', '-'] }
    json:
      { each: row.labels, arrived: row.loaded, when: row.label is missing, decimal: ',', zone: UTC,
        order: descending }
    parquet: { event: row.nr, when: row.nr is missing, arrived: row.loaded, zone: UTC, order: descending, decimal: ',' }
    avro: { event: row.nr, when: row.nr is missing, arrived: row.loaded, zone: UTC, order: descending, decimal: ',' }
  disputes:
    zone: Europe/Berlin
    arrived: row.loaded_at
    csv:
      { arrived: row.loaded, stage: "'won'", when: row.nr is missing, decimal: ',', separator: tab, zone: UTC,
        columns: [Nr, at], order: descending, skip: 2, missing: ['', '-'] }
    json:
      { each: row.disputes, arrived: row.loaded, when: row.stage is missing, decimal: ',', zone: UTC,
        order: descending }
    parquet: { event: row.nr, when: row.nr is missing, arrived: row.loaded, zone: UTC, order: descending, decimal: ',' }
    avro: { event: row.nr, when: row.nr is missing, arrived: row.loaded, zone: UTC, order: descending, decimal: ',' }
entities:
  card: { payment: card }
  pair: { payment: [card, domain(payment.kind)] }
tables:
  bins: { bin: text, country: text? }
  fx: { currency: text, from: valid_from, rate: number(12) }
""",
    "features.yaml": "card:\n  spent: sum(payment.amount) over 1d\n",
    "rules/one.yaml": """
- id: large
  on: payment
  by: card
  when: this.amount > 100
  reason: A payment of {this.amount}
  effect: note
  notify: analysts
  shadow: false
  expires: 2027-12-31
  rollout: 12.5%
  tests:
    - name: one
      events: [{ payment: { at: 2026-03-01T10:00:00Z, card: , amount: 101 } }]
      hits: [true]
- id: by_amount
  on: payment
  by: card
  table: |
    this.amount | effect | row
    > 100       | review | high
- id: by_points
  on: payment
  by: card
  scorecard: |
    points | when
    20     | this.amount > 100
  bands: |
    points | effect
    >= 20  | review
- { id: quiet, on: payment, by: card, when: this.amount > 1, effect: note, shadow: true }
""",
    "policy.yaml": """
payment:
  score: { review_at: 0.60, decline_at: .92 }
  without_model: review
  costs: { missed_fraud: payment.amount, false_decline: 15, review: 4.50, reviews_a_day: 1e2 }
  release_below: 250.00
  explore:
    share: 2.5%
    at_most_a_day: 20
    amount_at_most: 100.50
    expires: 2027-12-31
    seed: 4129 nobody guesses this
    instead: review
  sample: { share: 0.5%, uncertain_share: 10%, uncertain_from: 0.30, seed: 4129 nobody guesses this }
  experiment:
    { name: stricter, share: 20%, by: card, score: { review_at: 0.50, decline_at: 0.90 }, rules: { quiet: true } }
""",
    "model.yaml": """
payment:
  purpose: Review of payments
  inputs: [payment.amount, hour(payment.at), card.*]
  label_delay: 7d
  learner: xgboost
  split: { train: 28d, delay: 7d, test: 7d, folds: 4 }
  capacity: { by: card, k: 100 }
  gates:
    auc_roc: { at_least: 0.7, at_most: .99, above_champion_by: noise }
    average_precision: { at_least: 0.3, at_most: .99, above_champion_by: 0.01 }
    card_precision_at_k: { at_least: 0.3, at_most: .99, above_champion_by: noise }
    recall_at_budget: { at_least: 0.3, at_most: .99, above_champion_by: noise }
    precision_at_review: { at_least: 0.3, at_most: .99, above_champion_by: noise }
    recall_at_review: { at_least: 0.3, at_most: .99, above_champion_by: noise }
    precision_at_decline: { at_least: 0.3, at_most: .99, above_champion_by: noise }
    recall_at_decline: { at_least: 0.3, at_most: .99, above_champion_by: noise }
    precision: { at: 0.5, at_least: 0.3, at_most: .99, above_champion_by: noise }
    recall: { at: 0.5, at_least: 0.3, at_most: .99, above_champion_by: noise }
    f1: { at: 0.5, at_least: 0.3, at_most: .99, above_champion_by: noise }
    fairness: { by: [payment.amount > 50], false_positive_ratio: { at_most: 1.5 } }
    calibration_error: { at_most: 0.02 }
    brier: { at_most: 0.02 }
    money_saved: { at_least: -100.50, at_most: 1e6, above_champion_by: 10 }
    money_lost: { at_most: 1000 }
    cost_per_thousand: { at_most: 50 }
    slice_collapse: { at_most: 0.1 }
    latency_p99: { at_most: 1ms }
    leak_test: required
  parameters:
    trees: 300
    depth: 6
    leaves: 63
    learning_rate: 0.05
    min_weight: 5
    min_gain: 0.1
    rows: 0.8
    columns: .8
    bins: 256
    l1: 0
    l2: 1
    positive_weight: 10
  search: { trials: 50, time: 10m }
  calibration: auto
  negatives: 10%
  friendly_fraud: [friendly]
  slices: [payment.amount > 100]
  give_away: [payment.amount]
  seed: 7
""",
    "calls.yaml": """
/predict/:
  event: payment
  write: false
  lists: { features: [amount, _] }
  fields: { amount: money(row.amount) }
  answer: { prediction: 1 when decision.outcome != 'approve' else 0 }
/counts/:
  reads: counts
  method: post
  many: days
  default: '[{"from": "2026-01-01"}]'
  unread: [who]
  ask: { event_types: ["'payment'"], start_date: row.from }
  each: { type: row.type, day: { first: row.request.from } }
/known:
  reads: flags
  method: get
  ask: { entity: "'card'", key: row.card }
  answer: "'yes'"
/send:
  sends: mail
  recipients: [ann@bank.example]
  unread: [html]
  ask: { kind: "'mail'", to: row.to, subject: row.subject, text: row.text }
  answer: { sent: row.sent }
""",
    "assistant.yaml": "url: http://localhost:1/v1\nmodel: m\ntoken: t\nproxy: none\nca: ca.pem\ntimeout: 1m\n",
    "funnels.yaml": """
large:
  user: kind
  steps: [payment, { name: large, event: [payment], where: this.amount > 100 }]
  within: 7d
  next: ever
  split: card
  merged: card
""",
    "schedules.yaml": """
nightly:
  kind: marts
  cron: "0 5 * * *"
  zone: Europe/Berlin
  params: { full: true }
  catch_up: all
  timeout: 30m
  retries: 2
  overlap: queue
  paused: true
""",
    "tables/bins.csv": "bin,country\n1,DE\n",
    "tables/fx.csv": "currency,valid_from,rate\nEUR,2026-01-01,20.5\n",
}


def kind_of(file: str) -> str:
    return file.split("/", maxsplit=1)[0].removesuffix(".yaml")


# What stands in the place of another key of it, such as the other kind of source.
OTHER_SETTINGS = """
shroff: 1
name: 2026
money: EUR
source:
  redis:
    url: redis://localhost:6379/0
    streams: { payment: payments }
    labels: verdicts
    field: event
    format: json
    registry: { url: https://registry.example, ca: a.pem, cert: b.pem, key: c.key, proxy: none, timeout: 2s }
    dead_letters: refused
    trim: true
    late: refuse
    wait: 200ms
sources:
  topic:
    sns:
      topics: ["arn:aws:sns:eu-west-1:123456789012:savings"]
      subscribe: auto
      password: ${SNS_PASSWORD}
      certificates: certs
      proxy: none
    events: [payment]
    others: quarantine
    id: row
  app:
    pubsub:
      audience: https://bank.example/hooks/app
      service_account: push@project.iam.gserviceaccount.com
      subscriptions: [projects/p/subscriptions/s]
      body: unwrapped
  partner:
    webhook: { secrets: [one, two], form: stripe, tolerance: 1m }
    others: skip
    id: message
summaries:
  url: sqlite:///summaries.db
  event: payment
  amount: amount
  columns: { cards: card }
  every: 15m
  by: event_time
  delay: 1m
  fraud: [decline]
  table: payments_summary
  fraud_table: frauds_summary
"""


def as_editors_read(node: yamltext.Node | None) -> object:
    """A node as a reader of YAML 1.2 (core schema) has it: plain scalars are numbers and truths where they look so."""
    if isinstance(node, yamltext.Mapping):
        return {key.text: as_editors_read(value) for key, value in node.entries}
    if isinstance(node, yamltext.Sequence):
        return [as_editors_read(item) for item in node.items]
    if node is None or node.style != "plain":
        return node.text if node else None
    if node.text in CORE:
        return CORE[node.text]
    if re.fullmatch(r"[-+]?[0-9]+", node.text):
        return int(node.text)
    return (
        float(node.text)
        if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", node.text)
        else node.text
    )


@cache
def judges() -> ModuleType:
    """The library that judges, loaded by the worker that asks it: it reads grammars for a second."""
    import jsonschema

    return jsonschema


@cache
def tree(file: str, text: str) -> yamltext.Node:
    problems: list[object] = []
    found = yamltext.read(text, file, problems)
    assert problems == []
    return found


def refusals(file: str, text: str) -> list[str]:
    """What the schema says against a file."""
    document = as_editors_read(tree(file, text))
    validator = judges().Draft7Validator(schema_of(KINDS[kind_of(file)]))
    return [cause.message for error in validator.iter_errors(document) for cause in with_causes(error)]


def with_causes(error: jsonschema.ValidationError) -> Iterator[jsonschema.ValidationError]:
    """An error, and those of each form that a value might have had, however deep."""
    yield error
    for item in error.context or ():
        yield from with_causes(item)


def projects() -> Iterator[pytest.param]:
    for name in config.TEMPLATES:
        yield pytest.param(config.read_files(TEMPLATE_FOLDER / name, []), id=name)
    yield pytest.param(EVERYTHING, id="everything")
    yield pytest.param(EVERYTHING | {"shroff.yaml": OTHER_SETTINGS}, id="other settings")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.kind)
def test_a_schema_is_a_schema(file):
    judges().Draft7Validator.check_schema(schema_of(file))
    json.dumps(schema_of(file), allow_nan=False)


@pytest.mark.parametrize("files", list(projects()))
def test_what_loads_validates(files):
    assert refused(files) == {}


@pytest.mark.slow
def test_what_loads_of_the_conformance_cases_validates():
    found = {case.id: case.files() for case in all_cases()}
    loading = {id_: files for id_, files in found.items() if not load_definitions(files).problems}

    assert len(loading) > 100
    assert {id_: words for id_, files in loading.items() if (words := refused(files))} == {}


@pytest.mark.parametrize("key", sorted({*SETTINGS.names} - DECIDING_KEYS - {"cases"}))
def test_a_system_that_changes_is_named_by_its_own_key(key):
    named = set()
    for text in (EVERYTHING["shroff.yaml"], OTHER_SETTINGS):
        top = tree("shroff.yaml", text)
        own = replace(top, entries=tuple(entry for entry in top.entries if entry[0].text == key))
        named |= {name.removeprefix(SETTING).split(" ")[0] for name in beside({}, load_systems(own, [], []))}
    assert named == {key}


def refused(files: Mapping[str, str]) -> dict[str, list[str]]:
    """What the schemas say against a project, by file."""
    found = {name: refusals(name, text) for name, text in files.items() if kind_of(name) in KINDS and text.strip()}
    return {name: words for name, words in found.items() if words}


# ---- each key, by itself


def keys_of(shape: Shape, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], MappingShape]]:
    """Every mapping below a shape, with the way to it; `*` stands for a name and for an item."""
    match shape:
        case MappingShape():
            yield path, shape
            for key in shape.keys:
                if key.shape is not None:
                    yield from keys_of(key.shape, (*path, key.name))
            if shape.named is not None:
                yield from keys_of(shape.named, (*path, "*"))
        case Many(_, item):
            yield from keys_of(item, (*path, "*"))
        case Either(shapes):
            for element in shapes:
                yield from keys_of(element, path)


def tables() -> list[tuple[ProjectFile, tuple[str, ...], MappingShape]]:
    return [(file, path, keys) for file in FILES for path, keys in keys_of(file.shape, ()) if keys.keys]


def each_key(*, required_only: bool = False) -> list[pytest.param]:
    return [
        pytest.param(file, (*path, key.name), key, id=".".join((file.kind, *path, key.name)))
        for file, path, keys in tables()
        for key in keys.keys
        if key.is_required or not required_only
    ]


def fits(path: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return len(path) == len(wanted) and all(want in {part, "*"} for part, want in zip(path, wanted, strict=True))


def places(node: yamltext.Node | None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], yamltext.Scalar]]:
    """Every key of a file with the way to it."""
    if isinstance(node, yamltext.Mapping):
        for key, value in node.entries:
            yield (*path, key.text), key
            yield from places(value, (*path, key.text))
    elif isinstance(node, yamltext.Sequence):
        for item in node.items:
            yield from places(item, (*path, "*"))


def everything_of(file: ProjectFile) -> tuple[str, str]:
    return next((name, text) for name, text in EVERYTHING.items() if kind_of(name) == file.kind)


def project_with(file: ProjectFile, wanted: tuple[str, ...]) -> dict[str, str]:
    """A whole project in which a key stands."""
    name = everything_of(file)[0]
    all_ = (EVERYTHING, EVERYTHING | {"shroff.yaml": OTHER_SETTINGS})
    return next(row for row in all_ if any(fits(path, wanted) for path, _ in places(tree(name, row[name]))))


def misspelt(file: ProjectFile, wanted: tuple[str, ...]) -> dict[str, str]:
    """A whole project with one key misspelt."""
    project = project_with(file, wanted)
    name = everything_of(file)[0]
    text = project[name]
    key = next(key for path, key in places(tree(name, text)) if fits(path, wanted))
    lines = text.splitlines(keepends=True)
    line = lines[key.line - 1]
    lines[key.line - 1] = f"{line[: key.column - 1]}X{line[key.column - 1 :]}"
    return project | {name: "".join(lines)}


@cache
def both_take(name: str, files: tuple[tuple[str, str], ...]) -> bool:
    """Whether loader and schema take a project, which is that of many keys."""
    return not load_definitions(dict(files), read=READ).problems and not refusals(name, dict(files)[name])


@pytest.mark.slow
# One loader and one schema take all keys.
@pytest.mark.parametrize("file, path, key", long_after(130, each_key()))
def test_a_key_of_the_tables_is_taken_by_loader_and_schema_and_misspelt_by_neither(file, path, key: Key):
    if key.shape is None:
        files = EVERYTHING | {"shroff.yaml": EVERYTHING["shroff.yaml"] + f"{key.name}: here\n"}
        assert any("not there yet" in problem.message for problem in load_definitions(files, read=READ).problems)
    else:
        files = misspelt(file, path)
    name, whole = everything_of(file)[0], EVERYTHING if key.shape is None else project_with(file, path)

    assert both_take(name, tuple(whole.items()))
    assert [problem for problem in load_definitions(files, read=READ).problems if problem.file == name]
    assert refusals(name, files[name])


@pytest.mark.parametrize("file, path, key", each_key(required_only=True))
def test_a_key_that_must_stand_is_missed_by_both(file, path, key: Key):
    files = misspelt(file, path)
    name = everything_of(file)[0]

    assert any(f"lacks {key.name}" in problem.message for problem in load_definitions(files, read=READ).problems)
    assert any(message == f"{key.name!r} is a required property" for message in refusals(name, files[name]))


@pytest.mark.parametrize("file, path, key", each_key())
def test_a_key_says_what_it_means_in_whole_sentences(file, path, key: Key):
    assert key.meaning[:1].isupper() or key.meaning.startswith("true:")
    assert key.meaning.endswith(".")


WRONG = [
    ("shroff.yaml", "shroff: 1", "shroff: 2"),
    ("shroff.yaml", "currency: ZAR", "currency: rand"),
    ("shroff.yaml", "places: 4", "places: 9"),
    ("shroff.yaml", "lateness: 7d", "lateness: 7"),
    ("shroff.yaml", "lateness: 7d", "lateness: a week"),
    ("shroff.yaml", "untaken: quarantine", "untaken: drop"),
    ("shroff.yaml", "name: 2026", "name: [a]"),
    ("events.yaml", "payment:\n", "Payment:\n"),
    ("events.yaml", "payment:\n", "score:\n"),
    ("events.yaml", "decide: true", "decide: yes"),
    ("events.yaml", "amount: money", "amount: mony"),
    ("events.yaml", "  card: { payment: card }", "  this: { payment: card }"),
    (
        "events.yaml",
        "{ id: row.nr, when: row.nr == 'p', arrived: row.loaded, zone: UTC, order: descending, decimal: ',' }",
        "row.nr",
    ),
    ("features.yaml", "spent:", "Spent:"),
    ("features.yaml", "sum(payment.amount) over 1d", "[1]"),
    ("rules/one.yaml", "- id: large", "- id: Large"),
    ("rules/one.yaml", "effect: note", "effect: deny"),
    ("rules/one.yaml", "shadow: false", "shadow: off"),
    ("rules/one.yaml", "expires: 2027-12-31", "expires: soon"),
    ("rules/one.yaml", "rollout: 12.5%", "rollout: 0.125"),
    ("rules/one.yaml", "rollout: 12.5%", "rollout: 101%"),
    ("rules/one.yaml", "hits: [true]", "hits: true"),
    ("rules/one.yaml", "{ payment: {", "{ note: a, payment: {"),
    ("policy.yaml", "review_at: 0.60", "review_at: 1.2"),
    ("policy.yaml", "review_at: 0.60", "review_at: '60 %'"),
    ("policy.yaml", "without_model: review", "without_model: decline"),
    ("policy.yaml", "review: 4.50", "review: cheap"),
    ("policy.yaml", "reviews_a_day: 1e2", "reviews_a_day: many"),
    ("model.yaml", "[payment.amount, hour(payment.at), card.*]", "payment.amount"),
    ("model.yaml", "label_delay: 7d", "label_delay: 7"),
    ("model.yaml", "learner: xgboost", "learner: catboost"),
    ("model.yaml", "folds: 4", "folds: four"),
    ("model.yaml", "above_champion_by: noise", "above_champion_by: much"),
    ("model.yaml", "auc_roc: { at_least: 0.7", "auc_roc: { at_least: 70"),
    ("model.yaml", "calibration_error: { at_most: 0.02 }", "calibration_error: { at_least: 0.02 }"),
    ("model.yaml", "latency_p99: { at_most: 1ms }", "latency_p99: { at_most: 1 }"),
    ("model.yaml", "leak_test: required", "leak_test: { at_least: 1 }"),
    ("model.yaml", "slice_collapse: { at_most: 0.1 }", "slice_collapse: needed"),
    ("model.yaml", "trees: 300", "trees: many"),
    ("model.yaml", "calibration: auto", "calibration: yes"),
    ("model.yaml", "negatives: 10%", "negatives: 0.1"),
    ("model.yaml", "seed: 7", "seed: any"),
]


@pytest.mark.parametrize("file, right, wrong", WRONG, ids=[f"{file}-{wrong.strip()}" for file, _, wrong in WRONG])
def test_a_wrong_value_is_refused_by_both(file, right, wrong):
    assert right in EVERYTHING[file]
    files = EVERYTHING | {file: EVERYTHING[file].replace(right, wrong, 1)}

    assert load_definitions(files, read=READ).problems
    assert refusals(file, files[file])


TYPES = [
    *FIELD_EXAMPLES,
    *("number", "number(12)", "number( 2 )?", "text?hashed", " text ? unique hashed", "integer? unique", "choice(a)?"),
    *("", "texthashed", "number(13)", "number()", "integer(2)", "choice", "choice()", "choice( )", "money hashed"),
    *("text hashes", "Text", "text ??", "hashed text", "choice(a)b", "money>0", "money ? unique >= 0 and <= 1e3 "),
    *("text > 0", "boolean > 0", "choice(a) > 0", "money >", "money > 0 and", "money > 0 >", "money >= 0 and < 5 and"),
]


@pytest.mark.parametrize("text", TYPES)
def test_the_schema_knows_a_type_of_a_field_as_the_loader_does(text):
    try:
        parse_field_type(text, money_places=2)
        is_type = True
    except TypeTextError:
        is_type = False

    assert (re.search(FIELD_TYPE.pattern, text) is not None) == is_type


def test_the_schemas_of_others_say_the_bounds_of_a_field():
    found = definitions(
        {"events.yaml": SMALL["events.yaml"].replace("amount: money", "amount: money? > 0 and <= 99.5")}
    )
    type_ = found.events.types["payment"]
    posted = event_schema(type_)["properties"]["amount"]
    *_, record = schema_of_avro(type_, found.settings)["fields"]

    assert (posted["exclusiveMinimum"], posted["maximum"]) == (0, 99.5)
    assert posted["description"].endswith("Above 0 and at most 99.5.")
    assert record["doc"] == "EUR, above 0 and at most 99.5"
    for value, is_valid in ((0, False), (0.5, True), (100, False), ("-1", True), (None, True)):
        assert judges().Draft202012Validator(posted).is_valid(value) == is_valid


@pytest.mark.parametrize("name", config.TEMPLATES)
def test_no_template_takes_a_negative_amount(name):
    found = load_definitions(config.read_files(TEMPLATE_FOLDER / name, [])).or_raise()
    validator = EventValidator(found.events, found.settings)
    for type_ in found.events.types:
        fields = json.loads((TEMPLATE_FOLDER / name / "examples" / f"{type_}.json").read_bytes())
        with pytest.raises(InputError) as caught:
            validator.admit(type_, fields | {"amount": "-0.01"}, is_strict=True)

        assert [path for path, _ in caught.value.mistakes] == ["amount"]
        if name == "savings":
            with pytest.raises(InputError, match=r"exact_amount: .*above 0; found 0"):
                validator.admit(type_, fields | {"exact_amount": 0}, is_strict=True)


@pytest.mark.parametrize("name", ["cards", "orders", "payments", "paysim"])
def test_a_template_for_payments_says_what_a_model_reads(name):
    found = load_definitions(config.read_files(TEMPLATE_FOLDER / name, [])).or_raise()

    assert list(found.models) == list(found.events.decided)


# ---- the command


def test_the_command_writes_a_schema_for_each_kind_of_file(tmp_path, capfd):
    assert run(["schema", "--out", str(tmp_path / "schemas"), "--json"]) == 0

    written = json.loads(capfd.readouterr().out)["files"]
    files = (*project_files(), NOTICE_FILE)
    assert [row["of"] for row in written] == [file.place for file in files]
    assert [json.loads(Path(row["file"]).read_text()) for row in written] == [schema_of(file) for file in files]


def test_a_folder_that_cannot_be_made_is_said(tmp_path, capfd):
    (tmp_path / "file").write_text("")

    assert run(["schema", "--out", str(tmp_path / "file" / "schemas")]) == 3
    assert "cannot be written: Not a directory" in capfd.readouterr().err
