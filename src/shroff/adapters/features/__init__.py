"""Stores of current feature values: Redis. Here are the addresses that a project may name."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import Keys
from shroff.streams.settings import AdapterSettings

REDIS: Final = AdapterSettings(
    "Hashes of a Redis server.", Keys("a Redis server"), schemes={"redis": 6379, "rediss": 6379}
)
SETTINGS: Final = {"redis": REDIS}
