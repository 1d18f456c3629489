"""Mailers held to their contract: a folder, and a real mail server in clear, by STARTTLS and by TLS from the start."""

from __future__ import annotations

import inspect
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

import pytest

from shroff.adapters.mailer.folder import FolderMailer
from shroff.adapters.mailer.smtp import SmtpMailer
from shroff.errors import TransientError, UsageError
from shroff.notices.mailer import DoubtError, Mail, Mailer, Unmailed
from shroff.streams.sink import AwayError
from shroff.testing.contracts.mailer import PASSWORD, MailerContract, mail
from tools.servers.mail import Mail as MailServer

TLS = ("--tlscert", "server.crt", "--tlskey", "server.key")
FROM_START = ("--smtpscert", "server.crt", "--smtpskey", "server.key")


SMOKE = (
    "test_a_mail_arrives_with_its_headers_and_both_texts",
    "test_a_mailer_that_reaches_nobody_says_so_without_its_password",
)


class TestFolderMailer(MailerContract):
    kind: type[FolderMailer] = FolderMailer
    unsupported: ClassVar[dict[str, str]] = {"knows who is refused": "a folder has no mailboxes, so it refuses nobody"}

    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        return str(tmp_path / "mail")

    def made(self, place: str) -> Mailer:
        return self.kind(Path(place))

    def arrived(self, place: str) -> list[bytes]:
        return [
            path.read_bytes() for path in sorted(Path(place).glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
        ]

    @contextmanager
    def away(self, place: str) -> Iterator[Mailer]:
        Path(place).write_text("a file where the folder should be", encoding="utf-8")
        yield self.kind(Path(place))


def test_a_mail_in_the_folder_is_there_once_and_only_for_its_owner(tmp_path):
    mailer = FolderMailer(tmp_path / "mail")
    for _ in range(2):
        assert not mailer.send(mail("m-7"))
    (found,) = (tmp_path / "mail").iterdir()

    assert found.suffix == ".eml"
    assert found.stat().st_mode & 0o077 == 0


# ---- a real server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server of the name `localhost`, which vouches for itself."""
    folder = tmp_path_factory.mktemp("certificates")
    new = "openssl req -newkey rsa:2048 -nodes -days 2 -x509 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*new.split(), *"-keyout server.key -out server.crt".split()], cwd=folder, check=True)
    return folder


def served(certificates: Path, options: Sequence[str]) -> MailServer:
    """A mail server with these options, the files among them from the folder of certificates."""

    class Secured(MailServer):
        more = tuple(str(certificates / option) if option.startswith("server.") else option for option in options)

    return Secured()


class SmtpContract(MailerContract):
    """A server for each test; by the address that `address` gives."""

    __test__ = False
    options: ClassVar[tuple[str, ...]] = ()  # of the server
    kind: type[SmtpMailer] = SmtpMailer

    @pytest.fixture
    def place(self, certificates: Path) -> Iterator[str]:
        with served(certificates, self.options) as server:
            self.server, self.ca = server, str(certificates / "server.crt")
            yield str(urlsplit(server.address).port)

    def made(self, place: str) -> Mailer:
        return self.kind({"smtp": f"smtp://localhost:{place}", "ca": self.ca, "timeout": "20s"})

    def arrived(self, place: str) -> list[bytes]:
        return self.server.arrived()

    @contextmanager
    def away(self, place: str) -> Iterator[Mailer]:
        self.server.children()[0].kill()
        yield self.kind({"smtp": f"smtp://shroff:{PASSWORD}@localhost:{place}", "ca": self.ca, "timeout": "20s"})


@pytest.mark.slow
class TestStarttls(SmtpContract):
    __test__ = True
    options: ClassVar[tuple[str, ...]] = TLS


@pytest.mark.slow
class TestTlsFromTheStart(SmtpContract):
    """In `make test` where the way to the server matters; by STARTTLS the whole contract is kept there."""

    __test__ = True
    smoke = SMOKE
    options: ClassVar[tuple[str, ...]] = FROM_START

    def made(self, place: str) -> Mailer:
        return self.kind({"smtp": f"smtps://localhost:{place}", "ca": self.ca, "timeout": "20s"})


@pytest.mark.slow
class TestInClear(SmtpContract):
    __test__ = True
    smoke = SMOKE

    def made(self, place: str) -> Mailer:
        return self.kind({"smtp": f"smtp://127.0.0.1:{place}", "security": "plain", "timeout": "20s"})


@pytest.mark.slow
def test_nothing_leaves_in_clear_unless_the_settings_say_so(certificates):
    with served(certificates, ()) as server, closing(SmtpMailer({"smtp": server.address})) as mailer:
        with pytest.raises(UsageError, match="STARTTLS"):
            mailer.send(mail())

        assert server.arrived() == []


@pytest.mark.slow
@pytest.mark.parametrize("options", [TLS, FROM_START], ids=["starttls", "smtps"])
def test_a_server_for_which_nobody_vouches_gets_no_mail_and_no_password(certificates, options):
    scheme = "smtps" if options is FROM_START else "smtp"
    with served(certificates, options) as server:
        port = urlsplit(server.address).port
        for host, ca in (("localhost", ""), ("127.0.0.1", str(certificates / "server.crt"))):
            with closing(SmtpMailer({"smtp": f"{scheme}://shroff:{PASSWORD}@{host}:{port}", "ca": ca})) as mailer:
                with pytest.raises(UsageError, match="cannot be trusted") as raised:
                    mailer.send(mail())
                assert PASSWORD not in str(raised.value)

        assert server.arrived() == []


# ---- servers that answer what they should not: each speaks from a script


class Scripted:
    """A server that answers each line by a function; nothing ends the connection."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        self._answer, self.lines = answer, list[str]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"smtp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._take, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _take(self) -> None:
        with suppress(OSError):
            while True:
                self._speak(self._listener.accept()[0])

    def _speak(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rw", encoding="latin-1", newline="\r\n") as file:
            file.write("220 here\r\n")
            file.flush()
            is_data = False
            for line in file:
                word = line.strip()
                if is_data and word != ".":
                    continue
                said = self._answer("." if is_data else word.partition(" ")[0].upper())
                is_data = said.startswith("354")
                self.lines.append(word)
                if not said:
                    return
                file.write(f"{said}\r\n")
                file.flush()


def answers(**more: str) -> Callable[[str], str]:
    """A server that takes everything, but for what is named: `end` is the end of the mail's bytes."""
    usual = {"DATA": "354 go on"} | more

    def answer(word: str) -> str:
        return usual.get("end" if word == "." else word, "250 OK")

    return answer


def test_a_connection_that_ends_before_the_answer_leaves_doubt():
    with (
        Scripted(answers(end="")) as server,
        closing(SmtpMailer({"smtp": server.url, "security": "plain"})) as mailer,
        pytest.raises(DoubtError),
    ):
        mailer.send(mail())


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"MAIL": "421 closing"}, AwayError),
        ({"MAIL": "451 busy"}, TransientError),
        ({"DATA": "451 busy"}, TransientError),
        ({"end": "452 full"}, TransientError),
        ({"end": "421 closing"}, AwayError),
        ({"RCPT": ""}, AwayError),
        ({"DATA": ""}, DoubtError),
    ],
)
def test_what_may_be_taken_later_is_no_refusal(said, error):
    with Scripted(answers(**said)) as server, closing(SmtpMailer({"smtp": server.url, "security": "plain"})) as mailer:
        with pytest.raises(error) as raised:
            mailer.send(mail())
        assert type(raised.value) is error


