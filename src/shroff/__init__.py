"""Decisions about payments and other money events: exact window features, readable rules, reasons.

`open` gives a project for a notebook or a program; the classes are what its `decide`
answers. Each is found only when it is asked for, so that `import shroff` costs next to
nothing (tests/architecture holds the budget).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shroff.services.project import Decision, Project, Reason, Refusal, Undecided, open  # noqa: A004  it is `shroff.open`

__all__ = ["Decision", "Project", "Reason", "Refusal", "Undecided", "__version__", "open"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Give a public name from `shroff.services.project`, importing it on first use."""
    if name in __all__:
        from shroff.services import project as app

        return getattr(app, name)
    raise AttributeError(f"module 'shroff' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
