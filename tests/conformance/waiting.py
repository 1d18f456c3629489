"""Cases that cannot be run yet, each with its reason. One that passes fails the suite, so the list only shrinks."""

from __future__ import annotations

WAITING: dict[str, str] = {}
