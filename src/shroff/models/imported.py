"""A model trained elsewhere, as parsed from its file, and the error for a damaged file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import field

from shroff.arrays import Floats
from shroff.errors import UsageError
from shroff.models.loaded import FILES
from shroff.runtime.values import FrozenStruct

BYTES_MAX = 256 * 1024 * 1024  # of a file; a thousand trees of depth 6 need 10 MiB
FEATURES_MAX = 10_000  # more than any project has, since a column is made for each
# Errors of parsing a damaged file, whose parts have unexpected types.
BROKEN = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError)


def broken(error: Exception) -> str:
    """Return the message for a damaged file."""
    return f"it is damaged ({type(error).__name__}: {str(error)[:100]}); copy it again, or save the model again"


class Foreign(FrozenStruct):
    """A model trained elsewhere.

    Args:
        source: Format of its file, in words.
        format, data: Form in which the registry stores it: a key of `loaded.FILES`, and the bytes of that file.
        count: Number of its features.
        names: Names of the features; empty if the file has none.
        categories: For each categorical feature, by index, the texts of its codes; None if the file has only codes.
        gives: Meaning of its margin: LOG_ODDS, PROBABILITY or NUMBER.
        gains: Gain of each feature in training; zeros if the file does not contain it.
        best_iteration: Last round to use, from 0; None for all.
        parameters: Training parameters in the file.
        kept: The original file if `data` is another one, by the name under which the registry stores it.
        remarks: Sentences for readers of the report.
        with_covers: Returns `data` with the number of rows of each node, which contributions need, from columns of
            sample rows; None if the file contains it.
    """

    source: str
    format: str
    data: bytes
    count: int
    names: tuple[str, ...]
    categories: Mapping[int, tuple[str, ...] | None]
    gives: str
    gains: Floats
    trees: int
    best_iteration: int | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    kept: Mapping[str, bytes] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    with_covers: Callable[[Floats], bytes] | None = None

    @property
    def files(self) -> dict[str, bytes]:
        return {FILES[self.format]: self.data, **self.kept}


def refuse_width(count: int) -> None:
    """Raise UsageError for a model without features, or with too many."""
    if not 0 < count <= FEATURES_MAX:
        raise UsageError(f"it reads {count:,} features, and 1 to {FEATURES_MAX:,} can be read; save the model again")
