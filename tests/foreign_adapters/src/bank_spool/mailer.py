"""A mailer: each mail is a file that a relay takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from bank_spool.client import add
from bank_spool.mailer_settings import OUTBOX
from shroff.plugins.adapters import AwayError, Mail, Unmailed


class OutboxMailer:
    """A folder that a relay empties. A mail that comes again takes its own place."""

    settings = OUTBOX

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._folder = Path(options["folder"])

    def send(self, mail: Mail) -> Sequence[Unmailed]:
        file = self._folder / f"{sha256(mail.id.encode()).hexdigest()}.eml"
        try:
            file.unlink(missing_ok=True)
            add(file, mail.data)
        except OSError as error:
            raise AwayError(f"{self._folder} cannot be written: {error.strerror}") from None
        return ()

    def close(self) -> None:
        """There is nothing to let go of."""
