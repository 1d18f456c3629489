"""Decisions about payments and other money events: exact window features, readable rules, reasons.

`open` gives a project for a notebook or a program. It is found only when it is
asked for, so that `import shroff` costs next to nothing (tests/architecture holds
the budget).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shroff.app import open  # noqa: A004  the public name is `shroff.open`

__all__ = ["__version__", "open"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Give `open` from `shroff.app`, importing it on first use."""
    if name == "open":
        from shroff import app

        return app.open
    raise AttributeError(f"module 'shroff' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
