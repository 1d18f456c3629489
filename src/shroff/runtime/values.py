"""Values: frozen ones, and answers that cost something, made once for all who ask for them."""

from __future__ import annotations

import dataclasses
import math
import time
from abc import ABCMeta
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Generic, TypeVar, cast, dataclass_transform

import msgspec
from msgspec import NODEFAULT, structs

Kind = TypeVar("Kind")
Value = TypeVar("Value")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(kind: type[Kind]) -> type[Kind]:
    """Make a class a value: a dataclass that is frozen and has slots."""
    return dataclass(frozen=True, slots=True)(kind)


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class FrozenStruct(msgspec.Struct, frozen=True):
    """A value as a struct of msgspec, which is made in a tenth of the time that a dataclass takes, and read from JSON.

    One with a list or a dictionary as a default says `msgspec.Struct, frozen=True` itself, for the linter to know it.
    """


class PlainMeta(ABCMeta):
    """An abstract class without registered ones: `isinstance` takes 0.1 µs in place of 0.4, some 20 times an event."""

    __instancecheck__ = type.__instancecheck__


def replace(value: Value, /, **changes: Any) -> Value:
    """The same value with other fields: of a dataclass or of a struct."""
    with_fields: Any = structs.replace if isinstance(value, msgspec.Struct) else dataclasses.replace
    return cast("Value", with_fields(value, **changes))


def showing(kind: Callable[..., Value], /, *shown: object, **fields: Any) -> Value:
    """A struct of a kind with these fields; others that it needs are attributes of what it shows, by their names.

    Of several that have an attribute the first one gives it.
    """
    of: Any = kind
    with_default = zip(of.__struct_fields__[::-1], of.__struct_defaults__[::-1], strict=False)
    needed = {*of.__struct_fields__}.difference(name for name, default in with_default if default is not NODEFAULT)
    found = {name: getattr(source, name) for source in reversed(shown) for name in needed if hasattr(source, name)}
    return kind(**found | fields)


class Fresh(Generic[Value]):
    """Cache of the newest `keys_max` values. One thread at a time makes one.

    Where values do not age, the key says what they are of: a text in force, or how far the log was read.
    """

    def __init__(self, keys_max: int = 1, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._keys_max = keys_max
        self._clock_s = clock_s
        self._kept: dict[Hashable, tuple[float, Value]] = {}
        self._lock = RLock()

    def get(self, key: Hashable, make: Callable[[], Value], fresh_s: float = math.inf) -> Value:
        """The value of a key, made where there is none as fresh as that; who waits for another thread gets its value.

        Raises: what `make` raises; nothing is kept then.
        """
        with self._lock:
            found = self.peek(key, fresh_s)
            if found is None:
                found = make()
                self._kept.pop(key, None)
                self._kept[key] = self._clock_s(), found
                if len(self._kept) > self._keys_max:
                    del self._kept[next(iter(self._kept))]
            return found

    def peek(self, key: Hashable, fresh_s: float) -> Value | None:
        """The value that was made last, if it is as fresh as that. Waits for nobody."""
        made_s, found = self._kept.get(key, (-math.inf, None))
        return found if self._clock_s() - made_s < fresh_s else None

    def forget(self) -> None:
        """Make all anew when they are asked for next."""
        with self._lock:
            self._kept.clear()
