"""A mail server that keeps what it is sent as files."""

from __future__ import annotations

import sys

from tools.servers.process import Child, OneProcess


class Mail(OneProcess):
    """An SMTP server; each mail is a file in `mails/new`."""

    kind = "mail"

    def __init__(self) -> None:
        super().__init__()
        self.mails = self.folder / "mails"

    @property
    def address(self) -> str:
        return f"smtp://127.0.0.1:{self._port}"

    def _made(self) -> Child:
        command = [sys.executable, "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{self._port}"]
        command += ["-c", "aiosmtpd.handlers.Mailbox", str(self.mails)]
        return Child("the mail server", command, self.folder / "mail.log")
