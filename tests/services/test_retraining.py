"""Training again as files come: what is complete, in which order, what is set aside, what is never taken twice."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from shroff.adapters.pull.files import Folder, files_at, is_taken
from shroff.cli.main import run
from shroff.errors import LogBusyError, NotThereYetError, TransientError, UsageError
from shroff.people.store import rows_of
from shroff.runtime import state_folder
from shroff.services import project as app
from shroff.services.sources.file_sync import FileTaking
from shroff.services.sources.pulled_files import APPENDING, ASIDE, CHANGING, DONE, Progress, PulledFiles
from shroff.services.training.retraining import FileReport, Options
from shroff.streams.log import Batch, Offset
from shroff.streams.pull import PullPlace
from shroff.training import train as train_module
from shroff.web.metrics_store import look_at_store
from shroff.worker.forwarded_input import HandedLine, HandedLines
from tests.support import forks
from tests.support.learnable import A_DAY, FILES, day, make_project, write_days

QUICK = FILES["model.yaml"].replace("train: 8d", "train: 3d").replace("test: 2d, folds: 2", "test: 1d, folds: 1")
FIRST = range(7)  # days that are enough to learn from
ONCE = Options(once=True, settled_ms=0, sleep=lambda _seconds: None)


@pytest.fixture(name="bank")
def _bank(tmp_path: Path) -> Path:
    return make_project(tmp_path / "bank", model=QUICK)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def unnamed(now_ms: Any) -> PullPlace:
    return PullPlace("", Path(), now_ms, list)


def take(bank: Path, place: Path | str, options: Options = ONCE) -> dict[str, FileReport]:
    return {option.name: option for option in app.open(bank).training.watch(place, options)}


def write_csv(path: Path, numbers: range) -> tuple[Path, Path]:
    """Days as a file of payments and one of labels."""
    rows = [item for number in numbers for item in day(number)]
    files = path, path.with_name(f"{path.stem}-labels{path.suffix}")
    for file, kind in zip(files, ("payment", "label"), strict=True):
        table = pa.Table.from_pylist([row[kind] for row in rows if kind in row])
        if file.suffix == ".csv":
            pa.csv.write_csv(table, file)
        else:
            pq.write_table(table, file)
    return files


# ---- what becomes of files


@pytest.mark.slow
def test_each_file_is_appended_learnt_from_and_recorded_in_order(bank: Path, folder: Path):
    write_days(folder / "2.jsonl", [8])
    write_days(folder / "0.jsonl", FIRST)
    write_days(folder / "1.jsonl", [7])
    found = take(bank, folder)

    assert list(found) == ["0.jsonl", "1.jsonl", "2.jsonl"]
    registry = app.open(bank).context.registry
    for name, report in found.items():
        brought_by = registry.read(report.model).manifest["brought_by"]
        assert (brought_by["file"], brought_by["source"]) == (name, f"watched {folder.resolve()}")
    assert [item.appended.events.appended for item in found.values() if item.appended] == [7 * A_DAY, A_DAY, A_DAY]
    assert take(bank, folder) == {}, "none is taken twice"


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_events_and_labels_may_come_in_files_of_their_own(bank: Path, folder: Path, ending: str):
    files = write_csv(folder / f"march{ending}", FIRST)
    found = take(bank, folder)

    assert set(found) == {file.name for file in files}
    labels = next(synced for name, synced in found.items() if "labels" in name)
    assert labels.appended is not None
    assert labels.appended.labels.read == 7 * A_DAY
    assert app.open(bank).labels().num_rows == 7 * A_DAY
    assert any(item.model for item in found.values())


@pytest.mark.slow
def test_a_model_that_passes_is_promoted_where_that_is_asked_and_one_that_fails_is_kept(bank: Path, folder: Path):
    promoting = Options(once=True, settled_ms=0, promote=True, by="nightly")
    write_days(folder / "0.jsonl", FIRST)
    first = take(bank, folder, promoting)["0.jsonl"]
    (bank / "model.yaml").write_text(QUICK.replace("0.6", "0.9999"), encoding="utf-8")
    write_days(folder / "1.jsonl", [7])
    second = take(bank, folder, promoting)["1.jsonl"]

    assert first.promoted
    assert not second.promoted
    assert second.why == "it failed auc_roc"
    roles = {model.id: model.role for model in app.open(bank).models.all()}
    assert roles == {first.model: "champion", second.model: ""}


def test_a_report_on_a_file_that_was_taken_reads_how_far_that_one_is(bank: Path, folder: Path, monkeypatch):
    (folder / "0.jsonl").touch()
    first = take(bank, folder)["0.jsonl"]
    reads, known = list[FileTaking](), FileTaking.known
    monkeypatch.setattr(FileTaking, "known", lambda self: reads.append(self) or known(self))
    again = take(bank, folder, Options(once=True, settled_ms=0, file="0.jsonl"))["0.jsonl"]

    assert (again.state, again.why) == (first.state, first.why)
    assert len(reads) == 1, "that of all files, before the first one"


def test_how_far_all_files_are_is_read_once_however_many_are_new(bank: Path, folder: Path, monkeypatch):
    write_days(folder / "0.jsonl", [0])
    shutil.copy(folder / "0.jsonl", folder / "1.jsonl")
    for number in range(2, 6):
        (folder / f"{number}.jsonl").write_text("none\n" * number, encoding="utf-8")
    reads, known = list[FileTaking](), FileTaking.known
    monkeypatch.setattr(FileTaking, "known", lambda self: reads.append(self) or known(self))
    found = take(bank, folder)

    assert found["1.jsonl"].why.startswith("it has the same content as 0.jsonl")
    assert len(found) == 6
    assert len(reads) == 1


@pytest.mark.slow
def test_what_was_rolled_back_stays_so_when_its_file_is_reported_on_again(bank: Path, folder: Path):
    write_days(folder / "0.jsonl", FIRST)
    again = Options(once=True, settled_ms=0, promote=True, by="nightly", file="0.jsonl")
    model = take(bank, folder, again)["0.jsonl"].model
    app.open(bank).models.rollback()
    report = take(bank, folder, again)["0.jsonl"]

    assert (report.model, report.promoted, report.has_passed) == (model, False, True)
    assert app.open(bank).models.one(model).role == ""


@pytest.mark.slow
def test_a_rollback_while_a_file_trains_stays(bank: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    promoting = Options(once=True, settled_ms=0, promote=True, by="nightly")
    write_days(folder / "0.jsonl", FIRST)
    first = take(bank, folder, promoting)["0.jsonl"].model
    train = train_module.train_model

    def and_rolled_back(*given: Any, **more: Any) -> Any:
        report = train(*given, **more)
        app.open(bank).models.rollback()
        return report

    monkeypatch.setattr(train_module, "train_model", and_rolled_back)
    write_days(folder / "1.jsonl", [7])
    second = take(bank, folder, promoting)["1.jsonl"]

    assert not second.promoted
    assert f"judged against {first}, and no model is the champion now" in second.why
    assert [model.role for model in app.open(bank).models.all()] == ["", ""]


def test_history_that_is_too_short_is_appended_and_gives_no_model(bank: Path, folder: Path):
    write_days(folder / "0.jsonl", [0])
    found = take(bank, folder)["0.jsonl"]

    assert found.state == DONE
    assert found.model == ""
    assert "Training needs more than 3.0 days" in found.why
    assert app.open(bank).events("payment").num_rows == A_DAY


BROKEN = {
    "empty.csv": (b"", "is empty"),
    "empty.jsonl": (b"", "it has no lines"),
    "header.csv": (b"id,at,card,amount,channel\n", "it has no lines"),
    "cut.jsonl": (b'{"payment": {"id": "x", "at": "2026-03-0', "its last line is cut off"),
    "cut.csv": (b"id,at,card,amount,channel\nx,2026-03-09T00:00:00Z,c1,5.00,web\ny,2026-0", "its last line is cut off"),
    "cut.jsonl.gz": (gzip.compress(b'{"payment": {}}\n' * 4_000)[:-30], "end"),
    "broken.parquet": (b"PAR1 and no more", "cannot be read as Parquet"),
    "other.csv": (b"a,b\n1,2\n", "column"),
}


@pytest.mark.slow
def test_broken_files_are_set_aside_with_their_reasons_and_the_rest_goes_on(bank: Path, folder: Path):
    write_days(folder / "0.jsonl", FIRST)
    for name, (data, _) in BROKEN.items():
        (folder / name).write_bytes(data)
    write_days(folder / "z.jsonl", [7])
    found = take(bank, folder)

    for name, (_, words) in BROKEN.items():
        assert found[name].state == ASIDE, name
        assert words in found[name].why, name
    assert found["z.jsonl"].model
    project = app.open(bank)
    assert project.events("payment").num_rows == 8 * A_DAY
    with project.log.reading() as log:
        assert log.counts().refused == 0, "no line of it was taken"
    assert take(bank, folder) == {}


def test_a_file_that_was_begun_and_then_set_aside_does_not_stand_for_its_content(bank: Path, folder: Path, monkeypatch):
    for name in ("0.jsonl", "1.jsonl"):
        (folder / name).write_bytes(b"cut")
    known, begun = FileTaking.known, Progress(APPENDING, 3, 0, hashlib.sha256(b"cut").hexdigest())
    # A process that was killed had begun it.
    monkeypatch.setattr(FileTaking, "known", lambda self: self.record("0.jsonl", begun, None) or known(self))
    found = take(bank, folder)

    assert found["0.jsonl"].state == ASIDE
    assert found["1.jsonl"].why == found["0.jsonl"].why


@pytest.mark.slow
def test_a_file_that_was_set_aside_is_taken_when_it_is_whole(bank: Path, folder: Path):
    whole = write_days(folder / "0.jsonl", FIRST)
    data = whole.read_bytes()
    whole.write_bytes(data[:-30])
    assert take(bank, folder)["0.jsonl"].state == ASIDE

    whole.write_bytes(data)
    assert take(bank, folder)["0.jsonl"].state == DONE
    assert app.open(bank).events("payment").num_rows == 7 * A_DAY


@pytest.mark.slow
def test_an_unreadable_file_is_set_aside_until_it_can_be_read(
    bank: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    closed = write_days(folder / "0.jsonl", FIRST)
    real = Path.open

    def forbidden(path: Path, *given: Any, **named: Any) -> Any:
        if path == closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *given, **named)

    with monkeypatch.context() as patched:  # root, as whom tests may run, reads every file
        patched.setattr(Path, "open", forbidden)
        assert take(bank, folder)["0.jsonl"].why.startswith("0.jsonl cannot be read: Permission denied. ")
        assert take(bank, folder) == {}

    assert take(bank, folder)["0.jsonl"].state == DONE


@pytest.mark.slow
def test_a_file_of_which_every_line_is_refused_is_in_quarantine_and_trains_nothing(bank: Path, folder: Path):
    write_days(folder / "0.jsonl", FIRST)
    (folder / "1.jsonl").write_text('{"payment": {"id": "x"}}\n{"payment": {"id": "y"}}\n', encoding="utf-8")
    found = take(bank, folder)

    assert found["1.jsonl"].state == DONE
    assert found["1.jsonl"].model == ""
    assert "no new event and no new label" in found["1.jsonl"].why
    project = app.open(bank)
    assert len(project.context.registry.ids()) == 1
    with project.log.reading() as log:
        assert log.counts().refused == 2


@pytest.mark.slow
def test_the_same_events_under_another_name_train_nothing(bank: Path, folder: Path):
    write_days(folder / "0.jsonl", FIRST)
    write_days(folder / "1.jsonl", FIRST)

    assert take(bank, folder)["1.jsonl"].model == ""
    assert app.open(bank).events("payment").num_rows == 7 * A_DAY


def test_a_file_that_is_far_too_late_is_set_aside(bank: Path, folder: Path):
    write_days(folder / "0.jsonl", [8])
    write_days(folder / "1.jsonl", [2])
    found = take(bank, folder)

    assert found["1.jsonl"].state == ASIDE
    assert "refused as too late" in found["1.jsonl"].why


def test_a_file_that_changes_after_it_was_taken_is_told_of_and_not_taken_again(bank: Path, folder: Path):
    taken = write_days(folder / "0.jsonl", [0])
    take(bank, folder)
    write_days(taken, [0, 1])
    said: list[str] = []

    assert list(app.open(bank).training.watch(folder, ONCE, say=said.append)) == []
    assert ["changed after it was ingested" in words for words in said] == [True]
    assert app.open(bank).events("payment").num_rows == A_DAY


def test_a_file_that_is_only_touched_is_not_told_of(bank: Path, folder: Path):
    taken = write_days(folder / "0.jsonl", [0])
    take(bank, folder)
    os.utime(taken, (1, 1))
    said: list[str] = []

    assert list(app.open(bank).training.watch(folder, ONCE, say=said.append)) == []
    assert said == []


# ---- what is complete


class Clock:
    def __init__(self) -> None:
        self.ms = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.ms


def test_a_file_is_complete_when_it_has_stayed_the_same_for_long_enough(folder: Path):
    #  seconds    0    1    2    3    4
    #  written    x         x
    #  asked      n    n    n    n    y      two seconds after the last change
    clock = Clock()
    place = Folder(folder, unnamed(clock), settled_ms=2_000)
    file = folder / "0.csv"
    found = []
    for second in range(5):
        if second in {0, 2}:
            file.write_text("x" * (second + 1), encoding="utf-8")
            os.utime(file, ns=(clock.ms * 1_000_000,) * 2)
        found.append(place.is_complete("0.csv"))
        clock.ms += 1_000

    assert found == [False, False, False, False, True]


def test_a_file_from_a_clock_that_is_ahead_is_complete_by_what_was_seen_of_it(folder: Path):
    clock = Clock()
    place = Folder(folder, unnamed(clock), settled_ms=2_000)
    file = folder / "0.csv"
    file.write_text("x", encoding="utf-8")
    os.utime(file, ns=((clock.ms + 3_600_000) * 1_000_000,) * 2)
    first = place.is_complete("0.csv")
    clock.ms += 2_000

    assert [first, place.is_complete("0.csv")] == [False, True]


def test_a_file_that_was_renamed_into_place_is_complete_at_once(folder: Path):
    clock = Clock()
    made = folder / ".0.csv.tmp"
    made.write_text("x", encoding="utf-8")
    os.utime(made, ns=((clock.ms - 10_000) * 1_000_000,) * 2)
    made.rename(folder / "0.csv")

    assert Folder(folder, unnamed(clock), settled_ms=2_000).is_complete("0.csv")


@pytest.mark.parametrize("marker", ["0.csv.done", "_SUCCESS"])
def test_with_markers_a_file_is_complete_when_its_marker_is_there(folder: Path, marker: str):
    place = Folder(folder, unnamed(Clock()), settled_ms=0, has_markers=True)
    (folder / "0.csv").write_text("x", encoding="utf-8")
    before = place.is_complete("0.csv")
    (folder / marker).touch()

    assert [before, place.is_complete("0.csv")] == [False, True]
    assert place.names() == ["0.csv"]


def test_a_file_that_is_still_written_holds_up_those_behind_it(bank: Path, folder: Path):
    write_days(folder / "0.jsonl", [0])
    write_days(folder / "1.jsonl", [1])
    write_days(folder / "2.jsonl", [2])
    for name in ("0.jsonl", "2.jsonl"):
        (folder / f"{name}.done").touch()
    said: list[str] = []
    options = Options(once=True, has_markers=True, settled_ms=0)

    assert [option.name for option in app.open(bank).training.watch(folder, options, say=said.append)] == ["0.jsonl"]
    assert said == ["1.jsonl is still being written; later files wait for it"]
    (folder / "1.jsonl.done").touch()
    assert list(take(bank, folder, options)) == ["1.jsonl", "2.jsonl"]


@pytest.mark.parametrize(
    ("name", "is_wanted"),
    [
        ("march.csv", True),
        ("MARCH.CSV.GZ", True),
        ("day.parquet", True),
        ("day.jsonl", True),
        (".march.csv", False),
        ("_temporary.csv", False),
        ("march.csv.part", False),
        ("march.csv.done", False),
        ("_SUCCESS", False),
        ("a\nb.csv", False),
        ("run.log", False),
    ],
)
@pytest.mark.parametrize("takes_texts", [False, True])
def test_files_are_known_by_their_names(name: str, is_wanted: bool, takes_texts: bool):
    place = PullPlace("", Path(), lambda: 0, list, takes_texts=takes_texts)

    assert is_taken(name, place) == is_wanted
    assert is_taken("march.txt", place) == takes_texts


def test_it_goes_on_with_what_comes_until_it_is_left(bank: Path, folder: Path):
    numbers = iter(range(100))

    def write(_seconds: float) -> None:
        number = next(numbers)
        write_days(folder / f"{number}.jsonl", [number])

    reports = app.open(bank).training.watch(folder, Options(settled_ms=0, sleep=write))
    found = [next(reports).name for _ in range(3)]
    reports.close()

    assert found == ["0.jsonl", "1.jsonl", "2.jsonl"]


# ---- who else is there


def test_a_second_watch_is_refused_and_the_first_goes_on(bank: Path, folder: Path, capsys: pytest.CaptureFixture[str]):
    write_days(folder / "0.jsonl", [0])
    with state_folder.lock_file(app.open(bank).context.paths.state / "watch.lock", "it runs"):
        assert run(["-C", str(bank), "train", "--watch", str(folder), "--once"]) == 3
        assert "another 'shroff train --watch' runs for this project" in capsys.readouterr().err
    assert not (bank / ".shroff" / "log.db").exists()


def records(bank: Path) -> list[tuple[Any, ...]]:
    with app.open(bank).log.reading() as log:
        return [(item.kind, item.type, item.id, item.body) for part in log.read(0, log.last_seq()) for item in part]


def test_beside_a_process_that_writes_that_one_takes_the_same_lines(bank: Path, folder: Path, tmp_path: Path):
    write_days(folder / "0.jsonl", [0])
    with (folder / "0.jsonl").open("a") as file:
        file.write('{"payment": {"id": "x"}}\n')
        ahead = {"id": "z-1", "at": "2026-03-01T23:59:59Z", "card": "c1", "amount": "5.00", "channel": "web"}
        file.write(json.dumps({"label": {"event": "z-1", "verdict": "fraud", "known_at": "2026-03-01T23:59:59Z"}}))
        file.write(f"\n{json.dumps({'payment': ahead})}\n")
    alone = make_project(tmp_path / "alone", model=QUICK)
    wanted = take(alone, folder)["0.jsonl"].appended
    project = app.open(bank)
    said: list[str] = []
    with project.log.writing() as (writer, log), closing(project.inboxes.brief(writer, log)) as inbox, inbox.attended():
        (found,) = app.open(bank).training.watch(folder, ONCE, say=said.append)
        assert take(bank, folder) == {}, "none is taken twice"

    assert found.state == DONE
    assert found.appended is not None
    assert wanted is not None
    assert (found.appended.events, found.appended.labels) == (wanted.events, wanted.labels)
    assert found.appended.events.quarantined == 1
    assert (found.appended.labels.appended, found.appended.labels.pending) == (A_DAY + 1, 0)
    assert records(bank)[1:] == records(alone)[1:], "the first says when which files came into force"
    assert "ingests these lines between its own batches" in said[0]


@pytest.mark.parametrize("place", ["0", "elsewhere"])
def test_lines_that_another_process_brought_already_are_not_taken(bank: Path, place: str):
    project = app.open(bank)
    with project.log.writing() as (_, log):
        log.append(Batch(offsets=[Offset("watched x", "f", "1")]))
    lines = HandedLines(
        [HandedLine("f", "1", b"no JSON", "no JSON")], "watched x", "f", "2", place, decide=True, is_first=True
    )

    assert project.labelling.hand(lines) is None
    with project.log.reading() as log:
        assert (log.offsets.get("watched x", "f"), log.counts().refused) == ("1", 0)


def test_beside_a_process_that_takes_nothing_up_it_waits_or_with_once_says_so(
    bank: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    write_days(folder / "0.jsonl", [0])
    monkeypatch.setattr("shroff.worker.inbox.PATIENCE_S", 0.0)
    said: list[str] = []
    with app.open(bank).log.writing():
        with pytest.raises(LogBusyError):
            take(bank, folder)
        slept: list[float] = []

        def stop(seconds: float) -> None:
            slept.append(seconds)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(app.open(bank).training.watch(folder, Options(settled_ms=0, sleep=stop), say=said.append))

    assert slept
    assert "trying again" in said[-1]
    assert list(take(bank, folder)) == ["0.jsonl"]


NUMBERED = "  from: { csv: { id: \"join(row.file, ':', row.number)\" } }\n"
LABELED = """
label:
  from:
    csv:
      event: join(row.file, ':', row.number)
      verdict: "'fraud' when row.fraud == '1' else 'genuine' when row.fraud == '0'"
      known_at: time(row.at) + 1d
