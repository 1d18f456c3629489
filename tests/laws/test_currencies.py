"""Amounts of twelve currencies: every way into the log gives the same bytes, and what plain decimals give."""

from __future__ import annotations

import csv
import json
import random
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.events.conversion import Conversion
from shroff.events.formats.wire import JsonEncoder
from shroff.events.intake import Intake
from shroff.lake.rows import field_columns
from shroff.language.types import PLACES
from shroff.log.columns import file_runs
from shroff.log.columns.read_lines import LineForm, ReadLines, TextRoom
from shroff.services import project as app
from tests.support.effort import long_after
from tests.support.projects import write_files

CODES = "EUR GBP USD PLN JPY KRW ISK KWD BHD TND CHF CZK".split()
SMALL = frozenset(["USD", "JPY", "KWD", "TND"])  # whose products fit 64 bits
START = datetime(2026, 3, 1, tzinfo=UTC)
FILES = {
    "shroff.yaml": "shroff: 1\nname: fx\nmoney: { currency: EUR, rates: fx }\n",
    "events.yaml": """
tables:
  fx: { currency: text, from: valid_from, rate: number(12) }
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, currency: text?, amount: money? in currency >= 0, account: text? }
entities:
  card: { payment: card }
""",
    "features.yaml": """
card:
  spent_1d: sum(payment.amount) over 1d including this
  mean_1d: mean(payment.amount) over 1d
  yen: sum(original(payment.amount) where payment.currency == 'JPY') over 1d including this
""",
    "rules/large.yaml": """
- id: large
  on: payment
  by: card
  when: payment.amount > 500 or original(payment.amount) > 100_000
  reason: "{payment.amount} of {original(payment.amount)}"
  effect: review
- id: without_rate
  on: payment
  by: card
  when: payment.amount is missing
  effect: review
""",
}


def events_of(seed: int, count: int) -> list[dict[str, str | None]]:
    """Payments in the order of time, with amounts of the places of their currency."""
    draw = random.Random(seed)
    found: list[dict[str, str | None]] = []
    for number in range(count):
        code = draw.choice(CODES)
        places = PLACES.get(code, 2)
        most = [5, 10**4, 10**6] if code in SMALL else [5, 10**4, 10**8, 10**11]
        digits = draw.randrange(draw.choice(most))
        at = START + timedelta(seconds=97 * number)
        amount = None if draw.random() < 0.05 else f"{Decimal(digits).scaleb(-places):f}"
        row = {"id": f"p{number}", "at": at.isoformat().replace("+00:00", "Z"), "card": f"c{draw.randrange(7)}"}
        found.append({**row, "currency": code, "amount": amount, "account": draw.choice([None, "é"])})
    return found


def rates_of(seed: int) -> dict[str, list[tuple[datetime, str]]]:
    """Rates by currency, some of which begin only later; one currency has none."""
    draw = random.Random(seed)
    return {
        code: sorted(
            (START + timedelta(minutes=draw.choice([-60, 0, 45, 97, 200]) + draw.randrange(40)), text)
            for text in (f"{Decimal(draw.randrange(1, most)).scaleb(-12):f}" for _ in range(3))
        )
        for code in CODES
        for most in [10**12 if code in SMALL else 10**14]
        if code not in {"EUR", "CZK"}
    }


def table_of(rates: dict[str, list[tuple[datetime, str]]]) -> str:
    rows = [f"{code},{at.isoformat()},{rate}" for code, of_code in rates.items() for at, rate in dict(of_code).items()]
    return "\n".join(["currency,valid_from,rate", *rows, ""])


def expected(event: dict[str, str | None], rates: dict[str, list[tuple[datetime, str]]]) -> tuple[str | None, ...]:
    """Amount and rate of an event by decimals of 60 digits."""
    if event["amount"] is None:
        return None, None
    if event["currency"] == "EUR":
        return event["amount"], None
    at, valid = datetime.fromisoformat(str(event["at"])), rates.get(str(event["currency"]), [])
    before = [rate for since, rate in dict(valid).items() if since <= at]
    if not before:
        return None, None
    exact = Decimal(event["amount"]) * Decimal(before[-1])
    rate = f"{Decimal(before[-1]).normalize():f}"
    return str(exact.quantize(Decimal("0.01"), ROUND_HALF_EVEN)), rate


