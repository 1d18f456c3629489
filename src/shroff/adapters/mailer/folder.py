"""Write mails as files in a folder, the default. Accounts that may read the project's state can read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shroff.errors import os_words
from shroff.notices.mailbox import file_name
from shroff.notices.mailer import Mail, Unmailed
from shroff.runtime import state_folder
from shroff.runtime.atomic_files import whole_file
from shroff.streams.sink import AwayError


class FolderMailer:
    """Writes mails as .eml files, which every mail program opens.

    The name of a file is a hash of its mail's id, so a repeated mail replaces itself. A file is written atomically, and
    durable when `send` returns. Only its owner can read it; `notices.mailbox` removes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, mail: Mail) -> Sequence[Unmailed]:
        target = self._folder / file_name(mail.id)
        try:
            state_folder.make_folder(self._folder)
            with whole_file(target) as file:
                file.write(mail.data)
        except OSError as error:
            raise AwayError(f"{os_words(error, self._folder, ' cannot be written')}. The mail waits") from None
        return ()

    def close(self) -> None:
        """Do nothing."""