"""


def test_a_file_may_have_the_labels_of_its_own_events(bank: Path, folder: Path, capsys: pytest.CaptureFixture[str]):
    events = (bank / "events.yaml").read_text(encoding="utf-8")
    mapped = events.replace("  decide: true\n", f"  decide: true\n{NUMBERED}")
    (bank / "events.yaml").write_text(mapped + LABELED, encoding="utf-8")
    rows = "\n".join(f"2026-03-0{n}T00:00:00Z,c{n},5.00,web,{n % 2}" for n in range(1, 6))
    (folder / "a.csv").write_text(f"at,card,amount,channel,fraud\n{rows}\n", encoding="utf-8")
    (folder / "b-labels.csv").write_text("at,fraud\n2026-03-09T00:00:00Z,1\n", encoding="utf-8")
    status = run(["-C", str(bank), "train", "--watch", str(folder), "--once", "--settled", "0s", "--labels-inside"])
    said = capsys.readouterr()

    assert "a.csv: 5 events and 5 labels appended" in said.out
    assert "b-labels.csv: 0 events and 0 labels appended, 1 label without its event" in said.out
    assert "label --pending" in said.err
    assert status == 4, "no label of a file has found its event"
    assert app.open(bank).labels().column("verdict").to_pylist().count("fraud") == 3


def labeled_rows(values: str, column: str = "fraud") -> str:
    rows = "".join(f"2026-03-0{n}T00:00:00Z,c{n},5.00,web,{value}\n" for n, value in enumerate(values, 1))
    return f"at,card,amount,channel,{column}\n{rows}"


@pytest.fixture(name="labeled")
def _labeled(bank: Path, folder: Path) -> Path:
    """A watched folder of files with labels inside."""
    events = (bank / "events.yaml").read_text(encoding="utf-8")
    mapped = events.replace("  decide: true\n", f"  decide: true\n{NUMBERED}")
    (bank / "events.yaml").write_text(mapped + LABELED, encoding="utf-8")
    return folder


def verdicts(bank: Path) -> list[str]:
    return sorted(app.open(bank).labels().column("verdict").to_pylist())


INSIDE = Options(once=True, settled_ms=0, sleep=lambda _seconds: None, labels_inside=True)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [labeled_rows("101", "isFraud"), labeled_rows("232"), labeled_rows(["", "", ""])])
def test_a_file_without_a_verdict_is_set_aside_told_and_taken_again_once_it_is_right(
    bank: Path, labeled: Path, wrong: str
):
    (labeled / "a.csv").write_text(wrong, encoding="utf-8")

    assert take(bank, labeled, INSIDE)["a.csv"].state == ASIDE
    project = app.open(bank)
    assert project.events("payment").num_rows == 0
    ((place, words, since_ms),) = PulledFiles(project.context).troubles()
    assert place == f"watched {labeled.resolve()}"
    assert "a.csv is skipped" in words
    assert since_ms > 0
    assert [finding.state for finding in project.health.doctor() if finding.subject == place] == ["wrong"]
    look = look_at_store(project, is_quick=True)
    assert look.files == {place: (None, 1)}
    assert look.file_troubles == [(place, words, since_ms)]

    (labeled / "a.csv").write_text(labeled_rows("101"), encoding="utf-8")
    assert take(bank, labeled, INSIDE)["a.csv"].state == DONE
    assert verdicts(bank) == ["fraud", "fraud", "genuine"]
    assert list(PulledFiles(app.open(bank).context).troubles()) == []


@pytest.mark.slow
def test_a_corrected_file_is_ingested_again_by_an_audited_act(bank: Path, labeled: Path):
    (labeled / "a.csv").write_text(labeled_rows("000"), encoding="utf-8")
    take(bank, labeled, INSIDE)
    (labeled / "a.csv").write_text(labeled_rows("101"), encoding="utf-8")
    again = Options(once=True, settled_ms=0, sleep=lambda _seconds: None, labels_inside=True, again="a.csv")

    assert take(bank, labeled, INSIDE) == {}, "without the act it is not ingested again"
    report = take(bank, labeled, again)["a.csv"]
    assert report.appended is not None
    assert (report.appended.events.duplicates, report.appended.labels.appended) == (3, 2)
    with app.open(bank).log.reading() as log:
        assert log.counts().refused == 0
    with app.open(bank).people.open() as desk:
        acts = [(row.action, row.subject) for row in rows_of(desk.store)]
    assert ("file.again", "file a.csv") in acts
    with pytest.raises(UsageError, match="has not changed"):
        take(bank, labeled, again)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["looked into", "appended"])
@pytest.mark.parametrize(("changes", "state"), [(1, DONE), (9, CHANGING)])
def test_a_file_that_changes_while_it_is_read_is_read_again_or_told_of(
    bank: Path, labeled: Path, monkeypatch: pytest.MonkeyPatch, when: str, changes: int, state: str
):
    (labeled / "a.csv").write_text(labeled_rows("101"), encoding="utf-8")
    method = "_look_into" if when == "looked into" else "_append_here"
    usual, left = getattr(FileTaking, method), [changes]

    def changed_while(*given: Any, **more: Any) -> object:
        if left[0]:
            left[0] -= 1
            (labeled / "a.csv").write_text(labeled_rows("010") + "\n" * left[0], encoding="utf-8")
        return usual(*given, **more)

    monkeypatch.setattr(FileTaking, method, changed_while)
    said: list[str] = []
    reports = list(app.open(bank).training.watch(labeled, INSIDE, say=said.append))

    assert [report.state for report in reports] == [state]
    assert any("a.csv changed while it was read, and is read again" in words for words in said)
    if state == DONE:
        assert verdicts(bank) == ["fraud", "genuine", "genuine"]


def numbered(bank: Path) -> str:
    """Map labels inside of files whose ids are made of file and line; gives the rows of six days."""
    events = (bank / "events.yaml").read_text(encoding="utf-8")
    mapped = events.replace("  decide: true\n", f"  decide: true\n{NUMBERED}")
    (bank / "events.yaml").write_text(mapped + LABELED, encoding="utf-8")
    rows = []
    for number in FIRST:
        found = day(number)
        frauds = {item["label"]["event"] for item in found if item.get("label", {}).get("verdict") == "fraud"}
        for payment in (item["payment"] for item in found if "payment" in item):
            values = [payment[name] for name in ("at", "card", "amount", "channel")]
            rows.append(",".join([*values, str(int(f"payment/{payment['id']}" in frauds))]))
    return "\n".join(["at,card,amount,channel,fraud", *rows, ""])


@pytest.mark.slow
def test_files_of_which_no_model_was_made_have_a_status_of_their_own_until_their_labels_are_read(
    bank: Path, folder: Path, capsys: pytest.CaptureFixture[str]
):
    rows = numbered(bank)
    (folder / "a.csv").write_text(rows, encoding="utf-8")

    def watch(*more: str) -> int:
        return run(["-C", str(bank), "train", "--watch", str(folder), "--once", "--settled", "0s", "--promote", *more])

    assert watch() == 5
    said = capsys.readouterr().out
    assert "1,050 events and 0 labels appended; no model: " in said
    assert "map them under label in events.yaml and add --labels-inside" in said
    assert "Ids made of file and line cannot be named by a second file of labels." in said
    assert watch() == 0, "nothing came"
    assert watch("--file", "a.csv") == 5, "asked about this file, it is still without a model"
    assert "a.csv: no model: " in capsys.readouterr().out
    assert watch("--labels-inside") == 0
    assert "a.csv: 0 events and 1,050 labels appended, m-" in capsys.readouterr().out
    assert watch("--labels-inside", "--json") == 0
    assert json.loads(capsys.readouterr().out)["files"] == [], "not a third time"
    assert watch("--file", "a.csv") == 0

    (folder / "b.csv").write_text(rows, encoding="utf-8")

    assert watch("--labels-inside") == 4
    assert "b.csv: skipped: it has the same content as a.csv" in capsys.readouterr().out
    assert app.open(bank).events("payment").num_rows == 1_050, "a row of a second file would be another payment"

    (folder / "a.csv").write_text(rows + rows[-60:].partition("\n")[2], encoding="utf-8")
    for name, words in (("a.csv", "it changed after"), ("b.csv", "the same content"), ("c.xlsx", "no such file")):
        assert watch("--file", name) == 4, name
        assert words in capsys.readouterr().out


@pytest.mark.slow
def test_the_status_about_a_file_that_another_run_took_says_whether_its_model_passed(
    bank: Path, folder: Path, capsys: pytest.CaptureFixture[str]
):
    (bank / "model.yaml").write_text(QUICK.replace("0.6", "0.9999"), encoding="utf-8")
    write_days(folder / "0.jsonl", FIRST)

    def watch(*more: str) -> int:
        return run(["-C", str(bank), "train", "--watch", str(folder), "--once", "--settled", "0s", "--promote", *more])

    assert watch() == 1
    assert watch("--file", "0.jsonl") == 1

    (folder / "later.csv").write_text("at,card\n", encoding="utf-8")
    write_days(folder / "x.jsonl", [7])
    capsys.readouterr()

    assert watch("--file", "x.jsonl") == 1, "not what became of another file"
    assert watch("--markers", "--file", "y.jsonl") == 4
    write_days(folder / "y.jsonl", [8])
    assert watch("--markers", "--file", "y.jsonl") == 3, "its turn has not come"
    assert "y.jsonl was not ingested yet" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_when_it_is_told_to(bank: Path, folder: Path, end: int):
    write_days(folder / "0.jsonl", [0])
    command = [str(forks.SHROFF), "-C", str(bank), "train", "--watch", str(folder), "--settled", "0s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(end)
        rest, errors = process.communicate(timeout=120)

    assert first.startswith("0.jsonl: 150 events and 150 labels appended")
    assert "Stopped; the next run continues from here." in rest
    assert "Traceback" not in errors
    assert process.returncode == 0


# ---- the command


@pytest.mark.slow
def test_the_command_tells_of_each_file_and_its_status_says_how_it_went(
    bank: Path, folder: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["-C", str(bank), "train", "--watch", str(folder), "--once", "--settled", "0s"]
    write_days(folder / "0.jsonl", FIRST)
    assert run([*arguments, "--promote", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)["files"]
    assert found["promoted"]
    assert found["appended"]["appended"] == 7 * A_DAY

    (folder / "1.csv").write_text("", encoding="utf-8")
    assert run([*arguments]) == 4
    assert "1.csv: skipped: 1.csv is empty" in capsys.readouterr().out

    (bank / "model.yaml").write_text(QUICK.replace("0.6", "0.9999"), encoding="utf-8")
    write_days(folder / "2.jsonl", [7])
    assert run([*arguments]) == 1
    assert "not promoted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--once"], "go with --watch"),
        (["--file", "a.csv"], "go with --watch"),
        (["--watch", ".", "--file", "a.csv"], "--file goes with --once"),
        (["--watch", "nowhere"], "there is no folder nowhere"),
        (["--watch", "hdfs://host/in"], "reading files from hdfs:// is not available yet"),
        (["--watch", "smtp://host/in"], "no smtp://"),
        (["--watch", ".", "--as-of", "2026-01-01"], "leave out FILEs"),
        (["--watch", ".", "--settled", "soon"], "--settled: 'soon' is not a duration"),
    ],
)
def test_wrong_use_is_said(bank: Path, given: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    assert run(["-C", str(bank), "train", *given]) == 2
    assert words in capsys.readouterr().err


def test_a_project_without_a_model_has_nothing_to_train(bank: Path, folder: Path, capsys: pytest.CaptureFixture[str]):
    (bank / "model.yaml").unlink()
    write_days(folder / "0.jsonl", [0])

    assert run(["-C", str(bank), "train", "--watch", str(folder), "--once"]) == 2
    assert "declares no model" in capsys.readouterr().err
    assert not (bank / ".shroff" / "log.db").exists()


# ---- lists behind a URL


@pytest.fixture(name="server")
def _server(folder: Path) -> Iterator[str]:
    """The folder behind a URL."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing: it would stand among the tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_files_of_a_list_are_taken_in_its_order(bank: Path, folder: Path, server: str):
    write_days(folder / "b.jsonl", FIRST)
    write_days(folder / "a.jsonl", [7])
    (folder / "files.txt").write_text(f"# our days\nb.jsonl\n\n{server}/a.jsonl  # newer\n", encoding="utf-8")
    found = take(bank, f"{server}/files.txt")

    assert list(found) == ["b.jsonl", f"{server}/a.jsonl"]
    assert all(item.model for item in found.values())
    assert take(bank, f"{server}/files.txt") == {}
    assert list((bank / ".shroff" / "downloads").iterdir()) == []


