"""Values: frozen dataclasses and frozen structs, and the types of arrays."""

from __future__ import annotations

from shroff.arrays import Array, Bools, Bytes, Floats, Floats32, Ints
from shroff.runtime.values import FrozenStruct, frozen, replace
