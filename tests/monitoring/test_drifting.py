"""Drift of a project: what the champion reads now against what it has learnt from, and what is kept of a look."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shroff.cli.main import run
from shroff.errors import LogBusyError, UsageError
from shroff.monitoring.doctor import NOTE, OK, WRONG, Finding
from shroff.monitoring.drift_record import DriftRecord
from shroff.monitoring.drift_report import LABEL_DELAY, SCORE, DriftReport
from shroff.services import project as app
from shroff.services.drift.records import DriftRecords
from tests.support.learnable import make_project, write_days

pytestmark = pytest.mark.slow  # its tests share trained models

LEARNT = 16  # days


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose champion has learnt from days that all look alike."""
    folder = make_project(tmp_path_factory.mktemp("drift") / "bank")
    project = app.open(folder)
    project.ingest(write_days(folder.parent / "learnt.jsonl", range(LEARNT)))
    assert project.train(promote=True).promoted
    return folder


@pytest.fixture(name="bank")
def _bank(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "bank")


def more(bank: Path, first: int = LEARNT, days: int = 7, **how: object) -> app.Project:
    """The project with further days."""
    project = app.open(bank)
    project.ingest(write_days(bank.parent / f"{first}.jsonl", range(first, first + days), **how))
    return project


def moved(report: DriftReport) -> set[str]:
    return {row.name for row in report.moved}


def recorded(bank: Path) -> DriftRecord:
    return app.open(bank).part(DriftRecords).read()


def doctor_says(bank: Path) -> list[Finding]:
    return [item for item in app.open(bank).health.doctor() if item.subject == "drift"]


def test_days_as_before_have_not_moved(bank: Path):
    report = more(bank).health.drift()

    assert moved(report) == set()
    assert {item.name for item in report.found} == {
        "payment.amount",
        "payment.channel",
        "card.payments_1d",
        SCORE,
        LABEL_DELAY,
    }
    assert report.reference.rows == 8 * 150, "the window of training"
    assert report.recent.rows == 7 * 150
    assert [say.state for say in doctor_says(bank)] == [OK]
    assert recorded(bank).alerts == ()


def test_the_recent_stretch_ends_at_the_newest_event_of_the_type(bank: Path):
    with (bank / "events.yaml").open("a", encoding="utf-8") as file:
        file.write("login: { id: id, time: at, fields: { id: text, at: time } }\n")
    more(bank)
    login = bank.parent / "login.jsonl"
    login.write_text('{"login": {"id": "l1", "at": "2026-04-20T00:00:00Z"}}\n', encoding="utf-8")
    app.open(bank).ingest(login)
    report = app.open(bank).health.drift()

    assert (report.recent.end_ms, report.recent.rows) == (report.as_of_ms, 7 * 150)


def test_what_moved_is_named_and_what_did_not_is_not(bank: Path):
    report = more(bank, times=4, channels=("web", "post")).health.drift()

    assert moved(report) == {"payment.amount", "payment.channel", SCORE}
    by_name = {item.name: item for item in report.found}
    assert by_name["payment.channel"].unseen == pytest.approx(0.5, abs=0.06), "half of them are by post"
    assert report.found[0].has_moved, "the farthest comes first"
    [finding] = doctor_says(bank)
    assert finding.state == NOTE
    assert "payment.channel" in finding.words
    assert "card.payments_1d" not in finding.words


def test_the_score_is_held_against_events_that_the_model_had_not_learnt_from(bank: Path):
    by_name = {item.name: item for item in more(bank).health.drift().found}

    assert by_name[SCORE].reference_rows == 150, "the day between what was learnt and the recent week"
    assert by_name["payment.amount"].reference_rows == 8 * 150


def test_without_such_events_the_score_is_left_out_and_that_is_said(bank: Path):
    report = more(bank, days=1).health.drift(recent="2d")

    assert SCORE not in {item.name for item in report.found}
    assert any("score is not compared: 0 events are between" in words for words in report.remarks)


def test_label_delay_goes_by_when_labels_became_known(bank: Path):
    project = more(bank, days=1)
    events = [
        {
            "payment": {
                "id": f"q{place}",
                "at": f"2026-03-17T0{place // 60}:{place % 60:02d}:00Z",
                "card": "c1",
                "amount": "9.00",
                "channel": "web",
            }
        }
        for place in range(200)
    ]
    late = bank.parent / "late.jsonl"
    late.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    project.ingest(late)
    labels = bank.parent / "labels.csv"
    labels.write_text(
        "event,verdict,source,known_at\n"
        + "".join(
            f"payment/q{place},genuine,analyst,2026-03-24T{place // 60:02d}:{place % 60:02d}:00Z\n"
            for place in range(200)
        ),
        encoding="utf-8",
    )
    project.labelling.add_file(labels)
    report = project.health.drift(recent="7d3h", reference="14d", as_of="2026-03-24T04:00:00Z")

    assert LABEL_DELAY in moved(report)
    before, now = report.label_delay_days
    assert before is not None
    assert now is not None
    assert before < 1
    assert 6 < now < 8


