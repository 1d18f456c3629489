"""Tables of features: by which engine ever, and where there is little or nothing to compute."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from weakref import WeakSet

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

import shroff
from shroff.errors import UsageError
from shroff.explain.past import _read
from shroff.features.batch import engine as batch
from shroff.features.batch import feed as batch_feed
from shroff.features.batch.backfill import Backfill
from shroff.lake.columns import document_columns
from shroff.language.values import DAY_MS
from shroff.log.columns.tables import Way
from shroff.services.project import Project
from tests.support import projects

ENGINES = ("batch", "online", "naive")
EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, country: text?, amount: money }
login:
  id: id
  time: at
  fields: { id: text, at: time, card: text? }
note:
  id: id
  time: at
  fields: { id: text, at: time }
entities:
  card: { payment: card, login: card }
"""
FEATURES = """
card:
  payments_1h: count(payment) over 1h
  spent_1d: sum(payment.amount) over 1d including this
  last_country: last(payment.country)
  most_1d: max(card.payments_1h of payment) over 1d
  larger: count(payment where payment.amount > this.amount) over 1d
  logins: count(login)
  median: quantile(payment.amount, 0.5) over last 5
  age: this.at - last(payment.at)
  ratio: this.amount / mean(payment.amount) else 1
  at_night: hour(this.at) < 6 and this.country != 'DE'
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for name, text in (projects.FILES | {"events.yaml": EVENTS, "features.yaml": FEATURES}).items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return shroff.open(tmp_path)


def filled(project: Project, count: int = 60) -> Project:
    """The project with payments, logins and notes in its log, some of them late, some without a card."""
    random = np.random.default_rng(1)
    events = []
    for number in range(count):
        at = f"2026-03-01T{number // 10:02d}:{random.integers(60):02d}:00Z"
        name = ["payment", "payment", "login", "note"][random.integers(4)]
        card = [None, "a", "a", "b"][random.integers(4)]
        fields = {"id": f"e{number}", "at": at}
        if name != "note":
            fields["card"] = card
        if name == "payment":
            fields |= {"amount": f"{random.integers(1, 999)}.5", "country": ["DE", "FR", None][random.integers(3)]}
        events.append({name: {key: value for key, value in fields.items() if value is not None}})
    project.decide(events)
    return project


@pytest.mark.parametrize("event", ["payment", "login", "note"])
def test_three_engines_give_equal_tables(project: Project, event: str):
    filled(project)

    tables = [project.features(event, engine=engine) for engine in ENGINES]

    assert tables[0].num_rows > 5
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_features_of_a_type_that_is_not_decided_are_computed(project: Project):
    table = filled(project).features("login")

    assert max(table["card.logins"].to_pylist(), key=lambda value: value or 0) > 1
    assert table["card.ratio"].null_count == table.num_rows  # a login has no amount


def test_a_type_without_features_has_ids_and_places(project: Project):
    table = filled(project).features("note")

    assert table.column_names == ["id", "seq"]
    assert table["seq"].to_pylist() == sorted(table["seq"].to_pylist())


@pytest.mark.parametrize("engine", ENGINES)
def test_no_rows_give_an_empty_file(project: Project, tmp_path: Path, engine: str):
    project.decide([{"note": {"id": "n", "at": "2026-03-01T00:00:00Z"}}])
    out = tmp_path / "out.parquet"

    report = project.tables.write_features("payment", [], out, Way(engine))

    assert report.rows == 0
    assert pq.read_table(out).column_names == list(report.columns)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_file_of_events_gives_an_empty_table(project: Project, tmp_path: Path, engine: str):
    (tmp_path / "none.jsonl").write_text("")

    assert project.features("payment", files=[tmp_path / "none.jsonl"], engine=engine).num_rows == 0


def changed(tmp_path: Path, feature: str) -> Project:
    """A project whose payments have `days`, with one feature."""
    (tmp_path / "events.yaml").write_text(EVENTS.replace("amount: money", "amount: money, days: integer"))
    (tmp_path / "features.yaml").write_text(f"card:\n  {feature}\n")
    return shroff.open(tmp_path)


def of_days(days: list[int]) -> list[dict[str, object]]:
    fixed = {"at": "2026-03-01T00:00:00Z", "card": "a", "amount": "1.00"}
    return [{"payment": {"id": f"p{number}", "days": day, **fixed}} for number, day in enumerate(days)]


def test_a_time_that_has_no_date_is_missing_in_tables_and_stops_none(project: Project, tmp_path: Path):
    days = [1, 9_999_999, 10**12, 10**18, -800_000]
    project = changed(tmp_path, "due: this.at + this.days * 1d")
    project.decide(of_days(days))

    assert [project.features("payment", engine=engine)["card.due"].null_count for engine in ENGINES] == [4, 4, 4]
    shown = [json.loads(project.explain(f"payment/p{number}").json())["features"] for number in range(len(days))]
    assert shown[0]["card.due"] == "2026-03-02T00:00:00Z"
    assert [bool(seen["card.due"].endswith(" ms")) for seen in shown[1:]] == [True] * 4
    due = project.definitions.features["card.due"].type
    documents = [b'{"features":%s,"versions":{}}' % json.dumps(seen).encode() for seen in shown]
    _, features = document_columns(documents, [("card.due", due)], 2, str)
    assert features["card.due"].null_count == 4
    assert _read("card.due", shown[3]["card.due"], due, is_same=True) == 10**18 * DAY_MS + 1_772_323_200_000


@pytest.mark.parametrize("function", ["sum", "mean", "std"])
def test_durations_that_are_too_large_are_left_out_of_a_sum_by_all(function: str, project: Project, tmp_path: Path):
    days = [5, 7, *[10**15 // DAY_MS + number for number in range(2, 30)]]
    project = changed(tmp_path, f"waited: {function}(payment.days * 1d) over 1h")
    project.decide(of_days(days[:10]))  # in columns
    for event in of_days(days)[10:]:  # and one by one
        project.decide([event])

    tables = [project.features("payment", engine=engine) for engine in ENGINES]
    assert tables[0].equals(tables[2])
    assert tables[1].equals(tables[2])
    assert project.verify().mismatches == 0


def test_an_unknown_type_and_an_unknown_engine_leave_no_file(project: Project, tmp_path: Path):
    filled(project)
    before = sorted(tmp_path.iterdir())

    with pytest.raises(UsageError, match="'payments' is not an event type"):
        project.tables.write_features("payments", [], tmp_path / "out.parquet")
    with pytest.raises(UsageError, match="there is no engine 'fast'"):
        project.tables.write_features("payment", [], tmp_path / "out.parquet", Way("fast"))

    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("told", ["reading", "computing"])
@pytest.mark.parametrize("held_bytes", [0, 1 << 30])
def test_an_interruption_leaves_no_file(
    project: Project, tmp_path: Path, told: str, held_bytes: int, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(_count: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "HELD_BYTES", held_bytes)
    filled(project)
    before = sorted(tmp_path.iterdir())

    with pytest.raises(KeyboardInterrupt):
        project.tables.write_features("payment", [], tmp_path / "out.parquet", Way(**{told: interrupt}))

    assert sorted(tmp_path.iterdir()) == before


def test_both_passes_are_told_of(project: Project, tmp_path: Path):
    filled(project)
    read: list[int] = []
    computed: list[int] = []

    report = project.tables.write_features(
        "payment", [], tmp_path / "out.parquet", Way("batch", reading=read.append, computing=computed.append)
    )

    assert sum(read) == 61, "the record of the active version is one, too"
    assert sum(computed) == report.rows


def test_what_answers_a_stage_is_let_go_of_before_the_next_one(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    alive: WeakSet[Backfill] = WeakSet()
    stages: list[int] = []

    class Counted(Backfill):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            alive.add(self)
            stages.append(len(alive))

    monkeypatch.setattr(batch_feed, "Backfill", Counted)
    stacked = "card:\n  a: count(payment)\n  b: sum(card.a of payment)\n  c: sum(card.b of payment)\n"
    (tmp_path / "features.yaml").write_text(stacked)

    assert filled(shroff.open(tmp_path)).features("payment").num_rows
    assert stages == [1, 1, 1]
    assert not alive


def test_more_rows_than_the_batch_engine_takes_are_refused_as_they_come(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    filled(project)
    monkeypatch.setattr(batch_feed, "ROWS_MAX", 20)

    with pytest.raises(UsageError, match=r"features of card over payment .* take the engine online"):
        project.tables.write_features("payment", [], tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_what_memory_does_not_hold_goes_through_the_folder_of_the_output(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    filled(project)
    expected = project.features("payment")
    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.setattr(batch, "HELD_BYTES", 0)

    project.tables.write_features("payment", [], folder / "out.parquet")

    assert pq.read_table(folder / "out.parquet").cast(expected.schema).equals(expected)
    assert [file.name for file in folder.iterdir()] == ["out.parquet"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_decimal_has_64_bits_in_a_file_where_all_its_values_have_18_digits(
    project: Project, tmp_path: Path, engine: str
):
    """The greatest amount has 16 digits; a thousand of it one too many, and so has the least but one number."""
    (tmp_path / "features.yaml").write_text(
        "card:\n  most: max(payment.amount)\n  last: 999 * max(payment.amount)\n"
        "  over: 1000 * max(payment.amount)\n  below: -1000 * max(payment.amount)\n"
    )
    payments = [("a", "1.00"), ("a", "10000000000000.00"), ("b", "2.50"), ("a", "3.00"), (None, "4.00")]
    (tmp_path / "in.jsonl").write_bytes(
        b"\n".join(
            msgspec.json.encode({"id": f"e{n}", "at": f"2026-03-01T10:{n:02d}:00Z", "card": card, "amount": amount})
            for n, (card, amount) in enumerate(payments)
        )
    )
    project = shroff.open(tmp_path)

    project.tables.write_features("payment", tmp_path / "in.jsonl", tmp_path / "out.parquet", Way(engine))

    found = pq.read_table(tmp_path / "out.parquet")
    expected = project.features("payment", files=tmp_path / "in.jsonl", engine=engine)
    digits = {name: found.schema.field(f"card.{name}").type.precision for name in ("most", "last", "over", "below")}
    assert digits == {"most": 18, "last": 18, "over": 38, "below": 38}
    assert {str(row.type) for row in list(expected.schema)[2:]} == {"decimal128(38, 2)"}
    assert found.cast(expected.schema).equals(expected)
    assert expected["card.over"].to_pylist()[3] == 10**16


def test_the_command_loads_no_pandas(project: Project, tmp_path: Path):
    """pyarrow would, where it is installed; afterwards it can be loaded as ever."""
    filled(project)
    code = (
        "import sys; from shroff.cli.main import run\n"
        "assert run(sys.argv[1:]) == 0 and 'pandas' not in sys.modules\n"
        "import pyarrow; assert list(pyarrow.table({'a': [1]}).to_pandas()['a']) == [1]"
    )
    words = ["-C", str(tmp_path), "features", "--as", "payment", "--out", str(tmp_path / "out.parquet")]

    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows
