"""Taking files in: a look at all of them first, their order, errors half-way, and what the report says of labels."""

from __future__ import annotations

import gzip
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.cli.main import run
from shroff.engine.step import Effects, SequencedEvent
from shroff.errors import StateError, StorageError, UsageError
from shroff.events.event import Event
from shroff.events.intake import Submission
from shroff.log import batch_classifier as draft_module
from shroff.log import batch_labels as labels_module
from shroff.log import writer as writer_module
from shroff.log.unmatched_files import unmatched_of
from shroff.log.writer import Answer, Writer
from shroff.project.definitions import Definitions
from shroff.services import project as app
from shroff.services.check.operations import CheckProject
from shroff.streams.log import Batch
from shroff.worker import ingest as ingest_module
from shroff.worker.file_order import arranged, with_labels
from shroff.worker.ingest import ingest
from tests.support.log_memory import MemoryLog
from tests.support.log_memory_parts import quarantined
from tests.support.projects import FILES, NOW_MS, definitions, documents, label, payment, writer

MARCH_MS = 1_772_323_200_000  # 2026-03-01, in UTC


def on_day(day: int, number: int, second: int = 0) -> Submission:
    """A payment of a day of March."""
    time_ms = MARCH_MS + ((day - 1) * 86_400 + second) * 1_000
    return Submission(
        "a.csv",
        str(number),
        bytes,
        "payment",
        Event("payment", f"p{number}", time_ms, (f"p{number}", time_ms, "c", 100)),
    )


def breaking(submissions: Sequence[Submission]) -> Iterator[Submission]:
    """Submissions of a file that ends too early."""
    yield from submissions
    raise UsageError("x.csv.gz is not whole")


def ids(log: MemoryLog) -> list[str]:
    return [record.id for records in log.read() for record in records if record.kind == "event"]


@pytest.fixture
def project(tmp_path: Path) -> app.Project:
    """The small project in a folder of its own."""
    for name, text in FILES.items():
        path = tmp_path / "small" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, encoding="utf-8")
    return app.open_exactly(tmp_path / "small")


def csv(path: Path, days: Sequence[int], name: str = "p") -> Path:
    """A file of payments, one a day or several, a second apart."""
    rows = [f"{name}{at},2026-03-{day:02d}T00:{at // 60:02d}:{at % 60:02d}Z,c,5.00\n" for at, day in enumerate(days)]
    path.write_text("id,at,card,amount\n" + "".join(rows), encoding="utf-8")
    return path


def read_all(stream: IO[bytes], found: list[bytes]) -> None:
    """Read lines until none is left or one cannot be read."""
    while line := stream.readline():
        found.append(line)


def events_of(project: app.Project) -> int:
    with project.log.reading() as log:
        return sum(record.kind == "event" for records in log.read() for record in records)


# ---- the look at all files before the first write


def test_nothing_of_any_file_is_taken_where_a_later_one_is_too_late(project: app.Project, tmp_path: Path):
    new, old = csv(tmp_path / "new.csv", [20] * 500, "n"), csv(tmp_path / "old.csv", [1] * 30, "o")
    with pytest.raises(UsageError, match=r"old.csv: 30 of the first 30 lines.*No event was written.*--order time"):
        project.ingest([new, old], as_type="payment")

    assert events_of(project) == 0


def test_files_in_disorder_are_taken_with_a_warning_where_their_order_was_asked_for(project, tmp_path):
    new, old = csv(tmp_path / "new.csv", [20] * 50, "n"), csv(tmp_path / "old.csv", [1] * 30, "o")
    report = project.ingest([new, old], as_type="payment", order="file")

    assert (report.events.appended, report.events.quarantined) == (50, 30)
    assert "old.csv: 30 of the first 30 lines are more than" in project.warnings[0]


def test_files_that_overlap_in_time_are_told_once_with_the_cure(project: app.Project, tmp_path: Path):
    first, second = csv(tmp_path / "a.csv", [1, 2, 2]), csv(tmp_path / "b.csv", [2, 2, 3], "q")
    later, labels = csv(tmp_path / "c.csv", [4, 5], "r"), tmp_path / "labels.jsonl"
    labels.write_text(
        '{"event": "payment/p0", "verdict": "fraud", "source": "analyst", "known_at": "2026-03-01T01:00Z"}'
    )
    project.ingest([first, second, later], as_type="payment", labels=labels)
    told = list(project.warnings)
    project.ingest([first, second], as_type="payment")  # all of it is there already
    project.ingest([second, first], as_type="payment", order="file")

    assert len(told) == 1
    assert "2 of b.csv. Files are read one after the other" in told[0]
    assert "--order time" in told[0]
    assert project.warnings == told


def test_a_file_that_changes_while_it_is_read_is_told_of(project: app.Project, tmp_path: Path):
    file = csv(tmp_path / "a.csv", [1, 2])

    def change(_: Sequence[Answer]) -> None:
        file.write_text(file.read_text() + "\n")

    project.ingest(csv(tmp_path / "b.csv", [1], "q"))
    assert not any("changed while" in words for words in project.context.warnings)
    report = project.taking.ingest(file, on_batch=change)
    assert report.changed == ["a.csv"]
    assert any("a.csv changed while it was read" in words for words in project.context.warnings)


def test_files_are_sorted_together(project: app.Project, tmp_path: Path):
    #  a   1 2 3 4 …        b   1 2 3 4 …        each day of b is too late behind the end of a
    days = list(range(1, 21))
    first, second = csv(tmp_path / "a.csv", days, "a"), csv(tmp_path / "b.csv", days, "b")
    report = project.ingest([first, second], as_type="payment", order="time")

    assert (report.events.appended, report.events.quarantined) == (40, 0)


def test_sorted_files_that_lie_behind_the_log_are_stopped_too(project: app.Project, tmp_path: Path):
    project.ingest([csv(tmp_path / "new.csv", [20], "n")], as_type="payment")
    old = csv(tmp_path / "old.csv", [1] * 30, "o")
    with pytest.raises(UsageError, match="behind the newest event of the log"):
        project.ingest([old], as_type="payment", order="time")

    assert events_of(project) == 1


@pytest.mark.parametrize(
    ("late", "lines", "is_stopped"),
    [(90, 150, True), (20, 1_999, True), (20, 2_000, False), (19, 19 * 2, True), (1, 3, True)],
)
def test_more_than_one_percent_of_late_lines_stop_an_ingest_however_short_it_is(
    late: int, lines: int, is_stopped: bool
):
    found = [on_day(20, 0), *(on_day(1, 1 + at) for at in range(late))]
    found += [on_day(20, len(found) + at, at) for at in range(lines - len(found))]
    log_writer = writer(MemoryLog())
    try:
        list(arranged([("a.csv", found)], log_writer))
    except UsageError:
        was_stopped = True
    else:
        was_stopped = False

    assert was_stopped == is_stopped


def test_late_lines_that_the_log_has_already_stop_nothing():
    log = MemoryLog()
    old = [on_day(1, number, number) for number in range(30)]
    writer(log).write([*old, on_day(20, 99)])
    again = ingest(door := writer(log), arranged([("new.csv", [on_day(20, 99)]), ("old.csv", old)], door))

    assert (again.events.duplicates, again.events.quarantined) == (31, 0)


def test_late_lines_that_stand_twice_in_the_files_stop_nothing():
    #  a.csv   day 1: 0 … 29    day 20    day 1: 0 … 29 again         b.csv   day 1: 0 … 29 once more
    old, new = [on_day(1, number, number) for number in range(30)], on_day(20, 99)
    log_writer = writer(MemoryLog())
    report = ingest(log_writer, arranged([("a.csv", [*old, new, *old]), ("b.csv", old)], log_writer))

    assert (report.events.appended, report.events.duplicates, report.events.quarantined) == (31, 60, 0)


class WatchedLog(MemoryLog):
    """A log that notes which calls come while it appends, which takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.appends_on: int | None = None
        self.clashes: list[str] = []

    def append(self, batch: Batch) -> None:
        self.appends_on = threading.get_ident()
        time.sleep(0.02)  # it takes its time
        super().append(batch)
        self.appends_on = None

    def __getattribute__(self, name: str) -> Any:
        calls = ("find", "decisions", "waiting_for", "waiting_with_ids", "last_seq", "watermark_ms", "maintain")
        if name in calls and self.appends_on not in {None, threading.get_ident()}:
            self.clashes.append(name)
        return super().__getattribute__(name)


def read_slowly(submissions: Sequence[Submission]) -> Iterator[Submission]:
    """Submissions that come while the commit before them is under way."""
    time.sleep(0.005)  # it takes its time
    yield from submissions


def test_the_log_is_never_called_beside_a_commit():
    log = WatchedLog()
    log_writer = writer(log)
    files = [("a.csv", [on_day(5, at, at) for at in range(64)]), ("b.csv", read_slowly([on_day(1, 100)]))]
    report = ingest(log_writer, arranged(files, log_writer, order="file"), batch_size=8)

    assert report.events.read == 65
    assert log.clashes == []


class PatientLog(MemoryLog):
    """A log whose commits, all but the last, end once the batch behind them is being decided."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.decided = threading.Semaphore(0)
        self.met: list[bool] = []
        self._batches = batches

    def append(self, batch: Batch) -> None:
        if batch.decisions and len(self.met) < self._batches - 1:
            self.met.append(self.decided.acquire(timeout=120))
        super().append(batch)


def test_a_batch_is_decided_while_the_one_before_is_committed():
    log = PatientLog(batches=4)
    log_writer = writer(log)
    step, decided = log_writer.state.engine.step, list[int]()

    def told(batch: Sequence[SequencedEvent]) -> Effects:
        if decided:
            log.decided.release()
        decided.append(len(batch))
        return step(batch)

    log_writer.state.engine.step = told
    ingest(log_writer, [on_day(5, at, at) for at in range(32)], batch_size=8)

    assert log.met == [True, True, True]
    assert decided == [8, 8, 8, 8]


def test_labels_before_their_events_and_lines_again_in_the_next_batch_are_as_in_one_batch():
    early = [label(at, f"payment/p{at}", "fraud", "analyst", "2026-03-01T12:30:00Z") for at in (2, 5, 6)]
    lines = [
        payment(1),
        early[0],
        payment(1),
        payment(2),
        early[1],
        payment(2),
        early[0],
        payment(5),
        early[2],
        early[2],
    ]
    logs = [MemoryLog(), MemoryLog()]
    reports = [ingest(writer(log), lines, batch_size=size) for log, size in zip(logs, (1, 100), strict=True)]

    assert reports[0].events == reports[1].events
    assert reports[0].labels == reports[1].labels
    assert [item.id for item in logs[0].waiting.all()] == [item.id for item in logs[1].waiting.all()]
    assert ids(logs[0]) == ids(logs[1])


# ---- errors half-way


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_what_was_read_before_an_error_is_committed_and_told(size: int):
    log, told = MemoryLog(), list[Answer]()
    log_writer = writer(log)
    lines = arranged([("x.csv.gz", breaking([payment(number) for number in range(4)]))], log_writer)
    with pytest.raises(UsageError, match="not whole"):
        ingest(log_writer, lines, batch_size=size, on_batch=told.extend)

    assert ids(log) == [answer.id for answer in told] == ["p0", "p1", "p2", "p3"]


def test_a_cut_file_gives_all_its_whole_lines(project: app.Project, tmp_path: Path):
    plain = csv(tmp_path / "plain.csv", [20] * 3_000)
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(plain.read_bytes())[:-200])
    whole_lines: list[bytes] = []
    with gzip.open(cut) as stream, pytest.raises(EOFError):
        read_all(stream, whole_lines)
    with pytest.raises(UsageError, match="not whole"):
        project.ingest([cut], as_type="payment")

    assert events_of(project) == len(whole_lines) - 1 > 1_000


class FailingLog(MemoryLog):
    """A log whose disk is full, from some commit on."""

    def __init__(self, commits: int) -> None:
        super().__init__()
        self.commits = commits

    def append(self, batch: Batch) -> None:
        if self.commits == 0:
            raise StorageError("the disk is full")
        self.commits -= 1
        super().append(batch)


def test_a_failed_commit_is_told_though_reading_fails_as_well():
    log_writer = writer(FailingLog(commits=1))
    with pytest.raises(StorageError, match="disk is full") as raised:
        ingest(log_writer, breaking([payment(number) for number in range(4)]), batch_size=4)

    assert isinstance(raised.value.__context__, UsageError)


def interrupted(
    log: MemoryLog, project: Definitions, submissions: Sequence[Submission], after_lines: int
) -> tuple[Writer, list[Answer], int]:
    """An ingest stopped by Ctrl-C at a line of the code that prepares and commits; gives how many lines ran."""
    writer, told, ran = Writer(log, project, lambda: NOW_MS), list[Answer](), 0
    files = {module.__file__ for module in (ingest_module, writer_module, draft_module, labels_module)}

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal ran
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            ran += 1
            if ran == after_lines:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        ingest(writer, submissions, batch_size=2, on_batch=told.extend)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return writer, told, ran


@pytest.mark.slow
def test_an_interruption_at_any_line_leaves_no_state_that_the_log_does_not_have(monkeypatch):
    for setting in ("calm_collector", "short_turns"):  # of this process, which goes on: one at a `with` keeps it
        monkeypatch.setattr(ingest_module, setting, nullcontext)
    project, last, kept = definitions(), payment(9, 30), 0
    submissions = [payment(1), payment(1), payment(2, 1), payment(3, 2)]
    *_, lines = interrupted(MemoryLog(), project, submissions, 0)
    for at in range(1, lines + 1):
        log = MemoryLog()
        first, told, _ = interrupted(log, project, submissions, at)
        stored = set(ids(log))

        assert {answer.id for answer in told} <= stored
        try:
            after = first.write([last])
        except StateError as error:
            assert "open the project again" in str(error)  # noqa: PT017 (where it is raised at all)
            continue
        kept += 1
        assert documents(after)[0]["features"]["card.payments_1h"] == len(stored)
        assert first.state.watermark_ms == log.watermark_ms()
    assert lines > 200
    assert 0 < kept < lines


# ---- labels in the report


def known(number: int, event: str, at: str = "2026-03-01T12:00:00Z") -> Submission:
    return label(number, event, "fraud", "analyst", at)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_label_that_waited_for_an_event_of_the_same_ingest_is_appended(size: int):
    log = MemoryLog()
    report = ingest(writer(log), with_labels([payment(1), payment(2, 1)], [known(1, "payment/p1")]), batch_size=size)

    assert (report.labels.read, report.labels.appended, report.labels.pending) == (1, 1, 0)
    assert log.waiting.all() == []


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_label_that_waited_and_does_not_fit_its_event_is_counted_as_quarantined(size: int):
    log = MemoryLog()
    early = known(1, "payment/p1", "2026-02-01T12:00:00Z")
    report = ingest(writer(log), [early, payment(1)], batch_size=size)

    assert (report.labels.read, report.labels.pending, report.labels.quarantined) == (1, 0, 1)
    assert [(kept.source, kept.place) for _, kept in quarantined(log)] == [("test", "1")]


def test_one_that_waited_since_an_earlier_ingest_is_counted_too():
    log = MemoryLog()
    log_writer = writer(log)
    first = ingest(log_writer, [known(1, "payment/p1", "2026-02-01T12:00:00Z")])
    second = ingest(log_writer, islice([payment(1)], 1))

    assert (first.labels.pending, first.labels.quarantined) == (1, 0)
    assert (second.labels.read, second.labels.quarantined) == (0, 1)


# ---- dropping from quarantine


def test_dropping_from_quarantine_puts_no_new_version_in_force(project: app.Project, tmp_path: Path):
    project.ingest([csv(tmp_path / "a.csv", [20, 1])], as_type="payment", order="file")
    rules = project.context.paths.folder / "rules" / "large.yaml"
    rules.write_text(rules.read_text(encoding="utf-8").replace("100", "200"), encoding="utf-8")
    changed = app.open_exactly(project.context.paths.folder)
    dropped = changed.quarantine.drop([])
    with changed.log.reading() as log:
        left, versions = quarantined(log), len(log.controls())

    assert (dropped, left, versions) == (1, [], 1)


def test_dropping_where_no_log_is_makes_none(project: app.Project):
    with pytest.raises(UsageError, match="no log yet"):
        project.quarantine.drop([])

    assert not project.context.paths.log.exists()


def test_lines_for_which_the_when_of_labels_is_not_true_give_no_label(project: app.Project, tmp_path: Path) -> None:
    mapping = (
        "label:\n  from:\n    csv: { when: row.fraud == '1', event: row.id, verdict: \"'fraud'\", known_at: row.at }\n"
    )
    events = project.context.paths.folder / "events.yaml"
    events.write_text(events.read_text(encoding="utf-8") + mapping, encoding="utf-8")
    file = tmp_path / "payments.csv"
    rows = [f"p{at},2026-03-01T00:00:{at:02d}Z,c,5.00,{at % 2}\n" for at in range(6)]
    file.write_text("id,at,card,amount,fraud\n" + "".join(rows), encoding="utf-8")

    report = project.ingest(file, as_type="payment", labels=file)

    assert (report.events.appended, report.labels.appended, report.untaken) == (6, 3, 3)
    assert report.unmatched == []
    assert set(project.labels()["id"].to_pylist()) == {"p1", "p3", "p5"}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("first", "is_told"),
    [(1_772_359_200, True), (1_772_359_200.0, True), (1_772_359_200.25, True), (1_772_359_200_000, False), (5, False)],
)
def test_times_that_are_seconds_are_told_with_the_mapping_that_reads_them(
    project: app.Project, tmp_path: Path, kind: str, first: float, *, is_told: bool
) -> None:
    file = tmp_path / f"a.{kind}"
    rows = [{"id": f"p{at}", "at": first + at, "card": "c", "amount": "5.00"} for at in range(5)]
    if kind == "csv":
        file.write_text("id,at,card,amount\n" + "".join(f"{','.join(map(str, row.values()))}\n" for row in rows))
    elif kind == "jsonl":
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), file)

    if not is_told:
        assert project.ingest(file, as_type="payment").events.appended == 5
        return
    look = project.taking.look_at(file, "payment")
    with pytest.raises(UsageError, match="No event was written") as stopped:
        project.ingest(file, as_type="payment")
    told, _, cure = str(stopped.value).partition(" No event was written. ")
    assert told == f"{look.obstacles[0].words}."
    assert told.startswith(f"a.{kind}: at has numbers such as {first}. They count as milliseconds, so")
    assert events_of(project) == 0
    named = "json" if kind == "jsonl" else kind
    events, mapping = project.context.paths.folder / "events.yaml", cure.rpartition("yaml: ")[2]
    text = events.read_text(encoding="utf-8").replace("entities:", f"  from: {{ {named}: {{ {mapping} }} }}\nentities:")
    events.write_text(text, encoding="utf-8")
    mended = app.open(project.context.paths.folder)
    assert mended.ingest(file, as_type="payment").events.appended == 5
    assert not mended.warnings
    assert mended.events("payment")["at"].to_pylist()[0].isoformat() == "2026-03-01T10:00:00+00:00"


@pytest.mark.parametrize(("probed", "found"), [(3, (0, 2)), (10, (1, 0))])
def test_check_tells_no_label_as_unmatched_whose_event_may_lie_behind_the_lines_that_it_reads(
    project: app.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probed: int, found: tuple[int, int]
) -> None:
    monkeypatch.setattr("shroff.worker.file_order.PROBED_LINES", probed)
    events, labels = csv(tmp_path / "a.csv", [1, 1, 1, 1]), tmp_path / "labels.csv"
    rows = [f"payment/p{number},fraud,import,2026-04-01\n" for number in (2, 3, 9)]
    labels.write_text("event,verdict,source,known_at\n" + "".join(rows))
    told = project.run(CheckProject(file=events, as_type="payment", labels=labels))

    assert (told.lines["pending"], told.lines["not_looked_up"]) == found
    assert ("2 labels name an event that is not among these lines." in told.text()) == bool(found[1])


