"""A week of payments with pauses, written batch by batch at times of a test's own; and its summaries by definition."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from shroff.adapters.databases.sql_database import SqlDatabase
from shroff.config import ProjectPaths
from shroff.events.intake import Intake
from shroff.services.context import ProjectContext
from shroff.services.project import Project

EVERY_MS: Final = 300_000
MINUTE_MS: Final = 60_000
BEGIN_MS: Final = int(datetime(2026, 3, 28, 21, 58, tzinfo=UTC).timestamp() * 1_000)  # clocks change; a month ends
EVENTS: Final = """\
payment:
  id: id
  time: at
  decide: true
  fields: {id: text, at: time, card_type: text, country: text?, retry: boolean?, amount: money}
login:
  id: id
  time: at
  fields: {id: text, at: time}
entities:
  kind: { payment: card_type }
"""
RULES: Final = """\
- {id: large, on: payment, by: kind, when: this.amount > 90, reason: large, effect: review}
- {id: huge, on: payment, by: kind, when: this.amount > 97, reason: huge, effect: decline}
- {id: odd, on: payment, by: kind, when: this.amount > 80, reason: odd, effect: challenge}
"""
COLUMNS: Final = {"type": "card_type", "land": "country", "order": "retry"}  # one has a word of SQL as its name
SETTINGS: Final = "shroff: 1\nname: bank\nmoney: GBP\nlateness: 1d\n"


@dataclass
class Bank:
    """A project whose clock a test sets, and what was written into its log."""

    folder: Path
    address: str
    tables: tuple[str, str]
    now_ms: int = BEGIN_MS
    events: list[dict[str, Any]] = field(default_factory=list)
    verdicts: dict[str, str] = field(default_factory=dict)

    def settings(self, **more: Any) -> None:
        """Write shroff.yaml: `summaries` with further keys."""
        tables = dict(zip(("table", "fraud_table"), self.tables, strict=True))
        said = {"url": self.address, "columns": COLUMNS, **tables, **more}
        text = f"{SETTINGS}summaries: {msgspec.json.encode(said).decode()}\n"
        (self.folder / "shroff.yaml").write_text(text, encoding="utf-8")

    @property
    def project(self) -> Project:
        return Project(ProjectContext(ProjectPaths(self.folder), now_ms=lambda: self.now_ms))

    def write(self, batches: Sequence[tuple[int, Sequence[tuple[str, Mapping[str, Any]]]]]) -> None:
        """Append batches, each at its time."""
        context = self.project.context
        intake = Intake(context.definitions.events, context.definitions.settings, None)
        with context.log.writing() as (writer, _):
            for at_ms, rows in batches:
                self.now_ms = at_ms
                submissions = [
                    intake.submit(type_, fields, source="t", place=str(n), raw=b"", is_strict=False)
                    for n, (type_, fields) in enumerate(rows)
                ]
                writer.write(submissions)
                for type_, fields in rows:
                    if type_ == "payment":
                        self.events.append({**fields, "ingest_time": at_ms})
                    elif type_ == "label":
                        self.verdicts[fields["event"].removeprefix("payment/")] = fields["verdict"]


def bank_in(folder: Path, address: str = "", table: str = "transaction_summaries", **more: Any) -> Bank:
    """A bank without events yet, with summaries in SQLite where no address is given."""
    (folder / "rules").mkdir(parents=True)
    (folder / "events.yaml").write_text(EVENTS, encoding="utf-8")
    (folder / "rules" / "large.yaml").write_text(RULES, encoding="utf-8")
    bank = Bank(
        folder, address or f"sqlite:///{folder}/summaries.db", (table, table.replace("transaction", "fraud") + "_f")
    )
    bank.settings(**more)
    return bank


def rows_of(address: str, table: str) -> list[dict[str, Any]]:
    """The rows of a table or view, as each driver gives them, made alike."""
    database = SqlDatabase(address, "a test")
    with closing(database), database.begun() as connection:
        found = connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY window_start").mappings().all()
    return [{name: _alike(value) for name, value in row.items()} for row in found]


def _alike(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)  # PostgreSQL's driver reads JSON
    if isinstance(value, Decimal | float):
        return Decimal(str(value))
    if isinstance(value, str) and value[:4].isdecimal():
        value = datetime.fromisoformat(value)  # SQLite's moments are texts
    if isinstance(value, datetime):
        return round(value.replace(tzinfo=value.tzinfo or UTC).timestamp() * 1_000)
    return value


def summarized(bank: Bank) -> list[tuple[Any, ...]]:
    """The rows that are there, in the form of the definition."""
    found = []
    for row, other in zip(*(rows_of(bank.address, table) for table in bank.tables), strict=True):
        assert row["window_start"] == other["window_start"]
        assert row["window_end"] == other["window_end"] == row["window_start"] + EVERY_MS
        found.append((row["window_start"], _content(row), row["fraud_count"], _content(other)))
    return found


def _content(row: dict[str, Any]) -> tuple[Any, ...]:
    counts = {column: json.loads(row[column]) for column in COLUMNS}
    assert all(list(count) == sorted(count) for count in counts.values())
    return counts, row["transaction_count"], row["amount_sum"], row["average_amount"], row["confirmed_fraud_count"]


def week(seed: int, count: int = 150, begin_ms: int = BEGIN_MS) -> list[tuple[int, list[tuple[str, dict[str, Any]]]]]:
    """Batches of about a week: with pauses, on the ends of windows, and labels of events of days before."""
    chance, at_ms, found = random.Random(seed), begin_ms, list[tuple[int, list[tuple[str, dict[str, Any]]]]]()
    names: list[tuple[str, int]] = []
    for number in range(count):
        at_ms += chance.choice([20_000, MINUTE_MS, EVERY_MS, 11 * MINUTE_MS, 4 * 3_600_000])
        if chance.random() < 0.3:
            at_ms += -at_ms % EVERY_MS + chance.choice([-1, 0, 1])
        rows: list[tuple[str, dict[str, Any]]] = []
        for n in range(chance.randrange(6)):
            time_ms = at_ms - chance.choice([0, 0, 1, 90_000, 5 * 3_600_000])
            id_ = f"e{seed}-{number}-{n}"
            fields = {"id": id_, "at": text_of(time_ms), "amount": f"{chance.randrange(10_000) / 100:.2f}"}
            fields["card_type"] = chance.choice(["Visa", "MasterCard", 'ä, "quoted"'])
            fields |= {"country": chance.choice(["DE", "GB"])} if chance.random() < 0.8 else {}
            fields |= {"retry": chance.choice([True, False])} if chance.random() < 0.5 else {}
            rows.append(("payment", fields))
            names.append((id_, time_ms))
            if chance.random() < 0.2:
                rows.append(("login", {"id": f"l{id_}", "at": text_of(at_ms)}))
        for id_, _ in chance.sample(names, min(len(names), chance.randrange(3))):
            verdict = chance.choice(["fraud", "fraud", "genuine"])
            known = text_of(max(at_ms, begin_ms))
            label = {"event": f"payment/{id_}", "verdict": verdict, "source": "analyst", "known_at": known}
            rows.append(("label", label))
        if rows:  # now and then by a clock that is slow
            found.append((at_ms - chance.choice([0] * 15 + [7 * MINUTE_MS]), rows))
    return found


def text_of(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def by_definition(bank: Bank, first_ms: int, last_ms: int, by: str = "ingest_time") -> list[tuple[Any, ...]]:
    """The rows of both tables, as read from the definition: event by event, window by window."""
    found, timed = [], [(_time(event, by), event) for event in bank.events]
    for start in range(first_ms, last_ms, EVERY_MS):
        inside = [event for at_ms, event in timed if start <= at_ms < start + EVERY_MS]
        frauds = [row for row in inside if Decimal(row["amount"]) > 90]
        found.append((start, _row(bank, inside), len(frauds), _row(bank, frauds)))
    return found


def _time(event: Mapping[str, Any], by: str) -> int:
    if by == "ingest_time":
        return int(event["ingest_time"])
    return round(datetime.fromisoformat(event["at"]).timestamp() * 1_000)


def _row(bank: Bank, events: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    counts = {}
    for column, name in COLUMNS.items():
        values = [event.get(name) for event in events]
        named = [
            "(missing)" if item is None else str(item).lower() if isinstance(item, bool) else item for item in values
        ]
        counts[column] = dict(sorted(Counter(named).items()))
    amount = sum((Decimal(event["amount"]) for event in events), Decimal("0.00"))
    average = (amount / len(events)).quantize(Decimal("0.0001"), ROUND_HALF_UP) if events else None
    confirmed = sum(bank.verdicts.get(event["id"]) == "fraud" for event in events)
    return counts, len(events), amount, average, confirmed