@pytest.mark.parametrize("where", ["RCPT", "DATA", "end"])
def test_what_is_refused_for_good_says_why(where):
    refusing = answers(**{where: "554 5.7.1 we\x07 take none"})
    with Scripted(refusing) as server, closing(SmtpMailer({"smtp": server.url, "security": "plain"})) as mailer:
        (refused,) = mailer.send(mail())

    assert refused == Unmailed("ann@customers.example", f"{server.url} answered 554 5.7.1 we take none")


@pytest.mark.parametrize(
    "said",
    [
        {"MAIL": "530 5.7.0 authentication required"},
        {"MAIL": "550 5.1.0 sender rejected"},
        {"RCPT": "530 5.7.0 authentication required"},
    ],
)
def test_an_account_that_is_refused_is_for_people_to_mend_and_judges_no_mail(said):
    with (
        Scripted(answers(**said)) as server,
        closing(SmtpMailer({"smtp": server.url, "security": "plain"})) as mailer,
        pytest.raises(UsageError, match=f"answered {''.join(said.values())}"),
    ):
        mailer.send(mail())


def test_a_password_that_is_wrong_is_for_people_to_mend_and_is_not_shown():
    greeting = answers(EHLO="250-here\r\n250 AUTH PLAIN", AUTH="535 5.7.8 no")
    with Scripted(greeting) as server:
        address = server.url.replace("//", f"//shroff:{PASSWORD}@")
        with closing(SmtpMailer({"smtp": address, "security": "plain"})) as mailer, pytest.raises(UsageError) as raised:
            mailer.send(mail())

    assert "rejects this user or password" in str(raised.value)
    assert PASSWORD not in f"{raised.value}{mailer!r}"


