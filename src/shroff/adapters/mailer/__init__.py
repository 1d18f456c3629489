"""Mailers: SMTP, and a folder. Here is what shroff.yaml may say of each."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import DURATION, Key, Keys, One, choice
from shroff.streams.settings import FILE, VARIABLE, AdapterSettings

FOLDER: Final = AdapterSettings("Files in .shroff/mail/, where no other way is named.", Keys("a folder"))
SMTP: Final = AdapterSettings(
    "A mail server.",
    Keys(
        "a mail server",
        (
            Key(
                "smtp",
                "The server that takes mails: smtp:// for a connection that is secured by STARTTLS, smtps:// for one "
                "that is secured from its start. A user and `${NAME}` for the password may stand in it.",
                One("an address such as smtp://mail.bank.org:587", rf"^(smtps?://\S+|{VARIABLE})$"),
                default="mails are files in .shroff/mail/",
                examples=("smtp://shroff:${MAIL_PASSWORD}@mail.bank.org:587",),
            ),
            Key(
                "security",
                "With `plain` a server that offers no STARTTLS is spoken to in clear, as one on the same machine may "
                "be. With `tls` no mail leaves and no password is said before the server has shown its certificate.",
                choice("tls", "plain"),
                default="tls",
            ),
            Key("ca", "A file of certificates (PEM) that are trusted in place of the system's.", FILE),
            Key("timeout", "How long the server may take for an answer.", DURATION, default="30s"),
        ),
    ),
    schemes={"smtp": 587, "smtps": 465},
    is_flat=True,
)
SETTINGS: Final = {"smtp": SMTP, "folder": FOLDER}