def documents_of(project) -> list[bytes]:
    with project.log.reading() as log:
        return [row.document for rows in log.decisions.after() for row in rows]


def written(folder, kind: str, events: list[dict[str, str | None]]):
    path = folder / f"events.{kind}"
    if kind == "jsonl":
        rows = ({name: value for name, value in row.items() if value is not None} for row in events)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(events[0]))
            writer.writeheader()
            writer.writerows(events)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(events), path)
    else:
        fields = [{"name": name, "type": ["null", "string"]} for name in events[0]]
        schema = {"type": "record", "name": "payment", "fields": fields}
        with path.open("wb") as file:
            fastavro.writer(file, schema, events)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("seed", long_after(1, range(12)))
def test_every_way_in_gives_the_same_bytes_and_the_exact_amount(tmp_path, seed, monkeypatch):
    lines, converted = list[int](), ReadLines.converted

    def noted(read: ReadLines, by: Conversion) -> ReadLines:
        lines.append(len(read.lines))
        return converted(read, by)

    monkeypatch.setattr(ReadLines, "converted", noted)
    monkeypatch.setattr(file_runs, "COLUMNS_MIN", 64)
    events, rates = events_of(seed, 700), rates_of(seed)
    files = FILES | {"tables/fx.csv": table_of(rates)}
    found = {}
    for kind in ("one by one", "jsonl", "csv", "parquet", "avro"):
        project = app.open(write_files(tmp_path / kind, files))
        if kind == "one by one":
            for first in range(0, len(events), 50):
                project.decide(events[first : first + 50])
        else:
            report = project.ingest(written(tmp_path, kind, events), as_type="payment")
            assert (report.events.appended, report.events.quarantined) == (len(events), 0)
        found[kind] = documents_of(project)
        assert project.verify().mismatches == 0
    first, *others = found.values()
    documents = [json.loads(document) for document in first]

    assert others == [first] * len(others)
    assert sum(lines) == 2 * len(events), "lines of JSON and CSV are converted as columns"
    assert [(row["amount"], row["rate"]) for row in documents] == [expected(event, rates) for event in events]


@pytest.mark.slow
@pytest.mark.parametrize("count", [400, pytest.param(100_000, marks=pytest.mark.long)])
def test_engines_and_plain_decimals_agree_on_events_of_twelve_currencies(tmp_path, count, monkeypatch):
    monkeypatch.setattr(file_runs, "COLUMNS_MIN", 64)
    events, rates = events_of(42, count), rates_of(42)
    project = app.open(write_files(tmp_path / "fx", FILES | {"tables/fx.csv": table_of(rates)}))
    report = project.ingest(written(tmp_path, "jsonl", events), as_type="payment").events
    documents = [json.loads(document) for document in documents_of(project)]
    whole, naive = project.verify(["online", "batch"]), project.verify(["naive"], sample=300)
    drawn = random.Random(count).sample(events, 20)

    assert (report.appended, report.quarantined, whole.events, whole.mismatches) == (count, 0, count, 0)
    assert naive.mismatches == 0
    assert {event["currency"] for event in events} == set(CODES)
    assert [(row["amount"], row["rate"]) for row in documents] == [expected(event, rates) for event in events]
    assert all(project.replay(f"payment/{event['id']}").match for event in drawn)


