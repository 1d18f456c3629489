"""Training sets as a project writes them: roles, weights, the same bytes again, and what is said where they are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.language.values import parse_time
from shroff.log.columns import tables
from shroff.models.evaluation.windows import final_window, rows_of, windows_of
from shroff.models.sets import FRAUD, Labels
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.disputes.operations import DisputeInput, ImportDisputes
from shroff.training.roles import roles_of, wanted_fold
from shroff.training.sets.manifest import MANIFEST, read_manifest
from shroff.training.sets.rows import build_set
from shroff.training.sets.sources import log_source
from tests.support.learnable import FILES, make_project, write_days

pytestmark = pytest.mark.slow  # its tests train models

DAYS = 16
AS_OF = "2026-03-15"
SETS = ("rows.parquet", "labels.parquet")


@pytest.fixture(name="days", scope="module")
def _days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_days(tmp_path_factory.mktemp("days") / "days.jsonl", range(DAYS))


@pytest.fixture(name="decided", scope="module")
def _decided(tmp_path_factory: pytest.TempPathFactory, days: Path) -> Path:
    return bank_of(tmp_path_factory.mktemp("decided"), days).context.paths.folder


@pytest.fixture(name="bank")
def _bank(tmp_path: Path, decided: Path) -> app.Project:
    return app.open(shutil.copytree(decided, tmp_path / "bank"))


@pytest.fixture(name="files")
def _files(tmp_path: Path, days: Path) -> tuple[Path, Path]:
    return split(tmp_path, days)


def bank_of(tmp_path: Path, days: Path, **changes: str) -> app.Project:
    project = app.open(make_project(tmp_path / "bank", **changes))
    project.ingest(days)
    return project


def split(folder: Path, days: Path) -> tuple[Path, Path]:
    """The days as a file of payments and one of labels."""
    lines = [json.loads(line) for line in days.read_text(encoding="utf-8").splitlines()]
    for kind in ("payment", "label"):
        text = "".join(f"{json.dumps(line[kind])}\n" for line in lines if kind in line)
        (folder / f"{kind}s.jsonl").write_text(text, encoding="utf-8")
    return folder / "payments.jsonl", folder / "labels.jsonl"


def changed(project: app.Project, **texts: str) -> app.Project:
    """The project with other files."""
    for name, text in texts.items():
        (project.context.paths.folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return app.open(project.context.paths.folder)


def bytes_of(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in SETS]


def rows(folder: Path) -> pa.Table:
    return pq.read_table(folder / "rows.parquet")


# ---- roles, labels, weights


@pytest.mark.parametrize("fold", [1, 2, "2", "final", None])
def test_rows_have_the_roles_and_labels_by_which_training_itself_takes_them(
    bank: app.Project, tmp_path: Path, fold: int | str | None
) -> None:
    bank.training_sets.write(tmp_path / "set", as_of=AS_OF, fold=fold)
    settings, as_of_ms = bank.definitions.models["payment"], parse_time(f"{AS_OF}T00:00:00Z")
    with bank.log.reading() as log:
        given = build_set(bank.definitions, settings, log_source(log, bank.definitions, "payment"), as_of_ms)
    windows = {
        None if number == 2 and fold is None else number: window
        for number, window in enumerate(windows_of(settings.split, settings.label_delay_ms, as_of_ms), start=1)
    }
    wanted = final_window(settings.split, as_of_ms) if fold == "final" else windows[fold if fold is None else int(fold)]
    expected = rows_of(given, wanted, settings.label_delay_ms, wanted.train_start_ms)
    found = rows(tmp_path / "set")
    roles, labels = np.array(found["role"].to_pylist(), object), np.array(found["label"].to_pylist(), object)

    assert np.flatnonzero(roles == "train").tolist() == expected.train.rows.tolist()
    assert np.flatnonzero(roles == "test").tolist() == expected.test.rows.tolist()
    assert labels[expected.train.rows].tolist() == expected.train.verdicts.tolist()
    assert labels[expected.test.rows].tolist() == expected.test.verdicts.tolist()
    assert {labels[at] for at in np.flatnonzero((roles != "train") & (roles != "test"))} <= {None}
    assert np.count_nonzero(expected.train.verdicts == FRAUD) == read_manifest(tmp_path / "set").fold.train_fraud > 0
    delayed = (given.times_ms >= wanted.train_end_ms) & (given.times_ms < wanted.test_start_ms)
    assert np.flatnonzero(roles == "delay").tolist() == np.flatnonzero(delayed).tolist()


def test_a_fraud_of_before_the_training_keeps_no_row_out_of_the_test(bank: app.Project) -> None:
    settings, day = bank.definitions.models["payment"], 86_400_000
    wanted = wanted_fold(settings, parse_time(f"{AS_OF}T00:00:00Z"))
    fold = wanted.windows
    times = np.array([fold.train_start_ms - day, fold.train_start_ms, fold.test_start_ms, fold.test_start_ms + 1])
    known = np.array([fold.train_start_ms, fold.train_start_ms + 1])
    labels = Labels(np.arange(2), np.full(2, FRAUD, np.int8), np.zeros(2, np.int8), known, np.full(2, -1))
    as_of_ms = fold.test_end_ms + settings.label_delay_ms
    made = roles_of(settings, as_of_ms, wanted, times, np.array([1, 2, 1, 2]), labels)

    assert (made.fold.test_rows, made.fold.compromised) == (1, 1)


def test_weights_make_up_for_the_genuine_rows_that_the_lot_leaves_out(tmp_path: Path, days: Path) -> None:
    model = FILES["model.yaml"] + "  negatives: 25%\n"
    bank_of(tmp_path, days, model=model).training_sets.write(tmp_path / "set", as_of=AS_OF)
    found = rows(tmp_path / "set").to_pylist()
    genuine = [item["weight"] for item in found if item["role"] == "train" and item["label"] == 0]

    assert {item["weight"] for item in found if item["role"] == "test" or item["label"] == 1} == {1.0}
    assert sum(weight > 0 for weight in genuine) == round(len(genuine) / 4)
    assert sum(genuine) == pytest.approx(len(genuine))
    assert read_manifest(tmp_path / "set").fold.negatives_kept == 0.25


def test_a_verdict_stands_with_the_moment_at_which_it_was_known(bank: app.Project, tmp_path: Path) -> None:
    bank.training_sets.write(tmp_path / "set", as_of=AS_OF)
    known = {row["id"]: row["known_at"] for row in bank.labels(as_of=AS_OF).to_pylist()}
    found = {row["id"]: row["known_at"] for row in rows(tmp_path / "set").to_pylist() if row["known_at"] is not None}

    assert len(found) > 50
    assert found == {id_: moment for id_, moment in known.items() if id_ in found}
    assert set(known) == set(found)


# ---- the same bytes


def test_threads_and_what_comes_later_do_not_change_a_byte(
    bank: app.Project, tmp_path: Path, days: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for threads in (1, 2):
        monkeypatch.setattr(tables, "threads", lambda threads=threads: threads)
        bank.training_sets.write(tmp_path / f"by {threads}", as_of=AS_OF)
    bank.ingest(write_days(tmp_path / "more.jsonl", range(DAYS, DAYS + 3)))
    bank.training_sets.write(tmp_path / "later", as_of=AS_OF)

    assert bytes_of(tmp_path / "by 1") == bytes_of(tmp_path / "by 2") == bytes_of(tmp_path / "later")
    first, two = ((tmp_path / name / MANIFEST).read_bytes() for name in ("by 1", "by 2"))
    assert first == two
    assert rows(tmp_path / "by 1").num_rows > 1_000


def test_made_again_a_set_has_the_same_bytes_though_older_labels_came_since(bank: app.Project, tmp_path: Path) -> None:
    first = bank.training_sets.write(tmp_path / "set", as_of=AS_OF)
    late = tmp_path / "late.jsonl"
    late.write_text('{"event": "p1-1", "verdict": "fraud", "known_at": "2026-03-04T00:00:00Z"}\n', encoding="utf-8")
    bank.ingest(late, as_type="label")
    again = bank.training_sets.again(tmp_path / "set", out=tmp_path / "again")
    anew = bank.training_sets.write(tmp_path / "anew", as_of=AS_OF)

    assert again.is_equal
    assert again.why == ()
    assert [path.read_bytes() for path in sorted((tmp_path / "again").iterdir())] == [
        path.read_bytes() for path in sorted((tmp_path / "set").iterdir())
    ]
    assert anew.manifest.label_rows == first.manifest.label_rows + 1


def test_a_dispute_that_is_won_later_does_not_change_the_set_of_before(bank: app.Project, tmp_path: Path) -> None:
    def write(name: str, as_of: str = AS_OF) -> list[bytes]:
        bank.training_sets.write(tmp_path / name, as_of=as_of)
        return bytes_of(tmp_path / name)

    disputed = DisputeInput(event="payment/p1-1", stage="dispute", known_at="2026-03-10")
    bank.run(ImportDisputes(disputes=(disputed,)))
    before = write("before")
    bank.run(ImportDisputes(disputes=(replace(disputed, stage="won", known_at="2026-03-16"),)))

    assert before == write("as of before") != write("later", "2026-03-17")


def test_by_files_as_well(bank: app.Project, tmp_path: Path, files: tuple[Path, Path]) -> None:
    payments, labels = files
    report = bank.training_sets.write(tmp_path / "set", files=payments, labels=labels, as_of=AS_OF)
    again = bank.training_sets.again(tmp_path / "set" / MANIFEST, files=payments, labels=labels)
    bank.training_sets.write(tmp_path / "log", as_of=AS_OF)
    log, by_files = (rows(tmp_path / name).drop_columns(["seq", "outcome"]) for name in ("log", "set"))

    assert again.is_equal
    assert not (again.report.folder).exists()
    assert report.manifest.source.log_seq is None
    assert by_files.num_rows > 1_000
    assert by_files.equals(log)


def test_files_in_any_order_give_the_set_of_the_sorted_ones(
    bank: app.Project, tmp_path: Path, files: tuple[Path, Path]
) -> None:
    payments, labels = files
    lines = payments.read_text(encoding="utf-8").splitlines(keepends=True)
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text("".join(lines[1::2] + lines[::2]), encoding="utf-8")

    bank.training_sets.write(tmp_path / "sorted", files=payments, labels=labels)
    by_time = bank.training_sets.write(tmp_path / "by-time", files=mixed, labels=labels, order="time")
    bank.training_sets.write(tmp_path / "as-they-are", files=mixed, labels=labels)
    again = bank.training_sets.again(tmp_path / "by-time", files=mixed, labels=labels)

    assert by_time.manifest.source.order == "time"
    assert rows(tmp_path / "by-time").drop_columns("seq") == rows(tmp_path / "sorted").drop_columns("seq")
    assert len(rows(tmp_path / "as-they-are")) < len(rows(tmp_path / "sorted"))
    assert again.is_equal


def test_the_moment_of_files_is_that_of_their_last_event_or_label(
    bank: app.Project, tmp_path: Path, files: tuple[Path, Path]
) -> None:
    payments, labels = files
    by_files = bank.training_sets.write(tmp_path / "set", files=payments, labels=labels)
    by_log = bank.training_sets.write(tmp_path / "log")

    assert by_files.manifest.as_of == by_log.manifest.as_of
    assert by_files.left.count == 0


def test_lines_of_files_that_give_no_row_are_counted_once(
    bank: app.Project, tmp_path: Path, files: tuple[Path, Path]
) -> None:
    payments, labels = files
    payments.write_text(payments.read_text(encoding="utf-8") + '{"id": "x"}\n', encoding="utf-8")
    report = bank.training_sets.write(tmp_path / "set", files=payments, labels=labels)

    assert report.left.refused == 1


def test_of_features_that_look_at_labels_files_give_what_a_log_of_them_gives(tmp_path: Path, days: Path) -> None:
    features = "card: { frauds: count(label where label.verdict == 'fraud') over 30d }\n"
    model = FILES["model.yaml"].replace("card.payments_1d", "card.frauds")
    bank = bank_of(tmp_path, days, features=features, model=model)
    payments, labels = split(tmp_path, days)
    bank.training_sets.write(tmp_path / "set", files=payments, labels=labels, as_of=AS_OF)
    bank.training_sets.write(tmp_path / "log", as_of=AS_OF)
    log, by_files = (rows(tmp_path / name)["card.frauds"] for name in ("log", "set"))

    assert max(log.to_pylist()) > 0
    assert by_files.equals(log)
    assert bank.training_sets.again(tmp_path / "set", files=payments, labels=labels).is_equal


# ---- and where they are not the same


CHANGES: list[tuple[dict[str, str], str]] = [
    ({"features": FILES["features.yaml"].replace("over 1d", "over 2d")}, "input card.payments_1d: it means something"),
    ({"model": FILES["model.yaml"].replace(", card.payments_1d", "")}, "input card.payments_1d: not in model.yaml"),
    ({"model": FILES["model.yaml"].replace("train: 8d", "train: 9d")}, "fold 2: its windows, its sampling"),
    ({"model": FILES["model.yaml"].replace("label_delay: 1d", "label_delay: 2d")}, "label_delay of model.yaml"),
    ({"policy": "payment:\n  costs: { missed_fraud: payment.amount * 2 }\n"}, "policy.yaml: "),
]


@pytest.mark.parametrize(("changes", "words"), CHANGES, ids=lambda value: value if isinstance(value, str) else "")
def test_what_has_changed_is_named(bank: app.Project, tmp_path: Path, changes: dict[str, str], words: str) -> None:
    bank.training_sets.write(tmp_path / "set", as_of=AS_OF)
    again = changed(bank, **changes).training_sets.again(tmp_path / "set")

    assert not again.is_equal
    assert "rows.parquet" in again.differing
    assert any(text.startswith(words) for text in again.why), again.why


def test_a_rule_that_was_changed_changes_no_byte(bank: app.Project, tmp_path: Path) -> None:
    bank.training_sets.write(tmp_path / "set", as_of=AS_OF)
    (bank.context.paths.folder / "rules").mkdir()
    rule = "- { id: large, on: payment, by: card, when: this.amount > 60, effect: review }\n"
    (bank.context.paths.folder / "rules" / "large.yaml").write_text(rule, encoding="utf-8")
    again = app.open(bank.context.paths.folder).training_sets.again(tmp_path / "set")

    assert again.is_equal
    assert again.why == ()


def test_a_file_with_another_content_is_named(bank: app.Project, tmp_path: Path, files: tuple[Path, Path]) -> None:
    payments, labels = files
    bank.training_sets.write(tmp_path / "set", files=payments, labels=labels, as_of=AS_OF)
    text = payments.read_text(encoding="utf-8").splitlines(keepends=True)
    payments.write_text("".join(text[1:]), encoding="utf-8")
    again = bank.training_sets.again(tmp_path / "set", files=payments, labels=labels)

    assert not again.is_equal
    assert "payments.jsonl: another content" in again.why


def _without_a_log(bank: app.Project, tmp_path: Path) -> None:
    app.open(make_project(tmp_path / "other")).training_sets.write(tmp_path / "set")


def _of_a_longer_log(bank: app.Project, tmp_path: Path) -> None:
    bank.training_sets.write(tmp_path / "set", as_of=AS_OF)
    path = tmp_path / "set" / MANIFEST
    found = json.loads(path.read_bytes())
    found["source"]["log_seq"] *= 2
    path.write_bytes(msgspec.json.encode(found))
    bank.training_sets.again(tmp_path / "set")


def _of_files_that_are_not_named(bank: app.Project, tmp_path: Path) -> None:
    bank.training_sets.write(tmp_path / "set", files=tmp_path / "payments.jsonl", labels=tmp_path / "labels.jsonl")
    bank.training_sets.again(tmp_path / "set")


def _of_labels_that_are_not_named(bank: app.Project, tmp_path: Path) -> None:
    bank.training_sets.write(tmp_path / "set", files=tmp_path / "payments.jsonl", labels=tmp_path / "labels.jsonl")
    bank.training_sets.again(tmp_path / "set", files=tmp_path / "payments.jsonl")


def _with_files_it_was_not_of(bank: app.Project, tmp_path: Path) -> None:
    bank.training_sets.write(tmp_path / "set", as_of=AS_OF)
    bank.training_sets.again(tmp_path / "set", files=tmp_path / "payments.jsonl")


def _over_a_set(bank: app.Project, tmp_path: Path) -> None:
    bank.training_sets.write(tmp_path / "set", as_of=AS_OF)
    bank.training_sets.write(tmp_path / "set", as_of=AS_OF)


REFUSED: list[tuple[Callable[[app.Project, Path], object], str]] = [
    (_without_a_log, "this project has no log yet"),
    (_of_a_longer_log, "it was built from another log, or this log was truncated"),
    (_of_files_that_are_not_named, "is of the files payments.jsonl: name them"),
    (_of_labels_that_are_not_named, r"is of the labels labels\.jsonl too: add --labels FILE"),
    (_with_files_it_was_not_of, "leave the files out"),
    (_over_a_set, "has a training set. Choose another folder, or rebuild it with --again"),
    (lambda bank, tmp_path: bank.training_sets.write(tmp_path), "is not empty. Choose a new or an empty folder"),
    (
        lambda bank, tmp_path: bank.training_sets.write(tmp_path / "payments.jsonl"),
        "is a file; a training set is a folder",
    ),
    (
        lambda bank, tmp_path: bank.training_sets.write(tmp_path / "set", fold=3),
        "no fold 3 of payment.* are 1 to 2, and final",
    ),
    (lambda bank, tmp_path: bank.training_sets.write(tmp_path / "set", fold="last"), "there is no fold last"),
    (lambda bank, tmp_path: bank.training_sets.write(tmp_path / "set", "login"), "model.yaml has no model of 'login'"),
    (lambda bank, tmp_path: bank.training_sets.write(tmp_path / "set", labels="labels.jsonl"), "labels are for files"),
    (lambda bank, tmp_path: bank.training_sets.again(tmp_path / "none"), "there is no file .*none"),
]


@pytest.mark.parametrize(("call", "words"), REFUSED)
def test_what_cannot_be_made_says_why_and_what_to_do(
    bank: app.Project, tmp_path: Path, files: tuple[Path, Path], call: Callable[[app.Project, Path], object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        call(bank, tmp_path)


def test_a_set_that_fails_leaves_nothing(bank: app.Project, tmp_path: Path, files: tuple[Path, Path]) -> None:
    payments, labels = files
    labels.write_text('{"event": "p1-1", "verdict": "perhaps"}\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"labels\.jsonl, 1: "):
        bank.training_sets.write(tmp_path / "set", files=payments, labels=labels, as_of=AS_OF)

    assert not (tmp_path / "set").exists()


# ---- the command


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object], str]:
    code = run([*words, "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out), told.err


def test_the_command_writes_a_set_and_makes_it_again(
    bank: app.Project, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bank.context.paths.folder)
    code, report, _ = asked(capsys, "training-set", "--as-of", AS_OF, "--out", "march")
    manifest = report["manifest"]
    assert isinstance(manifest, dict)

    assert code == 0
    assert manifest == json.loads(Path("march", MANIFEST).read_bytes())
    assert manifest["rows"] == rows(Path("march")).num_rows
    assert asked(capsys, "training-set", "--again", "march")[:2][0] == 0
    changed(bank, features=FILES["features.yaml"].replace("over 1d", "over 2d"))
    code, report, _ = asked(capsys, "training-set", "--again", "march")
    assert (code, report["equal"], report["differing"]) == (1, False, ["rows.parquet"])
    assert run(["training-set", "--again", "march"]) == 1
    assert "march: different bytes in rows.parquet.\n  input card.payments_1d: it means" in capsys.readouterr().out


def test_the_command_tells_what_is_in_it(
    bank: app.Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bank.context.paths.folder)
    assert run(["training-set", "--as-of", AS_OF, "--out", "march"]) == 0
    told = capsys.readouterr()
    fold = read_manifest(Path("march")).fold

    assert told.out.startswith("march: 2,101 payments as of 2026-03-15T00:00:00Z, 3 inputs, in ")
    assert f"{fold.train_rows:,} rows with {fold.train_fraud:,} frauds, from {fold.train[0]}" in told.out
    assert "Next: shroff training-set --again march" in told.err


def test_lines_that_were_refused_give_their_own_exit_status(
    bank: app.Project,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(bank.context.paths.folder)
    payments, labels = files
    payments.write_text(payments.read_text(encoding="utf-8") + '{"id": "x"}\n', encoding="utf-8")
    words = ("training-set", str(payments), "--labels", str(labels), "--out", str(tmp_path / "set"))
    code, report, _ = asked(capsys, *words)

    assert code == 4
    left = report["left_out"]
    assert isinstance(left, dict)
    (first,) = left.pop("first")
    assert left == {"refused": 1, "too_late": 0, "duplicates": 0, "untaken": 0}
    assert (first["file"], first["line"]) == ("payments.jsonl", str(DAYS * 150 + 1))
    assert first["reason"].startswith("at: expected a time")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "a training set needs a folder: add --out FOLDER"),
        (("--again", "march", "--as-of", AS_OF), "leave them out"),
        (("--again", "march", "--fold", "1"), "leave them out"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    bank: app.Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(bank.context.paths.folder)

    assert run(["training-set", *words]) == 2
    assert said in capsys.readouterr().err
