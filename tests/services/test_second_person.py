"""Nobody approves a change of their own, whatever else happens to the notes of who wrote it."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest

from shroff.errors import LogBusyError, NotAllowedError, UsageError
from shroff.people.access import RIGHTS, Role, Who
from shroff.services import project as app
from shroff.services.approvals.agreements import Agreements, Author, PendingApproval
from shroff.services.documents import Documents
from shroff.services.drafts import draft_files
from shroff.services.people.project_people import ProjectPeople
from shroff.services.project import Project

TEXT = "- { id: dear, on: payment, by: card, when: this.amount > 500, effect: review }\n"
NOW_MS = int(time.time() * 1_000)
ANN, BEN = Author("u-1", "ann"), Author("u-2", "ben")


def acting(project: Project, person: Author) -> Project:
    return project.acting_as(Who("user", person.id, person.name, Role.ADMIN, RIGHTS[Role.ADMIN]))


@pytest.fixture
def bank(tmp_path: Path) -> Project:
    folder = tmp_path / "bank"
    app.make_project(folder, "payments")
    with (folder / "shroff.yaml").open("a") as file:
        file.write("\nsecond_person: [rules, lists]\n")
    project = app.open_exactly(folder)
    project.outside.prepare_state()
    project.log.open(read_only=False).close()
    return project


@pytest.fixture
def other_machine(bank: Project, tmp_path: Path) -> Project:
    """The same project on another machine: one database, and a folder of its own."""
    folder = tmp_path / "other"
    shutil.copytree(tmp_path / "bank", folder, ignore=shutil.ignore_patterns(".shroff"))
    (folder / ".shroff").symlink_to(tmp_path / "bank" / ".shroff")
    return app.open_exactly(folder)


def test_a_draft_of_the_same_rule_on_another_machine_lets_no_author_approve_their_own(bank, other_machine):
    draft = bank.drafts.write("dear", TEXT, "", [ANN])
    other = other_machine.drafts.write("dear", TEXT.replace("500", "700"), "", [BEN])

    assert other.note.authors == [ANN, BEN]
    with pytest.raises(NotAllowedError, match="nobody knows who wrote a draft; save it again first"):
        acting(bank, ANN).drafts.approve("dear", draft.tag)
    other_machine.drafts.drop("dear", other.tag)
    with pytest.raises(NotAllowedError, match="nobody knows who wrote a draft"):
        acting(bank, ANN).drafts.approve("dear", draft.tag)


def test_a_draft_of_unknown_authors_is_approved_once_it_is_saved_again(bank):
    draft = bank.drafts.write("dear", TEXT, "", [ANN])
    with bank.part(Documents).edit(draft_files.KIND, draft_files.Note) as notes:
        notes.clear()  # as in a database restored from before the draft
    with pytest.raises(NotAllowedError, match="nobody knows who wrote a draft"):
        acting(bank, ANN).drafts.approve("dear", draft.tag)
    saved = bank.drafts.write("dear", TEXT, draft.tag, [ANN])

    with pytest.raises(NotAllowedError, match="ann is among the authors"):
        acting(bank, ANN).drafts.approve("dear", saved.tag)
    assert acting(bank, BEN).drafts.approve("dear", saved.tag).is_approved


def test_a_draft_that_was_changed_by_hand_has_no_known_author(bank, tmp_path):
    bank.drafts.write("dear", TEXT, "", [ANN])
    (tmp_path / "bank/drafts/dear.yaml").write_text(TEXT.replace("500", "5"))
    changed = bank.drafts.one("dear")

    assert not changed.note.authors
    with pytest.raises(NotAllowedError, match="nobody knows who wrote a draft"):
        acting(bank, BEN).drafts.approve("dear", changed.tag)


def test_of_two_first_requests_at_once_one_approves_the_other(bank, monkeypatch):
    both_have_read = Barrier(2)
    asked = Agreements.asked

    def asked_by_both(self: Agreements, subject: str) -> list[PendingApproval]:
        found = asked(self, subject)
        with suppress(BrokenBarrierError):  # one at a time, as it should be: the other does not come
            both_have_read.wait(0.5)
        return found

    def agrees(person: Author) -> bool:
        return acting(bank, person).agreements.agrees("lists x", {"put": []}, "nothing")

    monkeypatch.setattr(Agreements, "asked", asked_by_both)
    with ThreadPoolExecutor() as threads:
        assert sorted(threads.map(agrees, [ANN, BEN])) == [False, True]


def test_a_request_that_another_machine_stores_meanwhile_keeps_its_author(bank, monkeypatch):
    ben = bank.agreements
    record = ProjectPeople.record

    def recorded_while_ben_asks(self: ProjectPeople, *entry: Any) -> None:
        ben.put(PendingApproval("lists x", {"put": []}, "nothing", [BEN], NOW_MS))
        record(self, *entry)

    monkeypatch.setattr(ProjectPeople, "record", recorded_while_ben_asks)
    assert not acting(bank, ANN).agreements.agrees("lists x", {"put": []}, "nothing")

    (waiting,) = bank.agreements.all()
    assert waiting.authors == [BEN, ANN]


def test_an_approved_change_that_fails_says_why_even_if_the_request_cannot_be_restored(bank, monkeypatch):
    def busy(*_: object) -> None:
        raise LogBusyError("the database is busy")

    acting(bank, ANN).agreements.agrees("lists x", {"put": []}, "nothing")
    monkeypatch.setattr(Agreements, "put", busy)
    with pytest.raises(UsageError, match="no such list"), bank.agreements.approved("lists x", {"put": []}):
        raise UsageError("no such list")
