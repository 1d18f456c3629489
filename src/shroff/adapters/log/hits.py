"""The part of a log with the hits of rules."""

from __future__ import annotations

from collections.abc import Iterator

from shroff.adapters.log.ends import LogPart
from shroff.adapters.log.tables.sums import NOT_AS_WRITTEN, hit_sum
from shroff.streams.log import HitRow

_SHAPE = "itTiii"


class SqlHits(LogPart):
    """`streams.log.Hits` in SQL."""

    def after(self, after: int = 0, upto: int | None = None, size: int = 4_096) -> Iterator[list[HitRow]]:
        end = self._ends.last_seq() if upto is None else upto
        for rows in self._connection.slices(self._wording.hits, _SHAPE, after, end, size):
            hits = list[HitRow]()
            for seq, rule, key, shadow, crc, _ in rows:
                hit = HitRow(seq, rule, key, bool(shadow))
                if crc != hit_sum(hit):
                    raise self._connection.damaged(NOT_AS_WRITTEN.format(seq))
                hits.append(hit)
            yield hits
