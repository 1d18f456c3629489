"""What the mail server does with mails: it keeps them as files, and refuses some names as other servers would."""

from __future__ import annotations

from typing import Any, Final

from aiosmtpd.handlers import Mailbox

NOBODY: Final = "nobody-here"  # is refused for good
LATER: Final = "later"  # may be taken another time


class Choosy(Mailbox):
    """A Maildir of a server that does not know everybody."""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802 - named by aiosmtpd
        """Take a recipient, or refuse them."""
        name = address.partition("@")[0]
        if name == NOBODY:
            return "550 5.1.1 there is no such mailbox"
        if name == LATER:
            return "451 4.2.1 this mailbox is busy"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"
