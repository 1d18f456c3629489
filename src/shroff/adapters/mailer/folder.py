"""Mails as files in a folder: the default, needs no server. Read access to the project's state shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shroff import config
from shroff.errors import os_words
from shroff.notices.mailbox import file_name
from shroff.notices.mailer import Mail, Unmailed
from shroff.runtime.atomic_files import whole_file
from shroff.streams.sink import AwayError


class FolderMailer:
    """Mails as .eml files, which every mail program opens.

    A file is called by a hash of its mail's id, and is there whole or not at all: a mail that comes once more takes
    its own place. Durable when `send` returns. Files are for their owner alone; `notices.mailbox` removes them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, mail: Mail) -> Sequence[Unmailed]:
        target = self._folder / file_name(mail.id)
        try:
            config.make_folder(self._folder)
            with whole_file(target) as file:
                file.write(mail.data)
        except OSError as error:
            raise AwayError(f"{os_words(error, self._folder, ' cannot be written')}. The mail waits") from None
        return ()

    def close(self) -> None:
        """There is nothing to let go of."""