def test_a_connection_that_the_server_let_go_of_is_made_anew():
    with Scripted(answers(NOOP="")) as server, closing(SmtpMailer({"smtp": server.url, "security": "plain"})) as mailer:
        for number in range(3):
            assert not mailer.send(mail(f"m-{number}"))

    assert sum(line.upper().startswith("MAIL") for line in server.lines) == 3


@pytest.mark.parametrize("address", ["mail.bank.example", "http://mail", "smtp://", "smtp://host:port"])
def test_an_address_that_is_none_is_told(address):
    with pytest.raises(UsageError, match="smtp://HOST"):
        SmtpMailer({"smtp": address})


# ---- the contract rejects what breaks it


class Forgets(FolderMailer):
    def send(self, mail: Mail) -> Sequence[Unmailed]:
        return ()


class NamesByTime(FolderMailer):
    count = 0

    def send(self, mail: Mail) -> Sequence[Unmailed]:
        NamesByTime.count += 1
        own = mail.data.replace(f"<{mail.id}@".encode(), f"<{mail.id}-{self.count}@".encode())
        return super().send(Mail(mail.id, mail.sender, mail.recipients, own))


class CutsDots(FolderMailer):
    def send(self, mail: Mail) -> Sequence[Unmailed]:
        return super().send(Mail(mail.id, mail.sender, mail.recipients, mail.data.replace(b"\n..\r", b"\n.\r")))


class ShowsPasswords(FolderMailer):
    def send(self, mail: Mail) -> Sequence[Unmailed]:
        try:
            return super().send(mail)
        except TransientError:
            raise AwayError(f"localhost is away for shroff with {PASSWORD}") from None


class SaysNothing(FolderMailer):
    def send(self, mail: Mail) -> Sequence[Unmailed]:
        with suppress(Exception):
            return super().send(mail)
        return ()


class SendsAtTheEnd(FolderMailer):
    def close(self) -> None:
        super().send(mail("end"))


BROKEN = {
    Forgets: "test_a_mail_arrives_with_its_headers_and_both_texts",
    CutsDots: "test_a_mail_arrives_with_its_headers_and_both_texts",
    NamesByTime: "test_the_same_mail_again_has_the_same_id",
    SaysNothing: "test_a_mailer_that_reaches_nobody_says_so_without_its_password",
    ShowsPasswords: "test_a_mailer_that_reaches_nobody_says_so_without_its_password",
    SendsAtTheEnd: "test_closing_twice_does_nothing",
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_the_contract_rejects_a_broken_mailer(kind: type[FolderMailer], tmp_path: Path) -> None:
    suite = TestFolderMailer()
    suite.kind = kind
    test = inspect.unwrap(getattr(suite, BROKEN[kind]).__func__)

    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):  # none arrived where one was to
        test(suite, str(tmp_path / "mail"))
