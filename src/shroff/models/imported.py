"""A model that was trained elsewhere, as the reader of its file gives it, and the error for a damaged file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import field

from shroff.arrays import Floats
from shroff.errors import UsageError
from shroff.models.loaded import FILES
from shroff.runtime.values import FrozenStruct

BYTES_MAX = 256 * 1024 * 1024  # of a file; a thousand trees of depth 6 have 10 MiB
FEATURES_MAX = 10_000  # no project has so many, and columns are made for each
# What reading a damaged file may raise: its parts are of another kind than they should be.
BROKEN = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError)


def broken(error: Exception) -> str:
    """Message for a damaged file."""
    return f"it is damaged ({type(error).__name__}: {str(error)[:100]}); copy it again, or save the model again"


class Foreign(FrozenStruct):
    """A model that was made elsewhere.

    Args:
        source: Whose format its file has, in words.
        format, data: As the registry keeps it: a key of `loaded.FILES`, and the bytes of that file.
        count: How many features it reads.
        names: Theirs; empty where the file has none of its own.
        categories: Of features that it splits by categories, by place: the texts by their codes, or None where the
            file has codes alone.
        gives: What its margin is: LOG_ODDS, PROBABILITY or NUMBER.
        gains: What each feature gained in training; zeros where the file does not say.
        best_iteration: The last round that counts, from 0; None for all.
        parameters: What the file says of how it was trained.
        kept: The brought file itself where it is not `data`, by the name that the registry keeps it under.
        remarks: What a reader of the report should know, in sentences.
        with_covers: Where its file does not say how many rows came to each node, of which contributions are made: gives
            `data` with them, from a row for each input and a column for each row.
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
        """What of it the registry keeps."""
        return {FILES[self.format]: self.data, **self.kept}


def refuse_width(count: int) -> None:
    """Raises: UsageError for more features than columns can be made for, and for none."""
    if not 0 < count <= FEATURES_MAX:
        raise UsageError(f"it reads {count:,} features, and 1 to {FEATURES_MAX:,} can be read; save the model again")
