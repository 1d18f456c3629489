"""First reasons of decisions for lists of them: told once, and kept, since what was decided does not change.

Apart from its users, which are pages, since it lives as long as the service and several threads ask it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final

from shroff.errors import ShroffError

if TYPE_CHECKING:
    from shroff.app.project import Project

KEPT: Final = 5_000  # a few hundred bytes each
WITHIN_S: Final = 0.25  # for which a page waits for reasons that nobody asked for before

Named = tuple[str, str]  # the type and id of an event


@dataclass(frozen=True, slots=True)
class FirstReason:
    """Why something was decided as it was, in a line: what is true, and what is normal for whom, empty for a rule."""

    text: str
    normal: str
    code: str


class FirstReasons:
    """The first reasons of a project's decisions."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._kept: OrderedDict[Named, FirstReason | None] = OrderedDict()
        self._lock = Lock()

    def of(self, events: Iterable[Named], within_s: float = WITHIN_S) -> dict[Named, FirstReason | None]:
        """The reasons of these events, in their order, as far as they are known or can be told in time.

        None for an event of which nothing can be said; what there was no time for is left out. Cost: 50 ms each.
        """
        until, found = time.monotonic() + within_s, dict[Named, FirstReason | None]()
        for named in events:
            with self._lock:
                if is_kept := named in self._kept:
                    self._kept.move_to_end(named)
                    found[named] = self._kept[named]
            if not is_kept and time.monotonic() < until:
                found[named] = self._told(named)
        return found

    def _told(self, named: Named) -> FirstReason | None:
        try:
            reason = self._project.history.first_reason(*named)
        except ShroffError:  # it may be told another time
            return None
        normal = f"{reason.normal} for {reason.whose}" if reason is not None and reason.normal else ""
        first = None
        if reason is not None:  # a rule's own text may begin with a value, which stays as it is
            text = reason.fact if reason.kind == "rule" else reason.fact[:1].upper() + reason.fact[1:]
            first = FirstReason(text, normal, reason.code)
        with self._lock:
            self._kept[named] = first
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return first
