"""Training sets: what is in them, as of when, as files and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from shroff.errors import StorageError, UsageError
from shroff.events.intake import Submission
from shroff.language.values import DAY_MS, HOUR_MS, parse_time
from shroff.log.columns.tables import Way
from shroff.log.later_labels import last_moment
from shroff.log.state.feature_events import FeatureEvents, log_batches, taken
from shroff.log.writer import Writer
from shroff.models.definitions import DailyCapacity, ModelSettings, Split
from shroff.models.sets import FRAUD, GENUINE, NOT_KNOWN, TrainingSet
from shroff.project.definitions import Definitions
from shroff.runtime import atomic_files as outfiles
from shroff.runtime.values import replace
from shroff.streams.log import Batch
from shroff.training.leak_test import difference_of
from shroff.training.sets import files as training_files
from shroff.training.sets.files import LABELS, ROWS, write_set
from shroff.training.sets.manifest import MANIFEST, read_manifest
from shroff.training.sets.rows import build_set
from shroff.training.sets.sources import file_source, log_source
from tests.support import projects
from tests.support.log_memory import MemoryLog
from tests.support.modelled import inputs_of
from tests.support.written_sets import read_set

NOON_MS = parse_time("2026-03-01T12:00:00Z")
MINUTE_MS = 60_000
LATER = "2026-03-08T00:00:00Z"
LATER_MS = parse_time(LATER)
INPUTS = ["payment.amount", "card.payments_1h", "card.frauds", "payment.card", "payment.amount > 100"]


def settings(*inputs: str, slices: tuple[str, ...] = (), capacity: bool = True, **more: object) -> ModelSettings:
    definitions = projects.definitions()
    split = Split(DAY_MS, DAY_MS, DAY_MS, 1)
    given = ModelSettings(
        "payment",
        inputs_of(definitions, "payment", inputs or INPUTS),
        7 * DAY_MS,
        "xgboost",
        split,
        DailyCapacity("card", 10) if capacity else None,
        (),
        slices=inputs_of(definitions, "payment", slices),
    )
    return replace(given, **more)


def log_of(*submissions: Submission) -> MemoryLog:
    log = MemoryLog()
    projects.writer(log).write(list(submissions))
    return log


def set_of(
    log: MemoryLog, given: ModelSettings | None = None, as_of_ms: int = LATER_MS, engine: str = "batch"
) -> TrainingSet:
    definitions = projects.definitions()
    source = log_source(log, definitions, "payment")
    return build_set(definitions, given or settings(), source, as_of_ms, Way(engine))


def values(given: TrainingSet, name: str) -> list[float]:
    (found,) = (row for row in given.inputs if row.name == name)
    return [round(value, 9) if value == value else -1.0 for value in found.values.tolist()]  # noqa: PLR0124 (NaN)


# ---- what is in a set


@pytest.mark.parametrize("engine", ["batch", "online"])
def test_a_set_has_what_a_model_reads_of_each_event_in_log_order(engine: str) -> None:
    #  minutes    0      1      2           90
    #  events     p1 c   p2 d   p3 c (late) p4 -     p3 is known as fraud at minute 5, so p4, of no card, sees nothing
    log = log_of(
        projects.payment(1, 1, card="c", amount="0.10"),
        projects.payment(2, 2, card="d", amount="100.01"),
        projects.payment(3, 1, card="c", amount="12.34"),
        projects.label(1, "p3", "fraud", "chargeback", "2026-03-01T12:05:00Z"),
        projects.payment(4, 90, card=None, amount="1.00"),
        projects.payment(5, 50, card="c", amount="7.00"),
    )
    found = set_of(log, engine=engine)

    assert found.ids.tolist() == ["p1", "p2", "p3", "p4", "p5"]
    assert found.seqs.tolist() == [2, 3, 4, 6, 7]  # the first place has the project's files, the fifth the label
    assert found.times_ms.tolist() == [NOON_MS + minute * MINUTE_MS for minute in (1, 2, 1, 90, 50)]
    assert found.keys.tolist() == [0, 1, 0, -1, 0]
    assert found.amounts_minor.tolist() == [10, 10_001, 1_234, 100, 700]
    assert values(found, "payment.amount") == [0.10, 100.01, 12.34, 1.0, 7.0]
    assert values(found, "card.payments_1h") == [0, 0, 1, -1, 2]
    assert values(found, "card.frauds") == [0, 0, 0, -1, 1]
    assert values(found, "payment.card") == [0, 1, 0, -1, 0]
    assert values(found, "payment.amount > 100") == [0, 1, 0, 0, 0]
    assert [item.kind for item in found.inputs] == ["number", "number", "number", "category", "number"]
    assert found.inputs[3].categories == ("c", "d")


def test_a_set_as_of_a_moment_has_neither_later_events_nor_labels_that_were_known_later() -> None:
    log = log_of(
        projects.payment(1, 1),
        projects.payment(2, 30),
        projects.label(1, "p1", "fraud", "chargeback", "2026-03-01T12:30:00Z"),
        projects.label(2, "p2", "fraud", "chargeback", "2026-03-01T12:30:00.001Z"),
        projects.payment(3, 31),
    )
    found = set_of(log, as_of_ms=NOON_MS + 30 * MINUTE_MS)

    assert found.ids.tolist() == ["p1", "p2"]
    assert found.labels.rows.tolist() == [0]
    assert found.verdicts_at(found.as_of_ms).tolist() == [FRAUD, NOT_KNOWN]


def test_of_two_labels_the_stronger_source_is_in_force_and_within_one_the_later_one() -> None:
    log = log_of(
        projects.payment(1),
        projects.payment(2),
        projects.label(1, "p1", "genuine", "chargeback", "2026-03-02T00:00:00Z"),
        projects.label(2, "p1", "fraud", "customer", "2026-03-03T00:00:00Z"),
        projects.label(3, "p2", "fraud", "analyst", "2026-03-02T00:00:00Z"),
        projects.label(4, "p2", "unclear", "analyst", "2026-03-03T00:00:00Z"),
    )
    found = set_of(log)

    assert found.labels.rows.tolist() == [0, 0, 1, 1]
    assert found.verdicts_at(parse_time("2026-03-02T12:00:00Z")).tolist() == [GENUINE, FRAUD]
    assert found.verdicts_at(LATER_MS).tolist() == [GENUINE, NOT_KNOWN]


def test_friendly_fraud_counts_as_genuine_where_the_settings_say_so() -> None:
    fields = {"event": "p1", "verdict": "fraud", "reason": "friendly", "known_at": "2026-03-02T00:00:00Z"}
    log = log_of(projects.payment(1), projects.submission("label", 1, fields))

    assert set_of(log).verdicts_at(LATER_MS).tolist() == [FRAUD]
    assert set_of(log, settings(friendly_reasons=frozenset(["friendly"]))).verdicts_at(LATER_MS).tolist() == [GENUINE]


def test_what_the_system_decided_is_in_the_set() -> None:
    log = log_of(projects.payment(1), projects.payment(2, amount="100.01"))
    found = set_of(log).recorded

    assert found.outcomes.tolist() == [0, 2]
    assert np.isnan(found.scores).all()
    assert {rule: hit.tolist() for rule, hit in found.hits.items()} == {"large": [False, True]}


def test_a_log_without_decisions_gives_a_set_without_outcomes() -> None:
    log = MemoryLog()
    projects.writer(log).write([projects.payment(1)], decide=False)
    found = set_of(log).recorded

    assert found.outcomes.tolist() == [-1]
    assert found.hits == {}


def test_scores_are_those_of_the_documents_since_a_model_came_into_force() -> None:
    log = log_of(projects.payment(1), projects.payment(2))
    (row,) = [item for rows in log.decisions.after() for item in rows][-1:]
    control = next(iter(log.controls()))
    versions = control.body.replace(b'"model":""', b'"model":"m-1"')
    event = next(iter(log.read(row.seq - 1)))[0]
    later = {"seq": row.seq + 2, "id": "p3"}
    scored = row.document.replace(b'"score":null', b'"score":0.7312')
    log.append(
        Batch(
            records=[
                replace(control, seq=row.seq + 1, id="c2", body=versions),
                replace(event, **later, body=event.body.replace(b"p2", b"p3")),
            ],
            decisions=[replace(row, **later, document=scored)],
        )
    )

    assert versions != control.body
    assert scored != row.document
    assert np.array_equal(set_of(log).recorded.scores, [np.nan, np.nan, 0.7312], equal_nan=True)


def test_slices_are_texts_and_what_is_missing_is_null_beside_a_text_of_that_name() -> None:
    log = log_of(
        projects.payment(1, card="missing"), projects.payment(2, card=None), projects.payment(3, amount="200.00")
    )
    found = set_of(log, settings(slices=("payment.card", "payment.amount > 100"))).slices

    assert {name: texts.tolist() for name, texts in found.items()} == {
        "payment.card": ["missing", None, "c"],
        "payment.amount > 100": ["false", "false", "true"],
    }


def test_a_missed_fraud_costs_what_the_policy_says() -> None:
    changes = {"policy.yaml": "payment:\n  costs: { missed_fraud: payment.amount * 0.125 + payment.amount }\n"}
    log = log_of(projects.payment(1, amount="0.20"), projects.payment(2, amount="0.28"))
    definitions = projects.definitions(changes)
    found = build_set(definitions, settings(), log_source(log, definitions, "payment"), LATER_MS)

    assert found.amounts_minor.tolist() == [22, 32]  # 0.225 and 0.315, half-even


def test_without_a_capacity_no_event_has_a_key() -> None:
    assert set_of(log_of(projects.payment(1)), settings(capacity=False)).keys.tolist() == [-1]


def test_an_empty_history_gives_an_empty_set() -> None:
    found = set_of(log_of())

    assert len(found) == 0
    assert [len(item.values) for item in found.inputs] == [0] * len(INPUTS)


def label(number: int, event: str, known_at: str) -> Submission:
    return projects.label(number, event, "fraud", "analyst", known_at)


@pytest.mark.parametrize(
    "later",
    [
        [label(1, "p1", "2026-03-03T00:00:00Z"), label(2, "p2", "2026-03-02T00:00:00Z")],
        [label(2, "p2", "2026-03-02T00:00:00Z"), label(1, "p1", "2026-03-03T00:00:00Z")],
        [label(1, "p1", "2026-03-03T00:00:00Z"), projects.payment(3)],
        [label(1, "p1", "2026-03-03T00:00:00Z"), label(2, "p2", "2999-01-01T00:00:00Z")],
    ],
    ids=["older label last", "newer label last", "older event last", "label of the future last"],
)
def test_the_last_moment_is_that_of_the_latest_record_whatever_the_order_of_lines(later: list[Submission]) -> None:
    log = log_of(projects.payment(1, 5), projects.payment(2, 6), *later)
    Writer(log, projects.definitions({"rules/large.yaml": None}), lambda: projects.NOW_MS).write([])  # a control event

    assert last_moment(log, projects.NOW_MS) == parse_time("2026-03-03T00:00:00Z")
    assert last_moment(MemoryLog(), projects.NOW_MS) is None


def test_an_unknown_type_or_engine_is_refused() -> None:
    with pytest.raises(UsageError, match="'paiment' is not an event type"):
        set_of(log_of(), replace(settings(), event="paiment"))
    with pytest.raises(UsageError, match="batch or online, not 'naive'"):
        set_of(log_of(), engine="naive")


# ---- files


def payments_and_labels() -> list[Submission]:
    some = [projects.payment(number, number, card="cd"[number % 2]) for number in range(40)]
    found = projects.label(1, "p3", "fraud", "chargeback", "2026-03-01T12:20:00Z")
    return [*some[:30], found, *some[30:], projects.label(2, "p4", "genuine", "analyst", "2026-03-01T12:50:00Z")]


def write(log: MemoryLog, folder: Path, definitions: Definitions | None = None) -> dict[str, bytes]:
    definitions = definitions or projects.definitions()
    write_set(
        folder, definitions, settings(slices=("payment.card",)), log_source(log, definitions, "payment"), LATER_MS
    )
    return {name: (folder / name).read_bytes() for name in (ROWS, LABELS, MANIFEST)}


@pytest.mark.slow
def test_written_twice_a_set_has_the_same_bytes(tmp_path: Path) -> None:
    log = log_of(*payments_and_labels())
    other = MemoryLog()
    one_by_one = projects.writer(other)
    for item in payments_and_labels():
        one_by_one.write([item])

    assert write(log, tmp_path / "a") == write(log, tmp_path / "b") == write(other, tmp_path / "c")


def test_the_batches_in_which_a_history_comes_do_not_matter_for_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (training_files, outfiles):
        monkeypatch.setattr(module, "GROUP_ROWS", 16)
    definitions, log = projects.definitions(), log_of(*payments_and_labels())
    whole = log_source(log, definitions, "payment")
    parts = replace(whole, taken=lambda: _singly(log, definitions))
    for name, source in (("whole", whole), ("parts", parts)):
        write_set(tmp_path / name, definitions, settings(), source, LATER_MS)

    assert pq.read_metadata(tmp_path / "whole" / ROWS).num_row_groups == 3
    assert (tmp_path / "whole" / ROWS).read_bytes() == (tmp_path / "parts" / ROWS).read_bytes()


def _singly(log: MemoryLog, definitions: Definitions) -> Iterator[FeatureEvents]:
    singles = ([record] for batch in log_batches(log, definitions) for record in batch)
    return taken(singles, definitions, "payment")


def test_a_set_is_read_back_as_it_was(tmp_path: Path) -> None:
    log = log_of(*payments_and_labels())
    write(log, tmp_path)
    built, read = set_of(log, settings(slices=("payment.card",))), read_set(tmp_path)

    assert_same(built, read)


def assert_same(training: TrainingSet, other: TrainingSet) -> None:
    assert difference_of(training, other) is None


def test_the_manifest_says_what_a_set_was_made_of(tmp_path: Path) -> None:
    write(log_of(*payments_and_labels()), tmp_path)
    found = read_manifest(tmp_path)

    assert (found.event, found.as_of, found.seqs, found.rows) == ("payment", LATER, (2, 42), 40)
    assert (found.fraud, found.genuine, found.unclear, found.immature, found.unlabelled) == (1, 1, 0, 38, 0)
    assert found.label_rows == 2
    assert [(item.name, item.kind, item.categories) for item in found.inputs] == [
        ("payment.amount", "number", []),
        ("card.payments_1h", "number", []),
        ("card.frauds", "number", []),
        ("payment.card", "category", ["c", "d"]),
        ("payment.amount > 100", "number", []),
    ]
    assert found.versions["definitions"] == projects.definitions().versions.definitions
    assert sorted(found.files) == [LABELS, ROWS]


def test_an_older_event_without_a_label_counts_as_unlabelled_in_the_manifest(tmp_path: Path) -> None:
    definitions, log = projects.definitions(), log_of(projects.payment(1), projects.payment(2, 1))
    as_of_ms = NOON_MS + 7 * DAY_MS
    found = write_set(tmp_path, definitions, settings(), log_source(log, definitions, "payment"), as_of_ms)

    assert (found.unlabelled, found.immature) == (1, 1)


def test_the_manifest_has_the_digests_of_the_files(tmp_path: Path) -> None:
    write(log_of(*payments_and_labels()), tmp_path)

    assert read_manifest(tmp_path).files == {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in (LABELS, ROWS)
    }


def test_a_set_that_was_not_finished_is_none(tmp_path: Path) -> None:
    write(log_of(*payments_and_labels()), tmp_path)
    (tmp_path / MANIFEST).unlink()

    with pytest.raises(UsageError, match=r"has no manifest\.json"):
        read_manifest(tmp_path)


def test_a_manifest_that_cannot_be_read_or_is_of_another_format_is_refused(tmp_path: Path) -> None:
    write(log_of(*payments_and_labels()), tmp_path)
    text = (tmp_path / MANIFEST).read_text()
    (tmp_path / MANIFEST).write_text(text.replace('"format": 2', '"format": 9'))
    with pytest.raises(StorageError, match="is of format 9, and this program reads 2"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_text(text[:-20])
    with pytest.raises(StorageError, match="cannot be read"):
        read_manifest(tmp_path)


# ---- from files


PAYMENTS = """id,at,card,amount
p1,2026-03-01T12:00:00Z,c,5.00
p2,2026-03-01T12:10:00Z,c,6.00
p2,2026-03-01T12:10:00Z,c,6.00
p3,2026-03-01T12:20:00Z,d,120.00
p4,2026-03-01T12:30:00Z,c,7.00
"""
LABEL_ROWS = """event,verdict,known_at,source
p1,fraud,2026-03-01T12:15:00Z,chargeback
p1,fraud,2026-03-01T12:15:00Z,chargeback
p4,fraud,2026-03-01T12:00:00Z,chargeback
p9,fraud,2026-03-01T12:15:00Z,chargeback
p3,genuine,2026-03-03T00:00:00Z,analyst
p2,fraud,2026-03-09T00:00:00Z,analyst
"""


def from_files(tmp_path: Path, *inputs: str) -> TrainingSet:
    (tmp_path / "payments.csv").write_text(PAYMENTS)
    (tmp_path / "labels.csv").write_text(LABEL_ROWS)
    definitions, given = projects.definitions(), settings(*inputs)
    source = file_source([tmp_path / "payments.csv"], tmp_path / "labels.csv", definitions, given)
    return build_set(definitions, given, source, LATER_MS)


def test_files_give_the_set_that_a_log_of_them_gives(tmp_path: Path) -> None:
    found = from_files(tmp_path, "payment.amount", "card.payments_1h")

    assert found.ids.tolist() == ["p1", "p2", "p3", "p4"]
    assert found.seqs.tolist() == [1, 2, 3, 4]
    assert values(found, "card.payments_1h") == [0, 1, 0, 2]
    assert found.verdicts_at(LATER_MS).tolist() == [FRAUD, NOT_KNOWN, GENUINE, NOT_KNOWN]
    assert found.recorded.outcomes.tolist() == [-1] * 4


def test_labels_are_known_to_the_millisecond_in_files(tmp_path: Path) -> None:
    found = from_files(tmp_path, "payment.amount")

    assert found.labels.known_at_ms.tolist() == sorted(found.labels.known_at_ms.tolist())
    assert found.labels.known_at_ms[0] == NOON_MS + HOUR_MS // 4