def test_lists_that_cannot_be_followed_are_refused(bank: Path, folder: Path, server: str):
    with pytest.raises(TransientError, match="cannot be reached"):
        take(bank, f"{server}/none.txt")
    (folder / "files.txt").write_text("http://elsewhere.example/a.jsonl\n", encoding="utf-8")
    with pytest.raises(UsageError, match="on another server"):
        take(bank, f"{server}/files.txt")
    (folder / "files.txt").write_text("file:///etc/passwd.csv\n", encoding="utf-8")
    with pytest.raises(UsageError, match="on another server"):
        take(bank, f"{server}/files.txt")
    (folder / "files.txt").write_text("gone.jsonl\n", encoding="utf-8")
    with pytest.raises(TransientError, match=r"gone\.jsonl cannot be reached"):
        take(bank, f"{server}/files.txt")


def test_a_folder_may_be_named_by_its_url(folder: Path):
    found = files_at({"from": folder.as_uri()}, unnamed(Clock()))

    assert found.source == files_at({"from": str(folder)}, unnamed(Clock())).source == f"watched {folder}"
    with pytest.raises(NotThereYetError):
        files_at({"from": "hdfs://host/in"}, unnamed(Clock()))


def test_what_cannot_be_watched_is_told_by_the_call(bank: Path):
    with pytest.raises(UsageError, match="there is no folder nowhere"):
        app.open(bank).training.watch("nowhere")
