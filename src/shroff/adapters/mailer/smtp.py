"""Send mails by SMTP, over TLS with a verified certificate unless the settings say otherwise."""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from shroff.adapters.mailer import SMTP
from shroff.errors import TransientError, UsageError
from shroff.json_types import JsonMapping
from shroff.language.values import parse_duration
from shroff.notices.mailer import DoubtError, Mail, Unmailed
from shroff.streams.sink import AwayError

MAILS_MAX = 100  # over one connection, as servers close longer ones
IDLE_S = 1.0  # of idleness before a connection is checked
_TAKEN = 250
_RECIPIENT_TAKEN = (250, 251)
_CLOSING = 421
_FOR_GOOD = 500
_UNAUTHENTICATED = 530  # the answer of a server that requires a sign-in


class SmtpMailer:
    """A mail server, by SMTP with STARTTLS (smtp://) or TLS from the start (smtps://).

    A code from 500 on refuses a recipient or mail for good, or the account, which an administrator must correct. A code
    from 400 on means a retry. Over `smtp://` no mail and no password is sent before TLS begins, unless the settings say
    `security: plain`, with which TLS is used only if the server offers it.
    """

    def __init__(self, options: JsonMapping) -> None:
        """Prepare without connecting.

        Args:
            options: `smtp`, the address; `security`, `ca` and `timeout`.

        Raises: UsageError if the address is invalid, or `ca` cannot be read.
        """
        address = str(options["smtp"])
        ca = options.get("ca")
        try:
            url = urlsplit(address)
            port = url.port
        except ValueError:
            url = urlsplit("")
            port = None
        if url.scheme not in SMTP.schemes or not url.hostname:
            raise UsageError(
                "the address of a mail server is smtp://HOST or smtps://HOST, with its port, in shroff.yaml."
            )
        self._host = url.hostname
        self._port = port or SMTP.schemes[url.scheme] or 0
        self._is_tls = url.scheme == "smtps"
        self._is_plain = options.get("security") == "plain"
        self._user = unquote(url.username or "")
        self._password = unquote(url.password or "")
        self._timeout_s = parse_duration(str(options.get("timeout", "30s"))) / 1_000
        self._where = f"{url.scheme}://{self._host}:{self._port}"
        try:
            self._context = ssl.create_default_context(cafile=ca or None)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"mail: 'ca' in shroff.yaml cannot be read as certificates: {error}.") from None
        self._connection: smtplib.SMTP | None = None
        self._sent = 0
        self._used_s = 0.0

    def send(self, mail: Mail) -> Sequence[Unmailed]:
        """Deliver a mail to the server, durable on return. Raises: as in the contract."""
        connection = self._connected()
        try:
            refused = self._announced(connection, mail)
        except (OSError, smtplib.SMTPException) as error:  # no content of the mail was sent yet
            self.close()
            raise AwayError(f"{self._where}: {_words(error)}") from None
        if len(refused) == len(mail.recipients):
            return refused
        try:
            code, text = _handed(connection, mail)
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            words = f"{self._where}: {_words(error)}, while a mail was being sent"
            raise DoubtError(words) from None
        if code != _TAKEN:
            self._reset()
            return self._answered(code, text, mail.recipients)
        self._sent = self._sent + 1
        self._used_s = time.monotonic()
        if self._sent >= MAILS_MAX:
            self.close()
        return refused

    def _announced(self, connection: smtplib.SMTP, mail: Mail) -> list[Unmailed]:
        """Send the addresses of a mail; return the recipients that are refused or left out.

        Raises: TransientError if a recipient may be accepted later, and the mail may not be split, or all are refused.
        """
        code, text = connection.mail(mail.sender)
        if code != _TAKEN:
            self._reset()
            return self._answered(code, text, ())
        refused: list[Unmailed] = []
        later: TransientError | None = None
        for recipient in mail.recipients:
            code, text = connection.rcpt(recipient)
            if code not in _RECIPIENT_TAKEN:
                try:
                    refused += self._answered(code, text, (recipient,))
                except AwayError:
                    raise
                except TransientError as error:
                    later = error
                    refused.append(Unmailed(recipient, str(error)))
        is_for_nobody = len(refused) == len(mail.recipients)
        if is_for_nobody or (later is not None and not mail.may_part):
            self._reset()
            if later is not None:
                raise later
        return refused

    def _answered(self, code: int, text: bytes | str, recipients: Sequence[str]) -> list[Unmailed]:
        """Return the refused recipients; without `recipients`, the refusal concerns all mails.

        Raises: TransientError if a retry may help; AwayError if the server closes the connection; UsageError if it
            refuses the account.
        """
        words = f"{self._where} answered {code} {_words(text)}"
        if code == _CLOSING:
            self.close()
            raise AwayError(words)
        if code < _FOR_GOOD:
            raise TransientError(words)
        if code == _UNAUTHENTICATED or not recipients:
            self.close()
            raise UsageError(f"{words}. Fix 'mail' in shroff.yaml")
        return [Unmailed(recipient, words) for recipient in recipients]

    def greet(self) -> str:
        """Connect and sign in without sending; return the address of the server. Raises: as `send`."""
        self._connected()
        return self._where

    def close(self) -> None:
        connection = self._connection
        self._connection = None
        self._sent = 0
        if connection is not None:
            with suppress(OSError, smtplib.SMTPException):
                connection.quit()

    # The connection

    def _connected(self) -> smtplib.SMTP:
        if self._connection is not None:
            if time.monotonic() - self._used_s < IDLE_S:
                return self._connection
            with suppress(OSError, smtplib.SMTPException):
                if self._connection.noop()[0] == 250:
                    return self._connection
            self.close()
        try:
            self._connection = self._opened()
        except ssl.SSLCertVerificationError as error:
            raise UsageError(f"{self._where}: its certificate cannot be trusted: {error.verify_message}") from None
        except smtplib.SMTPAuthenticationError as error:
            if error.smtp_code < _FOR_GOOD:
                raise AwayError(f"{self._where} answered {error.smtp_code} to the user and password") from None
            words = f"{self._where} rejects this user or password ({error.smtp_code})"
            raise UsageError(f"{words}. Fix 'mail' in shroff.yaml") from None
        except (OSError, smtplib.SMTPException) as error:
            raise AwayError(f"{self._where}: {_words(error)}") from None
        return self._connection

    def _opened(self) -> smtplib.SMTP:
        if self._is_tls:
            found: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout_s, context=self._context
            )
        else:
            found = smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
        try:
            found.ehlo()
            if not self._is_tls:
                self._secure(found)
            if self._user:
                try:
                    found.login(self._user, self._password)
                except smtplib.SMTPNotSupportedError:
                    words = f"{self._where} does not support sign-in"
                    raise UsageError(f"{words}; leave them out of 'mail' in shroff.yaml") from None
        except BaseException:
            with suppress(OSError, smtplib.SMTPException):
                found.close()
            raise
        return found

    def _secure(self, found: smtplib.SMTP) -> None:
        if found.has_extn("starttls"):
            found.starttls(context=self._context)
            found.ehlo()
        elif not self._is_plain:
            raise UsageError(
                f"{self._where} offers no STARTTLS, so nothing was sent. Use smtps://, or write 'security: plain' "
                "under mail in shroff.yaml if the connection to it is safe"
            )

    def _reset(self) -> None:
        if self._connection is not None:
            with suppress(OSError, smtplib.SMTPException):
                self._connection.rset()


def _handed(connection: smtplib.SMTP, mail: Mail) -> tuple[int, bytes | str]:
    """Send the bytes of a mail; return the server's answer, also a refusal."""
    try:
        return connection.data(mail.data)
    except smtplib.SMTPDataError as error:  # the server refuses them
        return error.smtp_code, error.smtp_error


def _words(said: object) -> str:
    if isinstance(said, bytes):
        text = said.decode("utf-8", "replace")
    elif isinstance(said, OSError):
        text = said.strerror or str(said) or type(said).__name__
    else:
        text = str(said) or type(said).__name__
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:300]
