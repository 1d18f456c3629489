"""The part of a log with personal values, which are stored beside their events so that they can be erased."""

from __future__ import annotations

from collections.abc import Sequence

from shroff.adapters.log.ends import LogPart
from shroff.json_types import TextDict


class SqlPersonalValues(LogPart):
    """`streams.log.PersonalValues` in SQL."""

    def of(self, type: str, ids: Sequence[str]) -> dict[str, TextDict]:
        values: dict[str, TextDict] = {}
        for id_, name, value in self._connection.select_by_ids(self._wording.personal, "ttt", ids, type):
            values.setdefault(id_, {})[name] = value
        return values