def test_times_of_1970_that_are_no_numbers_are_no_seconds(project: app.Project, tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text("id,at,card,amount\nb1,1970-01-21T12:19:19.200Z,c,5.00\n", encoding="utf-8")
    project.ingest(file, as_type="payment")

    assert not [words for words in project.warnings if "milliseconds" in words]


def test_a_column_with_a_blank_in_its_name_is_suggested_in_quotes(project: app.Project, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,card,amoun t,at\np1,c,5.00,2026-03-01T12:00:00Z\n", encoding="utf-8")

    with pytest.raises(UsageError, match="Did you mean 'amoun t'\\?"):
        project.ingest(file, as_type="payment")


TAKES = """
  from:
    json: { when: row.kind == 'pay' and length(row.card) > 0 }
entities:"""
NO_MATCH = """card.jsonl: no event type accepts any of its 2 lines:
  payment: when row.kind == 'pay' and length(row.card) > 0; in line 1, kind is 'Pay', card is not shown
Correct 'when' in events.yaml. If such files are expected, set 'untaken: skip' in shroff.yaml.
"""


@pytest.mark.parametrize(
    ("untaken", "kinds", "command", "status", "words"),
    [
        ("", ["Pay", "x"], ["ingest"], 4, NO_MATCH),
        ("", ["Pay", "x"], ["ingest", "--order", "time"], 4, NO_MATCH),
        ("", ["Pay", "x"], ["run", "--from"], 4, NO_MATCH),
        ("", ["Pay", "pay"], ["ingest"], 0, "1 line skipped"),
        ("untaken: skip", ["Pay", "x"], ["ingest"], 0, "2 lines skipped"),
        ("untaken: skip", ["Pay", "x"], ["run", "--from"], 0, "2 lines skipped"),
        ("untaken: quarantine", ["Pay", "x"], ["ingest"], 4, "2 quarantined"),
    ],
)
def test_a_file_of_which_no_line_is_accepted_is_an_error_unless_skipping_was_written(
    project: app.Project, capfd: pytest.CaptureFixture[str], untaken, kinds, command, status, words
) -> None:
    folder = project.context.paths.folder
    events = FILES["events.yaml"].replace("entities:", TAKES).replace("card: text?", "card: text? hashed")
    (folder / "events.yaml").write_text(events, encoding="utf-8")
    (folder / "shroff.yaml").write_text(f"{FILES['shroff.yaml']}{untaken}\n", encoding="utf-8")
    file = _kinds(folder, kinds)

    assert run(["-C", str(folder), *command, str(file)]) == status
    assert words in capfd.readouterr().out
    noted = {"card.jsonl": 2} if words == NO_MATCH else {}
    with project.log.reading() as log:
        assert {name: unmatched.lines for name, unmatched in unmatched_of(log).items()} == noted


@pytest.mark.parametrize(("kinds", "noted"), [(["Pay", "x"], {"card.jsonl": 2}), (["pay", "x"], {})])
def test_what_a_worker_noted_of_a_file_goes_on_with_the_next_worker(
    project: app.Project, kinds: list[str], noted: dict[str, int]
) -> None:
    events = FILES["events.yaml"].replace("entities:", TAKES)
    (project.context.paths.folder / "events.yaml").write_text(events, encoding="utf-8")
    file = _kinds(project.context.paths.folder, kinds)

    for _ in kinds:
        project.live.run([file], limit=1)
    with project.log.reading() as log:
        assert {name: unmatched.lines for name, unmatched in unmatched_of(log).items()} == noted


def _kinds(folder: Path, kinds: list[str]) -> Path:
    """A file of payments that say their kind."""
    file = folder / "card.jsonl"
    lines = [
        f'{{"kind": "{kind}", "id": "p{at}", "at": "2026-03-01T00:00:00Z", "card": "4111", "amount": "5.00"}}\n'
        for at, kind in enumerate(kinds)
    ]
    file.write_text("".join(lines), encoding="utf-8")
    return file
