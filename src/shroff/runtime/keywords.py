"""Keyword arguments: a misspelt one is rejected with the nearest existing name.

Python only says that an unknown keyword is unexpected, and a function with `**options` accepts any.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar

from shroff.errors import nearest

One = TypeVar("One")
_UNPACK = re.compile(r"Unpack\[(\w+)\]")


def check_keywords(class_: type[One]) -> type[One]:
    """Make the public methods that a class defines reject unknown keywords; return the class.

    >>> @check_keywords
    ... class Tests:
    ...     def run(self, *, rules: str = "") -> None: ...
    >>> Tests().run(rule="drafts")
    Traceback (most recent call last):
    TypeError: run() got an unexpected keyword argument 'rule'. Did you mean rules?
    """
    for name, value in list(vars(class_).items()):
        if isinstance(value, FunctionType) and not name.startswith("_"):
            names = keywords_of(value)
            if names is not None:
                setattr(class_, name, _checking(value, names))
    return class_


def keywords_of(function: Callable[..., Any]) -> frozenset[str] | None:
    """Return the names that a function takes as keywords; None if it takes any.

    Those of `**options: Unpack[Options]` are the fields of Options, a class of the function's module.
    """
    inner: Any = inspect.unwrap(function)
    code = inner.__code__
    names = frozenset(code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount])
    if not code.co_flags & inspect.CO_VARKEYWORDS:
        return names
    at = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
    annotation = _UNPACK.fullmatch(str(inner.__annotations__.get(code.co_varnames[at], "")))
    options = inner.__globals__.get(annotation[1]) if annotation is not None else None
    return None if options is None else names | frozenset(options.__annotations__)


def _checking(function: Callable[..., Any], allowed: frozenset[str]) -> Callable[..., Any]:
    @wraps(function)
    def checked(*arguments: Any, **options: Any) -> Any:
        if options.keys() <= allowed:
            return function(*arguments, **options)
        unknown = next(name for name in options if name not in allowed)
        hint = nearest(unknown, [name for name in allowed if name != "self"])
        raise TypeError(f"{function.__name__}() got an unexpected keyword argument {unknown!r}. {hint}".rstrip())

    return checked


def warn_caller(message: str) -> None:
    """Warn at the line of the first caller outside this program, however deep the call is."""
    package = __name__.partition(".")[0]
    stack = inspect.stack(0)
    level = next(
        (at for at, info in enumerate(stack) if info.frame.f_globals.get("__name__", "").split(".")[0] != package), 1
    )
    warnings.warn(message, stacklevel=level + 1)
