"""Write features for other services into a Redis server, as one hash for each key with a field for each feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from shroff.errors import StateError
from shroff.plugins.features import EntityRow
from shroff_plugins.connectors.redis_server import RedisServer, Words, pairs

ROWS_MAX = 200  # rows of one script call, which blocks the server for a millisecond or two
KEEPS_ALL = "noeviction"  # the policy of a server that refuses writes when its memory is full
_ABOUT = ("log", "as_of_seq", "as_of", "event", "definitions")  # names without a dot, so no feature has one
# The argument `packed` has the lists of feature names, and the rows, each with the index of its list.
_WRITE = """
local log, ttl, packed = ARGV[1], ARGV[2], cmsgpack.unpack(ARGV[3])
for at, key in ipairs(KEYS) do
  local row = packed[2][at]
  local there = redis.call('HMGET', key, 'log', 'as_of_seq', 'definitions')
  if there[1] ~= log or tonumber(there[2]) < tonumber(row[2]) then
    if there[3] ~= row[5] then
      redis.call('DEL', key)
    end
    local words = {'log', log, 'as_of_seq', row[2], 'as_of', row[3], 'event', row[4], 'definitions', row[5]}
    for number, name in ipairs(packed[1][row[1]]) do
      words[#words + 1] = name
      words[#words + 1] = row[5 + number]
    end
    redis.call('HSET', key, unpack(words))
    if ttl ~= '0' then
      redis.call('PEXPIRE', key, ttl)
    end
  end
end
return 0
"""


_SET_MARK = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""


class RedisFeatures:
    """Keeps every promise of `worker.online_features.OnlineStore` on one server, not on a cluster.

    Args:
        url: The server, with its database.
        prefix: Beginning of all keys: the name of the project.
        log: Identifies the log (`online_features.origin_of`); a reader needs none.
        ttl_ms: A key without a new row expires after so long; 0: never.

    Raises: UsageError if the library is missing, or the address is invalid.
    """

    def __init__(self, url: str, *, prefix: str, log: str = "", ttl_ms: int = 0) -> None:
        self._server = RedisServer(url, "online")
        self._prefix = prefix
        self._log = log
        self._ttl_ms = ttl_ms
        self._mark_key = f"{prefix}::mark"  # no entity has an empty name

    def __repr__(self) -> str:
        return f"<RedisFeatures {self._server.address}>"

    def write(self, rows: Sequence[EntityRow]) -> None:
        calls = [self._call(rows[start : start + ROWS_MAX]) for start in range(0, len(rows), ROWS_MAX)]
        for reply in self._server.run_all(_WRITE, calls):
            if isinstance(reply, Exception):
                raise reply

    def read(self, entity: str, keys: Sequence[str]) -> list[EntityRow | None]:
        replies = self._server.ask_all([("HGETALL", self._key(entity, key)) for key in keys])
        return [self._row(entity, key, reply) for key, reply in zip(keys, replies, strict=True)]

    def mark(self) -> str:
        stored = self._server.ask("GET", self._mark_key)
        return "" if stored is None else str(stored, "utf-8")

    def set_mark(self, mark: str, before: str) -> bool:
        return bool(self._server.ask("EVAL", _SET_MARK, 1, self._mark_key, mark, before))

    def eviction(self) -> tuple[str, int]:
        info = dict(line.partition(":")[::2] for line in str(self._server.ask("INFO"), "utf-8").splitlines())
        policy = info.get("maxmemory_policy", KEEPS_ALL)
        may_evict = policy != KEEPS_ALL and info.get("maxmemory", "0") != "0"
        return policy if may_evict else "", int(info.get("evicted_keys", "0"))

    def close(self) -> None:
        self._server.close()

    def _key(self, entity: str, key: str) -> str:
        """Return a unique key: names of entities have no colon."""
        return f"{self._prefix}:{entity}:{key}"

    def _call(self, rows: Sequence[EntityRow]) -> Words:
        names: dict[tuple[str, ...], int] = {}
        packed = [
            [
                names.setdefault(tuple(row.features), len(names) + 1),
                *(str(row.as_of_seq), row.as_of, row.event, row.definitions),
                *row.features.values(),
            ]
            for row in rows
        ]
        keys = [self._key(row.entity, row.key) for row in rows]
        return len(keys), *keys, self._log, self._ttl_ms, msgspec.msgpack.encode([list(names), packed])

    def _row(self, entity: str, key: str, reply: Any) -> EntityRow | None:
        if isinstance(reply, Exception):
            raise reply
        fields = pairs(reply)
        if not fields:
            return None
        try:
            _, seq, as_of, event, version = (fields.pop(name).decode() for name in _ABOUT)
            features = {name: value.decode() for name, value in fields.items()}
            return EntityRow(entity, key, int(seq), as_of, event, version, features)
        except (KeyError, ValueError):
            raise StateError(f"{self._key(entity, key)} in Redis was not written by shroff") from None
