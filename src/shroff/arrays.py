"""Arrays by the type of their items: the names that annotations use."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]
Ints8 = NDArray[np.int8]
Ints32 = NDArray[np.int32]
NO_INTS: Final[Ints] = np.zeros(0, np.int64)


def count_true(flags: Bools) -> int:
    return int(np.count_nonzero(flags))


def own(array: Array, kind: type[np.generic] = np.int64) -> Array:
    """Return the array, or a copy, as kernels need it: contiguous, writable and of this type."""
    return np.require(array, kind, ["C", "W"])
