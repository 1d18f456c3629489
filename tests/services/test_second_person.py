"""Nobody approves a change of their own, whatever else happens to the notes of who wrote it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shroff.errors import NotAllowedError
from shroff.people.access import RIGHTS, Role, Who
from shroff.services import project as app
from shroff.services.approvals.agreements import Author
from shroff.services.documents import Documents
from shroff.services.drafts import draft_files
from shroff.services.project import Project

TEXT = "- { id: dear, on: payment, by: card, when: this.amount > 500, effect: review }\n"
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
