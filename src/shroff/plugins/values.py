"""Values: frozen dataclasses and frozen structs."""

from __future__ import annotations

from shroff.runtime.values import FrozenStruct, frozen
