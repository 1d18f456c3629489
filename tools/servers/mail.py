"""A mail server that keeps what it is sent as files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from tools.servers.process import Child, OneProcess

ROOT: Final = Path(__file__).parents[2]


class Mail(OneProcess):
    """An SMTP server; each mail is a file in `mails/new`. Who is refused stands in `mailbox`."""

    kind = "mail"
    more: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.mails = self.folder / "mails"

    @property
    def address(self) -> str:
        return f"smtp://127.0.0.1:{self._port}"

    @property
    def details(self) -> Mapping[str, str]:
        return {"mails": f"{self.mails}/new"}

    def arrived(self) -> list[bytes]:
        """The mails so far, in the order of their arrival."""
        files = sorted((self.mails / "new").glob("*"), key=lambda file: file.stat().st_mtime_ns)
        return [file.read_bytes() for file in files]

    def _made(self) -> Child:
        command = [sys.executable, "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{self._port}", *self.more]
        command += ["-c", "tools.servers.mailbox.Choosy", str(self.mails)]
        return Child("the mail server", command, self.folder / "mail.log", env={"PYTHONPATH": str(ROOT)})