def test_lines_of_an_amount_that_is_not_optional_are_read_as_columns(tmp_path):
    files = FILES | {"events.yaml": FILES["events.yaml"].replace("money?", "money"), "tables/fx.csv": table_of({})}
    payment = app.open(write_files(tmp_path / "fx", files)).definitions.events.types["payment"]
    sent = {"id": "p1", "at": "2026-03-01T10:00:00Z", "card": "c", "currency": "JPY", "amount": "100"}
    lines = [sent, {**sent, "amount": None}, {name: sent[name] for name in sent if name != "amount"}]

    read = ReadLines.of([json.dumps(line).encode() + b"\n" for line in lines], LineForm(payment, TextRoom()))

    assert read.odd == [1, 2], "validation refuses the two without an amount"


@pytest.mark.slow
def test_a_corrected_rate_changes_later_decisions_alone(tmp_path):
    first = table_of({"USD": [(START, "0.9"), (START + timedelta(minutes=30), "0.8")]})
    sent = {"card": "c", "currency": "USD", "amount": "100.00"}
    events = [sent | {"id": f"p{n}", "at": (START + timedelta(minutes=20 * n)).isoformat()} for n in range(4)]
    events[3] = events[3] | {"currency": "CZK"}
    folder = write_files(tmp_path / "fx", FILES | {"tables/fx.csv": first})
    project = app.open(folder)
    before = project.decide(events)
    (folder / "tables/fx.csv").write_text(first.replace(",0.8", ",0.7") + f"CZK,{START.isoformat()},0.04\n")
    project = app.open(folder)
    again = project.decide(events)
    after = project.decide([event | {"id": f"q{number}"} for number, event in enumerate(events)])
    remarks = [finding.words for finding in project.health.doctor() if "no rate" in finding.words]
    with project.log.reading() as log:
        unrated = [(remark.asker, remark.count) for remark in log.remarks()]

    assert [(item.amount, item.rate) for item in before] == [
        ("90.00", "0.9"),
        ("90.00", "0.9"),
        ("80.00", "0.8"),
        (None, None),
    ]
    assert [item.remark for item in before] == [None] * 3 + ["no rate for CZK is valid at the time of this event"]
    assert list(again) == list(before), "the same events are answered from the log, by their content as it was sent"
    assert [item.amount for item in after] == ["90.00", "90.00", "70.00", "4.00"]
    assert after[2].features["card.spent_1d"] == "510.00", "what was converted before stays as it was"
    assert all(project.replay(f"payment/{item.id}").match for item in (*before, *after))
    assert project.verify().mismatches == 0
    assert (len(remarks), unrated) == (1, [("payment: an amount in CZK", 1)])


@pytest.mark.slow
def test_exported_and_produced_events_are_the_same_events(tmp_path):
    project = app.open(write_files(tmp_path / "fx", FILES | {"tables/fx.csv": table_of(rates_of(3))}))
    events = events_of(3, 40)
    project.decide(events)
    with project.log.reading() as log:
        bodies = [record.body for batch in log.read() for record in batch if record.kind == "event"]
        exported = b"".join(body + b"\n" for body in bodies)
    (tmp_path / "again.jsonl").write_bytes(exported)
    other = app.open(write_files(tmp_path / "other", FILES | {"tables/fx.csv": table_of(rates_of(3))}))
    again, twice = (each.ingest(tmp_path / "again.jsonl", as_type="payment").events for each in (other, project))
    given = project.definitions
    encoder = JsonEncoder(given.events)
    intake = Intake(given.events, given.settings, None)
    sent = [{name: value for name, value in event.items() if value is not None} for event in events]
    how = {"source": "test", "place": "1", "raw": b"", "is_strict": True}
    read = [intake.submit("payment", fields, **how).event for fields in sent]
    names = [field.sent for field in given.events.types["payment"].fields]
    values = [encoder.value("payment", dict(zip(names, event.values, strict=True))) for event in read]

    assert (again.appended, again.quarantined, twice.duplicates, twice.quarantined) == (40, 0, 40, 0)
    assert documents_of(other) == documents_of(project)
    assert [intake.submit("payment", json.loads(value), **how).event for value in values] == read
    assert set(field_columns(given.events.types["payment"]).values()) >= {"amount", "amount_original", "amount_rate"}
