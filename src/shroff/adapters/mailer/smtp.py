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
        connection = self._connect()
        try:
            refused = self._send_addresses(connection, mail)
        except (OSError, smtplib.SMTPException) as error:  # no content of the mail was sent yet
            self.close()
            raise AwayError(f"{self._where}: {_reply_text(error)}") from None
        if len(refused) == len(mail.recipients):
            return refused
        try:
            code, text = _send_data(connection, mail)
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            message = f"{self._where}: {_reply_text(error)}, while a mail was being sent"
            raise DoubtError(message) from None
        if code != _TAKEN:
            self._reset()
            return self._check_reply(code, text, mail.recipients)
        self._sent = self._sent + 1
        self._used_s = time.monotonic()
        if self._sent >= MAILS_MAX:
            self.close()
        return refused

    def _send_addresses(self, connection: smtplib.SMTP, mail: Mail) -> list[Unmailed]:
        """Send the addresses of a mail; return the recipients that are refused or left out.

        Raises: TransientError if a recipient may be accepted later, and the mail may not be split, or all are refused.
        """
        code, text = connection.mail(mail.sender)
        if code != _TAKEN:
            self._reset()
            return self._check_reply(code, text, ())
        refused: list[Unmailed] = []
        later: TransientError | None = None
        for recipient in mail.recipients:
            code, text = connection.rcpt(recipient)
            if code not in _RECIPIENT_TAKEN:
                try:
                    refused += self._check_reply(code, text, (recipient,))
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

    def _check_reply(self, code: int, text: bytes | str, recipients: Sequence[str]) -> list[Unmailed]:
        """Return the refused recipients; without `recipients`, the refusal concerns all mails.

        Raises: TransientError if a retry may help; AwayError if the server closes the connection; UsageError if it
            refuses the account.
        """
        message = f"{self._where} answered {code} {_reply_text(text)}"
        if code == _CLOSING:
            self.close()
            raise AwayError(message)
        if code < _FOR_GOOD:
            raise TransientError(message)
        if code == _UNAUTHENTICATED or not recipients:
            self.close()
            raise UsageError(f"{message}. Fix 'mail' in shroff.yaml")
        return [Unmailed(recipient, message) for recipient in recipients]

    def greet(self) -> str:
        """Connect and sign in without sending; return the address of the server. Raises: as `send`."""
        self._connect()
        return self._where

    def close(self) -> None:
        connection = self._connection
        self._connection = None
        self._sent = 0
        if connection is not None:
            with suppress(OSError, smtplib.SMTPException):
                connection.quit()

    # The connection

    def _connect(self) -> smtplib.SMTP:
        if self._connection is not None:
            if time.monotonic() - self._used_s < IDLE_S:
                return self._connection
            with suppress(OSError, smtplib.SMTPException):
                if self._connection.noop()[0] == 250:
                    return self._connection
            self.close()
        try:
            self._connection = self._open()
        except ssl.SSLCertVerificationError as error:
            raise UsageError(f"{self._where}: its certificate cannot be trusted: {error.verify_message}") from None
        except smtplib.SMTPAuthenticationError as error:
            if error.smtp_code < _FOR_GOOD:
                raise AwayError(f"{self._where} answered {error.smtp_code} to the user and password") from None
            message = f"{self._where} rejects this user or password ({error.smtp_code})"
            raise UsageError(f"{message}. Fix 'mail' in shroff.yaml") from None
        except (OSError, smtplib.SMTPException) as error:
            raise AwayError(f"{self._where}: {_reply_text(error)}") from None
        return self._connection

    def _open(self) -> smtplib.SMTP:
        if self._is_tls:
            client: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout_s, context=self._context
            )
        else:
            client = smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
        try:
            client.ehlo()
            if not self._is_tls:
                self._secure(client)
            if self._user:
                try:
                    client.login(self._user, self._password)
                except smtplib.SMTPNotSupportedError:
                    message = f"{self._where} does not support sign-in"
                    raise UsageError(f"{message}; leave them out of 'mail' in shroff.yaml") from None
        except BaseException:
            with suppress(OSError, smtplib.SMTPException):
                client.close()
            raise
        return client

    def _secure(self, client: smtplib.SMTP) -> None:
        if client.has_extn("starttls"):
            client.starttls(context=self._context)
            client.ehlo()
        elif not self._is_plain:
            raise UsageError(
                f"{self._where} offers no STARTTLS, so nothing was sent. Use smtps://, or write 'security: plain' "
                "under mail in shroff.yaml if the connection to it is safe"
            )

    def _reset(self) -> None:
        if self._connection is not None:
            with suppress(OSError, smtplib.SMTPException):
                self._connection.rset()


def _send_data(connection: smtplib.SMTP, mail: Mail) -> tuple[int, bytes | str]:
    """Send the bytes of a mail; return the server's answer, also a refusal."""
    try:
        return connection.data(mail.data)
    except smtplib.SMTPDataError as error:  # the server refuses them
        return error.smtp_code, error.smtp_error


def _reply_text(reply: object) -> str:
    if isinstance(reply, bytes):
        text = reply.decode("utf-8", "replace")
    elif isinstance(reply, OSError):
        text = reply.strerror or str(reply) or type(reply).__name__
    else:
        text = str(reply) or type(reply).__name__
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:300]
