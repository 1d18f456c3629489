"""What is asked of the log by commands and programs is in the record, in the transaction that asks it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shroff.cli.main import run
from shroff.errors import LogBusyError, StorageError, UsageError
from shroff.models.registry import Registry
from shroff.people.access import RIGHTS, Role, Who
from shroff.people.audit import AuditEntry
from shroff.people.audit_operations import VerifyAudit
from shroff.people.store import rows_of
from shroff.project.lists import Entry
from shroff.runtime.process_wide import user_name
from shroff.services import project as app
from shroff.services.approvals.agreements import Author
from shroff.services.project import Project
from shroff.worker import inbox
from tests.services.test_models_in_force import POLICY
from tests.services.test_personal import EVENTS, FILES, ROWS
from tests.support.patience import SleptClock
from tests.support.trained import train


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "bank"
    for name, text in (FILES | {"events.yaml": EVENTS}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    found = app.open(folder)
    found.decide(ROWS, as_type="payment")
    return found


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    """A project with a list."""
    made, _ = app.make_project(tmp_path / "shop", "payments")
    return made


def record(project: Project) -> list[AuditEntry]:
    with project.people.open() as desk:
        return list(rows_of(desk.store))


def told(project: Project) -> list[tuple[str, str, str, object]]:
    return [(row.via, row.action, row.subject, json.loads(row.after)) for row in record(project)]


def waiting(project: Project) -> list[str]:
    with project.log.reading() as log:
        return [request.kind for request in log.inbox.pending()]


def test_a_label_is_recorded_by_the_way_it_came(project, capsys):
    project.label("payment/p0", "fraud", source="chargeback")
    assert run(["-C", str(project.context.paths.folder), "label", "payment/p1", "genuine"]) == 0

    assert told(project) == [
        ("program", "label.add", "payment/p0", {"verdict": "fraud", "source": "chargeback"}),
        ("command", "label.add", "payment/p1", {"verdict": "genuine", "source": "import"}),
    ]
    assert {row.who for row in record(project)} == {f"os-{user_name()}"}


def test_a_file_of_labels_is_one_row(project, tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text(
        "event,verdict,source,known_at\n"
        + "".join(f"payment/p{n},fraud,import,2026-04-01T00:00:00Z\n" for n in range(3))
    )
    project.labelling.add_file(file)
    counts = {"read": 3, "appended": 3, "pending": 0, "duplicates": 0, "quarantined": 0, "late": 0}

    assert told(project) == [("program", "label.file", "file labels.csv", counts)]


def test_labels_of_which_none_is_taken_are_not_recorded_as_if_they_were(project, tmp_path):
    file, folder = tmp_path / "labels.csv", str(project.context.paths.folder)
    file.write_text("event,verdict,known_at\npayment/p0,Betrug,2026-04-01T00:00:00Z\n")
    with pytest.raises(UsageError, match="no line with a verdict"):
        project.labelling.add_file(file)
    assert project.labelling.add_rows([{"event": "payment/p0", "verdict": "x"}], "rows").labels.quarantined == 1
    with pytest.raises(UsageError, match="the label was refused"):
        project.label("payment/p0", "Betrug")
    file.write_text("a,b\n1,2\n")
    assert run(["-C", folder, "label", str(file)]) == 2

    assert told(project) == []


def test_labels_that_were_taken_before_their_rows_broke_off_are_recorded(project, monkeypatch):
    monkeypatch.setattr("shroff.worker.inbox.ROWS_MAX", 1)

    def rows():
        yield {"event": "payment/p0", "verdict": "fraud", "known_at": "2026-04-01T00:00:00Z"}
        raise OSError("the share went away")

    with pytest.raises(OSError, match="the share"):
        project.labelling.add_rows(rows(), "rows")
    assert told(project) == [("program", "label.file", "file rows", None)]


def test_quarantine_and_outbox_are_recorded(project):
    project.decide([ROWS[0] | {"id": "bad", "amount": "x"}, ROWS[0] | {"id": "bad2", "amount": "y"}], as_type="payment")
    project.quarantine.retry([1])
    project.quarantine.drop([1])
    project.quarantine.drop([])
    project.sinks.retry()

    assert told(project) == [
        ("program", "quarantine.retry", "quarantine", [1]),
        ("program", "quarantine.drop", "quarantine", [1]),
        ("program", "quarantine.drop", "quarantine", "all"),
        ("program", "outbox.retry", "outbox", {"rows": 0}),
    ]


def test_erasing_is_recorded_without_whom(project):
    assert project.erasing.erase("card", "4111111111110", is_dry=True).erased == 2
    assert project.erasing.erase("card", "4111111111110").erased == 2
    ((via, action, subject, after),) = told(project)

    assert (via, action, after) == ("program", "personal.erase", {"events": 2})
    assert subject.startswith("card hashed:")
    assert "1110" not in subject
    assert "411111" not in str(record(project))


def test_a_list_is_recorded_once_there_is_a_log(shop):
    shop.lists.add("blocked_cards", Entry("c-1", "", "", ""))
    assert not shop.log.exists()
    example = json.loads((shop.context.paths.folder / "examples" / "payment.json").read_text())
    shop.decide([example], as_type="payment")
    shop.lists.add("blocked_cards", Entry("c-2", "stolen", "", ""))
    shop.lists.add("blocked_cards", Entry("c-2", "stolen", "", ""))
    shop.lists.remove("blocked_cards", "c-2")

    entry = {"value": "c-2", "note": "stolen", "added_by": "", "expires_at": ""}
    assert told(shop) == [
        ("program", "list.change", "list blocked_cards", [entry]),
        ("program", "list.change", "list blocked_cards", None),
    ]
    assert [json.loads(row.before or "null") for row in record(shop)] == [None, [entry]]


def unrecordable(project: Project) -> None:
    """From now on nothing can be recorded: the head of the record is gone."""
    with closing(sqlite3.connect(project.context.paths.log)) as shell:
        shell.execute("DELETE FROM audit_head")
        shell.commit()


def files_of(project: Project) -> dict[str, str]:
    """The project's files by their names, but for what lies beside them."""
    whole = [path for path in project.context.paths.folder.rglob("*") if path.is_file() and ".shroff" not in path.parts]
    return {
        str(path.relative_to(project.context.paths.folder)): path.read_text() for path in whole if path.suffix != ".ubj"
    }


