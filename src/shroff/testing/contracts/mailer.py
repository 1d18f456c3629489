"""The contract of mailers, as tests: a mail arrives unchanged, and a repeated one has the same id."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from shroff.errors import TransientError
from shroff.notices.mailer import Mail, Mailer
from shroff.notices.texts.mails import RenderedText, mail_of
from shroff.runtime.values import replace
from shroff.testing.contracts.promises import Contract, promise

PASSWORD = "not-to-be-seen"  # noqa: S105 - which an adapter puts into the address of `away`, where it has one
TEXT = "Grüße,\n.\n..\nFrom here on: 389.90 EUR\n" + 300 * "x" + "\n"


def mail(id: str = "m-1", *recipients: str) -> Mail:
    """Return a mail that is hard to transmit, with single dots on a line, long lines and letters beyond ASCII."""
    written = RenderedText(f"Was this you? {id}", TEXT, "<p>Grüße</p>\n")
    return mail_of(
        written,
        id=id,
        sender="Bank <notices@bank.example>",
        recipients=recipients or ("ann@customers.example",),
        made_ms=1_780_000_000_000,
    )


class MailerContract(Contract):
    """The contract of mailers. A subclass implements the abstract methods, for a new mailbox in each test."""

    @abstractmethod
    def made(self, place: str) -> Mailer:
        """Return a mailer that delivers to this mailbox."""

    @abstractmethod
    def arrived(self, place: str) -> list[bytes]:
        """Return the bytes of all mails in a mailbox, in order of arrival."""

    @abstractmethod
    def away(self, place: str) -> AbstractContextManager[Mailer]:
        """Return a mailer whose server is away until the block ends, with `PASSWORD` in its URL if URLs have one."""

    def test_a_mail_arrives_with_its_headers_and_both_texts(self, place: str) -> None:
        mailer = self.made(place)
        assert not mailer.send(mail())
        mailer.close()

        (found,) = [_read(mail) for mail in self.arrived(place)]
        plain, html = (found.get_body((kind,)) for kind in ("plain", "html"))
        assert str(found["Subject"]) == "Was this you? m-1"
        assert str(found["From"]) == "Bank <notices@bank.example>"
        assert str(found["To"]) == "ann@customers.example"
        assert plain is not None
        assert plain.get_content().replace("\r\n", "\n") == TEXT
        assert html is not None
        assert html.get_content().strip() == "<p>Grüße</p>"

    def test_the_same_mail_again_has_the_same_id(self, place: str) -> None:
        mailer = self.made(place)
        for _ in range(2):
            assert not mailer.send(mail("m-7"))
        mailer.close()

        assert set(self._ids(place)) == {"<m-7@bank.example>"}

    def test_many_mails_each_arrive_once(self, place: str) -> None:
        mailer = self.made(place)
        for number in range(120):
            assert not mailer.send(mail(f"m-{number}"))
        mailer.close()

        ids = self._ids(place)
        assert sorted(ids) == sorted(f"<m-{number}@bank.example>" for number in range(120))

    def test_several_recipients_are_one_mail(self, place: str) -> None:
        mailer = self.made(place)
        assert not mailer.send(mail("m-1", "ann@bank.example", "bob@bank.example"))
        mailer.close()

        (found,) = [_read(mail) for mail in self.arrived(place)]
        assert str(found["To"]) == "ann@bank.example, bob@bank.example"

    @promise("knows who is refused")
    def test_a_recipient_that_is_refused_is_named_and_the_others_have_the_mail(self, place: str) -> None:
        mailer = self.made(place)
        refused = mailer.send(mail("m-1", "ann@bank.example", "nobody-here@bank.example"))
        mailer.close()

        assert [recipient.address for recipient in refused] == ["nobody-here@bank.example"]
        assert len(self.arrived(place)) == 1

    @promise("knows who is refused")
    def test_a_mail_that_nobody_takes_is_refused_and_the_next_one_leaves(self, place: str) -> None:
        mailer = self.made(place)
        refused = mailer.send(mail("m-1", "nobody-here@bank.example"))
        assert [recipient.address for recipient in refused] == ["nobody-here@bank.example"]
        assert not mailer.send(mail("m-2"))
        mailer.close()

        assert self._ids(place) == ["<m-2@bank.example>"]

    @promise("knows who is refused")
    def test_a_recipient_that_may_be_taken_later_has_the_whole_mail_come_again(self, place: str) -> None:
        mailer = self.made(place)
        with pytest.raises(TransientError):
            mailer.send(mail("m-1", "ann@bank.example", "later@bank.example"))
        assert not mailer.send(mail("m-2"))
        mailer.close()

        assert self._ids(place) == ["<m-2@bank.example>"]

    @promise("knows who is refused")
    def test_a_mail_that_may_part_waits_for_nobody(self, place: str) -> None:
        mailer = self.made(place)
        left_out = mailer.send(replace(mail("m-1", "ann@bank.example", "later@bank.example"), may_part=True))
        with pytest.raises(TransientError):
            mailer.send(replace(mail("m-2", "later@bank.example"), may_part=True))
        mailer.close()

        assert [recipient.address for recipient in left_out] == ["later@bank.example"]
        assert self._ids(place) == ["<m-1@bank.example>"]

    def test_a_mailer_that_reaches_nobody_says_so_without_its_password(self, place: str) -> None:
        with self.away(place) as mailer:
            with pytest.raises(TransientError) as raised:
                mailer.send(mail())
            mailer.close()

        assert PASSWORD not in str(raised.value)

    def test_closing_twice_does_nothing(self, place: str) -> None:
        mailer = self.made(place)
        mailer.send(mail())
        mailer.close()
        mailer.close()

        assert len(self.arrived(place)) == 1

    def _ids(self, place: str) -> list[str]:
        return [str(_read(mail)["Message-ID"]) for mail in self.arrived(place)]


def _read(data: bytes) -> EmailMessage:
    return message_from_bytes(data, policy=SMTP)
