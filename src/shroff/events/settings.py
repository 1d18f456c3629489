"""Settings of a project that decide: the currency, how late events may be (see `load_settings`)."""

from __future__ import annotations

from dataclasses import dataclass

from shroff.language.values import DAY_MS


@dataclass(frozen=True, slots=True)
class Settings:
    """A project's settings. Durations in milliseconds."""

    name: str = "project"
    currency: str = "EUR"
    money_places: int = 2
    lateness_ms: int = DAY_MS
    ahead_ms: int = DAY_MS
    untaken: str = ""  # skip | quarantine; empty: skip, and a file of which no line is taken is told