def test_a_list_that_cannot_be_recorded_is_not_changed(shop):
    example = json.loads((shop.context.paths.folder / "examples" / "payment.json").read_text())
    shop.decide([example], as_type="payment")
    shop.lists.add("blocked_cards", Entry("c-1", "", "", ""))
    before = files_of(shop)
    unrecordable(shop)
    for change in (
        lambda: shop.lists.add("blocked_cards", Entry("c-2", "", "", "")),
        lambda: shop.lists.remove("blocked_cards", "c-1"),
    ):
        with pytest.raises(StorageError, match="No action is possible"):
            change()

    assert files_of(shop) == before


def test_a_request_that_waits_is_there_with_its_row(project, monkeypatch):
    monkeypatch.setattr(inbox, "time", SleptClock())
    monkeypatch.setattr(inbox, "PATIENCE_S", 0.2)
    with closing(project.log.open(read_only=False)), pytest.raises(LogBusyError, match="queued for the active writer"):
        project.label("payment/p0", "fraud")

    assert waiting(project) == ["labels"]
    assert [action for _, action, _, _ in told(project)] == ["label.add"]


def test_what_cannot_be_recorded_is_not_asked(project):
    project.label("payment/p0", "fraud")
    unrecordable(project)
    with pytest.raises(StorageError, match="No action is possible"):
        project.label("payment/p1", "fraud")

    assert waiting(project) == []
    assert len(project.labels()) == 1


def test_what_is_no_request_at_all_leaves_no_row(project):
    with pytest.raises(UsageError):
        project.quarantine.drop(["one"])
    with pytest.raises(UsageError):
        project.erasing.erase("nobody", "x")
    project.retention.snapshot()

    assert told(project) == []


def test_the_record_of_a_project_is_whole_with_all_of_that(project):
    project.label("payment/p0", "fraud")
    project.quarantine.drop([])

    assert project.run(VerifyAudit()).rows == 2
    assert project.run(VerifyAudit()).ok
    assert project.verify().mismatches == 0


@pytest.fixture
def modelled(tmp_path: Path) -> Project:
    """A project with two models, of which none is in force."""
    folder = tmp_path / "small"
    for name, text in {**FILES, "policy.yaml": POLICY}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for number in (1, 2):
        train(Registry(folder / "models"), f"m-{number}", seed=number)
    found = app.open(folder)
    found.decide([{"id": "p1", "at": "2026-03-01T12:00:00Z", "card": "c1", "amount": "5.00"}], as_type="payment")
    return found


def test_models_and_cut_offs_that_cannot_be_recorded_are_not_in_force(modelled):
    modelled.models.promote("m-1", by="ann")
    before = files_of(modelled)
    unrecordable(modelled)
    for change in (
        lambda: modelled.models.promote("m-2", by="ann"),
        lambda: modelled.models.rollback("payment"),
        lambda: modelled.models.shadow("m-2"),
        lambda: modelled.models.challenge("m-2", 0.1, "card"),
        lambda: modelled.cutoffs.write("payment", (0.4, 0.8)),
    ):
        with pytest.raises(StorageError, match="No action is possible"):
            change()

    assert files_of(modelled) == before


def test_models_that_come_into_force_and_leave_it_are_recorded(modelled):
    found = modelled
    found.models.promote("m-1")
    found.models.rollback("payment", by="ben")
    found.models.shadow("m-2", by="cara")

    assert [(row.action, row.subject, row.before, json.loads(row.after)) for row in record(found)] == [
        ("model.change", "model m-1", '{"champion":""}', {"champion": "m-1", "what": "promoted"}),
        ("model.change", "model m-1", '{"champion":"m-1"}', {"champion": "", "what": "rolled back", "by": "ben"}),
        ("model.change", "model m-2", '{"champion":""}', {"champion": "", "what": "in shadow", "by": "cara"}),
    ]


def test_a_draft_that_cannot_be_recorded_is_neither_kept_nor_approved(project):
    def away(*_: str) -> None:
        raise StorageError("nothing can be recorded")

    text = "- { id: dear, on: payment, by: card, when: this.amount > 500, effect: review }\n"
    ann, ben = Author("user-1", "ann"), Who("user", "user-2", "ben", Role.ADMIN, RIGHTS[Role.ADMIN])
    with pytest.raises(StorageError, match="nothing can be recorded"):
        project.drafts.write("dear", text, "", [ann], away)
    assert project.drafts.one("dear") is None
    kept = project.drafts.write("dear", text, "", [ann])
    with pytest.raises(StorageError, match="nothing can be recorded"):
        project.acting_as(ben).drafts.approve("dear", kept.tag, away)

    found = project.drafts.one("dear")
    assert found is not None
    assert not found.is_approved
