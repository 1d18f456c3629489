"""Promises of a source contract that an adapter states not to keep: what cannot come is waited for a second only."""

from __future__ import annotations

from typing import Any

import pytest

from shroff.testing.contracts import promises, source_messages


def gaps_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a message of such a promise for a second; what may come late is waited for as long as ever."""
    passes = promises._passes

    def passes_soon(*args: Any, **kwargs: Any) -> bool:
        with monkeypatch.context() as patched:
            patched.setattr(source_messages, "SECONDS_ENOUGH", 1.0)
            return passes(*args, **kwargs)

    monkeypatch.setattr(promises, "_passes", passes_soon)
