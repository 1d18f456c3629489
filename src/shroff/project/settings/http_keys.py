"""The keys of shroff.yaml for HTTP calls that leave: a proxy, whom to trust, how long an answer may take."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import DURATION, Key, Keys, One
from shroff.project.settings.mail_keys import FILE, VARIABLE

CA: Final = Key(
    "ca",
    "A file of certificates (PEM) that are trusted in place of the system's.",
    FILE,
    examples=("certs/ca.pem",),
)
CALLS: Final = (
    Key(
        "proxy",
        "The HTTP proxy that calls go through, or `none`. Left out, the variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY "
        "of the environment say so.",
        One("an address such as http://proxy.bank:3128, or none", rf"^(none|http://\S+|{VARIABLE})$"),
        examples=("http://proxy.bank:3128",),
    ),
    CA,
    Key("timeout", "How long an answer may take, from the first byte that is sent.", DURATION, default="10s"),
)
HTTP_CALLS: Final = Keys("how HTTP calls leave", CALLS)
