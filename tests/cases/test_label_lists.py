"""What labels say together: contradictions, those that wait, and how long frauds take to become known."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path

import pytest

from shroff.cases.labels import LabelsInMemory, Maturity, conflicts, maturity_in
from shroff.cli.main import main
from shroff.errors import UsageError
from shroff.events.intake import Intake, Submission
from shroff.language.values import DAY_MS
from shroff.log.later_labels import last_moment
from shroff.log.writer import Writer
from tests.support.log_memory import MemoryLog
from tests.support.projects import FILES, NOW_MS, definitions, label, payment

FRAUD_AT = "2026-03-05T12:00:00Z"
START_MS = 1_772_323_200_000  # 2026-03-01


def log_of(*parts: object) -> MemoryLog:
    log = MemoryLog()
    Writer(log, definitions(), lambda: NOW_MS).write(list(parts))
    return log


def days(log: MemoryLog, **options: object) -> Maturity:
    options.setdefault("as_of_ms", last_moment(log, NOW_MS) or 0)
    labels = LabelsInMemory()
    labels.follow(log, definitions())
    return maturity_in(labels.histories, **options)


@cache
def intake() -> Intake:
    return Intake(definitions().events, definitions().settings, None)


def submission(type_name: str, number: int, fields: dict[str, object]) -> Submission:
    raw = json.dumps(fields).encode()
    return intake().submit(type_name, fields, source="test", place=str(number), raw=raw, is_strict=True)


def fraud(event: int, day: int, delay: float, *, source: str = "customer", verdict: str = "fraud") -> list[object]:
    """A payment of this day and what was said of it some days after."""
    at = START_MS + day * DAY_MS
    fields = {"id": f"p{event}", "at": at, "card": "c", "amount": "5.00"}
    known_at = at + int(delay * DAY_MS)
    said = {"event": f"p{event}", "verdict": verdict, "source": source, "known_at": known_at}
    return [submission("payment", event, fields), submission("label", event, said)]


# ---- contradictions


def test_an_event_of_which_both_was_said_is_listed_with_all_its_labels_and_the_one_in_force():
    log = log_of(
        payment(1),
        payment(2, 1),
        label(1, "p1", "fraud", "analyst", FRAUD_AT),
        label(2, "p1", "genuine", "customer", "2026-03-06T12:00:00Z"),
        label(3, "p2", "fraud", "analyst", FRAUD_AT),
        label(4, "p2", "unclear", "customer", FRAUD_AT),
    )
    (found,) = conflicts(log, definitions())

    assert (found.event, found.id, found.kind) == ("payment", "p1", "sources")
    assert [(item.verdict, item.source, item.seq, item.in_force) for item in found.labels] == [
        ("fraud", "analyst", 4, True),
        ("genuine", "customer", 5, False),
    ]


def test_a_verdict_that_one_source_took_back_is_told_apart():
    log = log_of(
        payment(1),
        label(1, "p1", "fraud", "analyst", FRAUD_AT),
        label(2, "p1", "genuine", "analyst", "2026-03-06T12:00:00Z"),
    )
    (found,) = conflicts(log, definitions())

    assert found.kind == "taken back"
    assert [item.in_force for item in found.labels] == [False, True]


def test_at_a_moment_only_what_was_known_contradicts():
    log = log_of(
        payment(1),
        label(1, "p1", "fraud", "analyst", FRAUD_AT),
        label(2, "p1", "genuine", "customer", "2026-03-06T12:00:00Z"),
    )
    moment = START_MS + 5 * DAY_MS + DAY_MS // 2

    assert conflicts(log, definitions(), moment - 1) == []
    assert len(conflicts(log, definitions(), moment)) == 1


# ---- how long it takes


def test_a_fraud_is_known_n_days_after_where_its_label_came_by_then():
    #  delay in days   0    0.5   1    1.5   3
    #  known after     0    1     1    2     3
    delays = [0, 0.5, 1, 1.5, 3]
    parts = [item for number, delay in enumerate(delays) for item in fraud(number, 0, delay)]
    found = days(log_of(*parts), as_of_ms=START_MS + 100 * DAY_MS)

    assert [round(point.share * 5) for point in found.points] == [1, 3, 4, 5]
    assert [point.became_known for point in found.points] == [1, 2, 1, 1]
    assert (found.frauds, found.too_young, found.later) == (5, 0, 0)


def test_sources_add_up_to_all_and_the_first_to_say_so_counts():
    parts = [
        *fraud(1, 0, 1, source="customer"),
        submission(
            "label", 9, {"event": "p1", "verdict": "fraud", "source": "chargeback", "known_at": START_MS + 5 * DAY_MS}
        ),
        *fraud(2, 0, 3, source="chargeback"),
    ]
    last = days(log_of(*parts), as_of_ms=START_MS + 100 * DAY_MS).points[-1]

    assert (last.by_source["customer"], last.by_source["chargeback"]) == (0.5, 0.5)
    assert last.days == 3


def test_what_was_taken_back_is_no_fraud_and_friendly_fraud_is_none_by_setting():
    at = START_MS + 2 * DAY_MS
    said = {"event": "p2", "verdict": "fraud", "source": "chargeback", "known_at": at, "reason": "family"}
    parts = [
        *fraud(1, 0, 1),
        submission("label", 9, {"event": "p1", "verdict": "genuine", "source": "analyst", "known_at": at}),
        *fraud(2, 0, 1, verdict="genuine"),
        submission("label", 9, said),
    ]
    log = log_of(*parts)

    assert days(log).frauds == 1
    assert days(log, friendly=lambda type_: {"family"}).frauds == 0
    assert days(log, friendly=lambda type_: {"family"} if type_ == "login" else ()).frauds == 1


def test_days_and_a_moment_cut_the_curve():
    parts = [item for number in range(40) for item in fraud(number, number, 1 + number % 7)]
    log = log_of(*parts)
    found = days(log, days=3, as_of_ms=START_MS + 30 * DAY_MS)

    assert len(found.points) == 4
    assert found.points[-1].share == 1.0
    assert found.later > 0
    assert found.frauds < 40
    labels = LabelsInMemory()
    labels.follow(log, definitions())
    assert maturity_in(labels.histories, START_MS + 30 * DAY_MS, 3) == found
    with pytest.raises(UsageError, match="0 to 3,650 days"):
        days(log, days=-1)


def test_no_frauds_make_no_curve():
    assert days(log_of(payment(1))).points == ()
    assert days(MemoryLog()).frauds == 0


def test_young_events_do_not_make_the_curve_too_steep():
    """Delays of 1 to 20 days, all alike, and payments that become more from day to day: most are young."""
    draws, parts, seen = random.Random(5), [], []
    end = 60
    for number in range(3_000):
        day = int(end * draws.random() ** 0.4)
        delay = draws.randint(1, 20)
        if day + delay <= end:
            parts += fraud(number, day, delay)
            seen.append(delay)
    parts.sort(key=lambda part: (part.event.time_ms if part.event else part.label.known_at_ms, part.event is None))
    found = days(log_of(*parts), days=20, as_of_ms=START_MS + end * DAY_MS)

    truth = [day / 20 for day in range(21)]
    as_seen = [sum(delay <= day for delay in seen) / len(seen) for day in range(21)]
    assert max(abs(point.share - truth[point.days]) for point in found.points) < 0.04
    assert max(abs(share - true) for share, true in zip(as_seen, truth, strict=True)) > 0.08


# ---- the command


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    folder = tmp_path / "bank"
    fields = FILES["events.yaml"].replace("amount: money }", "amount: money, arn: text? unique }")
    for name, text in {**FILES, "events.yaml": fields}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["-C", str(folder), *words])
    return int(ended.value.code or 0), capsys.readouterr().out


def fill(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": f"p{day}", "at": f"2026-03-0{day}T12:00:00Z", "amount": "5.00", "arn": f"A{day}"} for day in (1, 2, 3)
    ]
    (folder / "e.jsonl").write_text("\n".join(json.dumps({"payment": row}) for row in rows), encoding="utf-8")
    (folder / "l.csv").write_text(
        "arn,verdict,source,known_at\nA1,fraud,customer,2026-03-03T12:00:00Z\nA2,fraud,chargeback,2026-03-05T12:00:00Z\n"
        "A1,genuine,import,2026-03-04T12:00:00Z\nA9,fraud,analyst,2026-03-09T12:00:00Z\n",
        encoding="utf-8",
    )
    for words in (["ingest", str(folder / "e.jsonl")], ["label", str(folder / "l.csv")]):
        assert run(folder, capsys, *words)[0] == 0


def test_each_list_has_an_empty_state(bank, capsys):
    rows = json.dumps({"payment": {"id": "p1", "at": "2026-03-01T12:00:00Z", "amount": "5.00"}})
    (bank / "e.jsonl").write_text(rows, encoding="utf-8")
    run(bank, capsys, "ingest", str(bank / "e.jsonl"))

    assert run(bank, capsys, "label", "--pending")[1].startswith("0 labels have no matching event")
    assert run(bank, capsys, "label", "--conflicts")[1].startswith("No event has labels that contradict")
    assert run(bank, capsys, "label", "--maturity")[1].startswith("No fraud known at")
    assert json.loads(run(bank, capsys, "label", "--maturity", "--json")[1])["days"] == []


def test_a_label_that_changes_nothing_says_which_verdict_is_in_force(bank, capsys):
    fill(bank, capsys)

    words = ["label", "payment/p2", "genuine", "--known-at", "2026-03-06T12:00:00Z"]
    said = run(bank, capsys, *words, "--source", "import")[1]
    assert said.startswith("payment/p2 is labeled 'genuine', sequence number")
    assert said.endswith("; the active verdict is still 'fraud', from chargeback.\n")
    document = json.loads(run(bank, capsys, *words, "--source", "customer", "--json")[1])
    assert (document["appended"], document["in_force"]) == (1, "fraud")
    document = json.loads(run(bank, capsys, *words, "--source", "chargeback", "--json")[1])
    assert (document["appended"], document["in_force"]) == (1, "genuine")


def test_lists_of_labels_as_tables_and_as_json(bank, capsys):
    fill(bank, capsys)
    waiting = run(bank, capsys, "label", "--pending")[1]
    found = json.loads(run(bank, capsys, "label", "--conflicts", "--json")[1])["conflicts"]
    curve = run(bank, capsys, "label", "--maturity", "--days", "5")[1]

    assert "payment with arn A9  fraud    analyst  2026-03-09T12:00:00Z" in waiting
    assert [(item["event"], [said["in_force"] for said in item["labels"]]) for item in found] == [
        ("payment/p1", [True, False])
    ]
    assert "fraud    customer  2026-03-03T12:00:00Z  active" in run(bank, capsys, "label", "--conflicts")[1]
    assert "From 0 frauds" not in curve
    assert "█" in curve


def test_every_list_can_be_asked_as_of_a_moment(bank, capsys):
    fill(bank, capsys)
    moment = ("--as-of", "2026-03-04", "--json")

    assert json.loads(run(bank, capsys, "label", "--pending", *moment)[1])["labels"] == []
    assert json.loads(run(bank, capsys, "label", "--conflicts", *moment)[1])["conflicts"] == []
    assert json.loads(run(bank, capsys, "label", "--maturity", *moment)[1])["frauds"] == 1
    exported = run(bank, capsys, "export", "labels", "--as-of", "2026-03-04")[1].splitlines()
    assert [json.loads(line)["event"] for line in exported] == ["payment/p1"]
    assert run(bank, capsys, "export", "decisions", "--as-of", "2026-03-04")[0] == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--pending", "--conflicts"],
        ["--maturity", "p1", "fraud"],
        ["--days", "3", "--conflicts"],
        ["--as-of", "2026-03-04", "p1", "fraud"],
        ["--conflicts", "--as-of", "yesterday"],
    ],
)
def test_options_that_do_not_belong_together_are_refused(bank, capsys, words):
    fill(bank, capsys)

    assert run(bank, capsys, "label", *words)[0] == 2