def test_an_alert_is_raised_once_goes_on_and_ends(bank: Path):
    more(bank)
    more(bank, first=23, times=4).health.drift()
    more(bank, first=30, days=1, times=4, channels=("post",)).health.drift()
    [alert] = recorded(bank).alerts
    assert not alert.until
    assert {"payment.amount", "payment.channel"} <= set(alert.moved)

    almost_nothing = more(bank, first=31, days=8).health.drift(recent="1ms")
    assert almost_nothing.unclear == almost_nothing.found
    assert recorded(bank).alerts == (alert,)
    assert "too few events to judge" in doctor_says(bank)[0].words

    app.open(bank).health.drift()
    [ended] = recorded(bank).alerts
    assert ended.id == alert.id
    assert ended.until
    assert [say.state for say in doctor_says(bank)] == [OK]

    more(bank, first=39, days=8, times=4).health.drift()
    first, second = recorded(bank).alerts
    assert first == ended
    assert second.id != ended.id


def test_a_look_back_changes_nothing_that_is_kept(bank: Path):
    project = more(bank, times=4)
    project.health.drift()
    before = recorded(bank)
    assert moved(project.health.drift(as_of="2026-03-15", reference="10d", recent="2d")) == set()

    assert recorded(bank) == before


def test_a_look_ahead_keeps_no_later_one_out(bank: Path):
    more(bank).health.drift(as_of="2026-04-20", recent="35d", reference="10d")
    more(bank, first=23, times=4).health.drift()

    assert recorded(bank).open_alert("payment") is not None


def test_an_input_that_was_declared_anew_is_named(bank: Path, capsys: pytest.CaptureFixture[str]):
    more(bank)
    assert app.open(bank).health.drift().redefined == ()
    (bank / "features.yaml").write_text("card: { payments_1d: count(payment) over 2d }\n", encoding="utf-8")

    assert run(["-C", str(bank), "drift", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["redefined"] == ["card.payments_1d"]
    assert run(["-C", str(bank), "drift"]) == 0
    said = capsys.readouterr().out
    assert "reads card.payments_1d, which means something else now than when it was trained: both periods" in said


def test_without_a_model_the_inputs_of_model_yaml_are_compared(tmp_path: Path):
    project = app.open(make_project(tmp_path / "bank"))
    project.ingest(write_days(tmp_path / "days.jsonl", range(10)))
    with pytest.raises(UsageError, match=r"no active model can be loaded.*--reference"):
        project.health.drift()
    report = project.health.drift(reference="5d", recent="4d")

    assert report.model == ""
    assert {item.name for item in report.found} == {
        "payment.amount",
        "payment.channel",
        "card.payments_1d",
        LABEL_DELAY,
    }
    assert any("score" in words for words in report.remarks)


def test_without_model_yaml_all_features_are_compared(tmp_path: Path):
    folder = make_project(tmp_path / "bank")
    (folder / "model.yaml").unlink()
    project = app.open(folder)
    project.ingest(write_days(tmp_path / "days.jsonl", range(10)))

    assert {item.name for item in project.health.drift(reference="5d", recent="4d").found} == {
        "card.payments_1d",
        LABEL_DELAY,
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reference": "soon"}, "reference: 'soon' is not a duration"),
        ({"recent": "0s"}, "recent: the duration must be above zero"),
        ({"as_of": "2027-01-01"}, "the recent period, .* has no payment events"),
        ({"reference": "5d", "as_of": "2026-03-03"}, "the reference, .* has no payment events"),
        ({"event": "paymant"}, "payment"),
        ({"as_of": "2026-03-08"}, "has no training data before the recent period"),
    ],
)
def test_what_cannot_be_compared_is_said(bank: Path, options: dict[str, str], words: str):
    with pytest.raises(UsageError, match=words):
        app.open(bank).health.drift(**options)


def test_a_log_without_events_has_no_drift(tmp_path: Path):
    project = app.open(make_project(tmp_path / "bank"))
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", encoding="utf-8")
    project.ingest(empty)

    with pytest.raises(UsageError, match="no events yet"):
        project.health.drift(reference="5d")


def test_a_damaged_record_is_named_and_keeps_nobody_from_looking(bank: Path):
    project = more(bank)
    project.health.drift()
    with closing(sqlite3.connect(bank / ".shroff" / "log.db")) as log, log:
        log.execute("UPDATE documents SET body = '{' WHERE kind = 'drift'")

    assert [say.state for say in doctor_says(bank)] == [WRONG]
    assert project.health.drift().event == "payment"
    assert "delete this row of the table documents" in project.warnings[0]


def test_a_busy_database_loses_no_report(bank: Path, monkeypatch: pytest.MonkeyPatch):
    def busy(*_: object) -> None:
        raise LogBusyError("the database is busy")

    project = more(bank)
    monkeypatch.setattr(DriftRecords, "add", busy)

    assert project.health.drift().event == "payment"
    assert project.warnings == ["the result is not stored: the database is busy"]


def test_the_command_answers_with_a_table_json_and_its_status(bank: Path, capsys: pytest.CaptureFixture[str]):
    more(bank, times=4)

    assert run(["-C", str(bank), "drift"]) == 0
    assert "moved" in capsys.readouterr().out
    assert run(["-C", str(bank), "drift", "--fail", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert set(found["moved"]) == {"payment.amount", SCORE}
    assert found["inputs"][0]["psi"] >= found["limit"]
    assert (
        run(["-C", str(bank), "drift", "--fail", "--as-of", "2026-03-16", "--reference", "10d", "--recent", "2d"]) == 0
    )


def test_drift_is_read_beside_a_writer(bank: Path):
    project = more(bank)
    with project.log.writing():
        assert app.open(bank).health.drift().recent.rows
