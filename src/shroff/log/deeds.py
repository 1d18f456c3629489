"""What somebody does to the log of a project, in words for the record of who did what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shroff.streams.log import Log

Put = Callable[[Log], int]  # puts a request into the inbox of a log, and gives its number


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that is done.

    Args:
        action: What, as `object.verb`: `label.add`, `list.change`.
        subject: On what: `payment/p-1`, `list blocked_cards`.
        before: What it was, as plain values.
        after: What it is to be; the same. Nothing personal: the record is never erased.
    """

    action: str
    subject: str
    before: Any = None
    after: Any = None
