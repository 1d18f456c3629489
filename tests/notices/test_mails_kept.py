"""What lies in the mailbox: for how long, and what goes when somebody is forgotten."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import closing
from itertools import product
from pathlib import Path

import msgspec
import pytest

from shroff.adapters.mailer.folder import FolderMailer
from shroff.cli.main import run
from shroff.language.values import DAY_MS
from shroff.notices.mailer import Mail, Unmailed
from shroff.notices.store import NO_ONE, SENT, Due
from shroff.people.store import AuditFilter
from tests.support.telling import FILES, Bank, payment


def mailed(tmp_path: Path, *cards: str) -> tuple[Bank, list[Path]]:
    """A bank whose customers' mails lie in the mailbox, and the files in the order of these cards."""
    bank = Bank(tmp_path)
    bank.services.open_mailer = bank.project.letters.open_mailer
    files: list[Path] = []
    for number, card in enumerate(cards):
        bank.pay(payment(f"p-{number}", card=card, email=f"{card}@customers.example"))
        bank.tell()
        files += set(bank.project.context.paths.mail.glob("*.eml")) - set(files)
    return bank, files


def test_erasing_removes_the_mails_of_a_customer_and_who_was_asked(tmp_path):
    bank, (hers, his) = mailed(tmp_path, "c-1", "c-2")
    token = re.search(r"/confirm/([A-Za-z0-9_-]+)", hers.read_text().replace("=\n", ""))
    bank.project.notices.test("customer", "me@bank.example", "payment/p-0")
    assert "c-1@customers.example" in hers.read_text()
    dry = bank.project.erasing.erase("card", "c-1", is_dry=True)
    assert (hers.exists(), dry.mails, dry.letters) == (True, 2, 1)
    found = bank.project.erasing.erase("card", "c-1")

    assert (found.mails, found.letters) == (2, 1), "her mail and a test, of which nobody knows whom it shows"
    assert [path.name for path in bank.project.context.paths.mail.iterdir()] == [his.name]
    assert {(letter.who == NO_ONE, letter.shown == "") for letter in bank.letters()} == {(True, True), (False, False)}
    assert token is not None
    with closing(bank.project.notices.confirming()) as confirming:
        assert confirming.answer(token[1], "yes").kind == "forged"
    assert bank.project.erasing.erase("card", "c-1").mails == 0


class Erases(FolderMailer):
    """A mailbox that is slow: while a mail is on its way, whom it is for is forgotten."""

    def __init__(self, bank: Bank) -> None:
        super().__init__(bank.project.context.paths.mail)
        self.bank = bank

    def send(self, mail: Mail) -> Sequence[Unmailed]:
        self.bank.project.erasing.erase("card", "c-1")
        return super().send(mail)


def test_who_is_forgotten_while_a_mail_is_on_its_way_stays_forgotten(tmp_path):
    bank = Bank(tmp_path)
    bank.services.open_mailer = lambda: Erases(bank)
    bank.pay(payment("p-1"))
    bank.tell()

    assert list(bank.project.context.paths.mail.glob("*.eml")) == []
    assert [(letter.state, letter.who == NO_ONE, letter.shown) for letter in bank.letters()] == [(SENT, True, "")]


def test_what_is_erased_of_mails_is_told_and_recorded_without_whom(tmp_path, capsys):
    bank, _ = mailed(tmp_path, "c-1")
    assert run(["-C", str(tmp_path), "erase", "card", "c-1"]) == 0
    assert "1 mail in the mailbox and the recipients of 1 letter: removed." in capsys.readouterr().out
    with bank.project.people.open() as desk, desk.store.look() as look:
        (row,) = look.record(AuditFilter(action="mail.erase"))

    assert row.after == '{"letters":1,"mails":1}'
    assert "c-1" not in row.subject


def test_erasing_takes_the_words_of_an_escalation_and_of_a_mail_server_and_leaves_those_of_rules(tmp_path):
    bank, _ = mailed(tmp_path, "c-1", "c-2")
    told = {"user": {"case": 1, "user": "user-1"}, "of": {"of": "customer"}, "rule": {"case": 1}}
    with bank.project.notice_files.told() as store:
        with store.change() as change:
            for number, (key, more) in product(range(2), told.items()):
                words = msgspec.json.encode(more | {"words": f"to c-{number}@customers.example"}).decode()
                change.add_due(Due(f"team/{key}-{number}", "team", "case", f"payment/p-{number}", "", words, 1, 1))
        bank.project.erasing.erase("card", "c-1")
        with store.look() as look:
            dues = look.dues_of([f"team/{key}-{number}" for number, key in product(range(2), told)])

    assert {key for key, due in dues.items() if '"words":""' in due.told} == {"team/user-0", "team/of-0"}


@pytest.mark.parametrize(("keep", "left"), [("", 29 * DAY_MS), ("keep: 2d, ", 1 * DAY_MS)])
def test_mails_that_are_files_are_removed_when_their_time_is_over(tmp_path, keep, left):
    bank, (file,) = mailed(tmp_path, "c-1")
    bank.write({"shroff.yaml": FILES["shroff.yaml"].replace("mail: { ", f"mail: {{ {keep}")})
    written_s = bank.clock_ms // 1_000
    os.utime(file, (written_s, written_s))
    bank.tell(later_ms=left)
    assert file.exists()
    bank.tell(later_ms=DAY_MS + 1_000)

    assert not file.exists()


def test_mails_are_kept_for_no_longer_than_it_is_known_of_whom_they_are(tmp_path):
    changed = FILES["shroff.yaml"].replace("mail: { ", "mail: { keep: 91d, ")
    bank = Bank(tmp_path, {"shroff.yaml": changed})

    assert any("at most 90d" in error.message for error in bank.project.check().errors)
