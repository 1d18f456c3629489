"""The keys of shroff.yaml for what leaves to people: mails, and pages for customers (see `language.keys`)."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import ANY, DURATION, Key, Keys, Many, One, choice
from shroff.language.values import DAY_MS

MAILS_KEPT: Final = "30d"
TOLD_KEPT_MS: Final = 90 * DAY_MS  # for which it is kept what was told, and so of which event a mail is

VARIABLE: Final = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"  # of the environment, which may stand for a whole address
HTTP: Final = One("an address that begins with http:// or https://", rf"^(https?://\S+|{VARIABLE})$")
FILE: Final = One("a file, from the project's folder on", r"^\S.*$")
_NAMED_ADDRESS: Final = One("an address of mail, with a name before it or without", r"^[^\r\n]+@[^\r\n]+$")
MAIL: Final = Keys(
    "how mails leave",
    (
        Key(
            "smtp",
            "The server that takes mails: smtp:// for a connection that is secured by STARTTLS, smtps:// for one that "
            "is secured from its start. A user and `${NAME}` for the password may stand in it.",
            One("an address such as smtp://mail.bank.org:587", rf"^(smtps?://\S+|{VARIABLE})$"),
            default="mails are files in .shroff/mail/",
            examples=("smtp://shroff:${MAIL_PASSWORD}@mail.bank.org:587",),
        ),
        Key(
            "from",
            "Who mails are from.",
            _NAMED_ADDRESS,
            default="shroff@localhost",
            examples=("Penhallow Bank <notices@penhallow.example>",),
        ),
        Key(
            "security",
            "With `plain` a server that offers no STARTTLS is spoken to in clear, as one on the same machine may be. "
            "With `tls` no mail leaves and no password is said before the server has shown its certificate.",
            choice("tls", "plain"),
            default="tls",
        ),
        Key("ca", "A file of certificates (PEM) that are trusted in place of the system's.", FILE),
        Key("timeout", "How long the server may take for an answer.", DURATION, default="30s"),
        Key(
            "keep",
            "How long mails stay that are files: whoever tells (`serve`, `run`) removes older ones each hour. At most "
            "90d, for which it is known of which event a mail is.",
            DURATION,
            default=MAILS_KEPT,
            examples=("7d",),
        ),
    ),
)
WEB: Final = Keys(
    "how the service shows itself",
    (
        Key(
            "url",
            "The address at which browsers reach the service: links begin with it, those of customers and of users; a "
            "provider sends people back to it; forms count from there only, and cookies are for TLS where it is.",
            HTTP,
            default="the address that a browser asked, and in mails the one at which the service listens",
            examples=("https://answer.penhallow.example",),
        ),
        Key("name", "The name that mails and pages for customers show.", ANY, default="the name of the project"),
        Key(
            "help",
            "What a customer can do without a link, in the words of a sentence that ends.",
            ANY,
            default="Call the number on the back of your card.",
        ),
        Key(
            "proxies",
            "The proxies before the service, by address or network. From where a request comes is then read in its "
            "head, as far as these wrote it: pauses for who asks too often, failed sign-ins and the record go by it. "
            "Where there is no url, they say whether they were asked over TLS, too. "
            "Name none that takes requests from others without saying so: whoever reaches it chooses their address.",
            Many(
                "a list of addresses and networks",
                One("an address or a network such as 10.0.0.0/8", r"^[0-9A-Fa-f.:/]+$"),
            ),
            default="none: a request comes from whoever connected",
            examples=("[10.0.0.0/8, 127.0.0.1]",),
        ),
        Key(
            "proxy_header",
            "Where these proxies write it; the other header is not read, since they pass on what a sender wrote there. "
            "Whether they were asked over TLS stands in x-forwarded-proto beside the one, in the other itself.",
            choice("x-forwarded-for", "forwarded"),
            default="x-forwarded-for",
        ),
    ),
)
