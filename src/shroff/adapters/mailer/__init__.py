"""Mailers: SMTP, and a folder, and the settings of each in shroff.yaml."""

from __future__ import annotations

from shroff.language.keys import DURATION, MappingShape, One, choice, mapping_shape
from shroff.streams.settings import FILE, VARIABLE, AdapterSettings

FOLDER = AdapterSettings("Files in .shroff/mail/, the default.", MappingShape("a folder"))


class _MailServer:
    """A mail server.

    smtp: The mail server: smtp:// for a connection with STARTTLS, smtps:// for TLS from the start. The URL may
        contain a user and `${NAME}` for the password.
        Default: mails are files in .shroff/mail/
        Example: smtp://shroff:${MAIL_PASSWORD}@mail.bank.org:587
    security: `tls` requires TLS: no mail and no password is sent before the server has shown its certificate.
        `plain` also allows a server without STARTTLS, without encryption, for example on the same machine.
        Default: tls
    ca: A file of trusted certificates (PEM), used instead of the system's.
    timeout: Time limit for a response of the server.
        Default: 30s
    """

    smtp = One("an address such as smtp://mail.bank.org:587", rf"^(smtps?://\S+|{VARIABLE})$")
    security = choice("tls", "plain")
    ca = FILE
    timeout = DURATION


SMTP = AdapterSettings("A mail server.", mapping_shape(_MailServer), schemes={"smtp": 587, "smtps": 465}, is_flat=True)
SETTINGS = {"smtp": SMTP, "folder": FOLDER}
