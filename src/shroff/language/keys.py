"""Schema of project files, declared once: the keys of a mapping, their meaning, the shape of their values.

Loaders check keys by these tables; the JSON Schema for editors and the pages of the
reference are made from them. What only a loader can judge, such as an expression, a name
that must be declared elsewhere or a test's outcome, is not said here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import cleandoc

from shroff.runtime.values import FrozenStruct

TEXT = "string"
NUMBER = "number"
TRUTH = "boolean"


class One(FrozenStruct):
    """One scalar value.

    Args:
        kinds: Types that YAML 1.2 may give it unquoted. Every scalar is text until its field types it, so `1` and
            `true` are accepted where any text is.
    """

    what: str
    pattern: str = ""  # regular expression of the text, with the same meaning in ECMAScript and Python
    options: tuple[str, ...] = ()
    kinds: tuple[str, ...] = (TEXT,)
    limits: tuple[float, float] | None = None  # of a number, both inclusive
    may_be_empty: bool = False


class Many(FrozenStruct):
    """A list of one shape."""

    what: str
    item: Shape


class Either(FrozenStruct):
    """A value in one of several shapes."""

    shapes: tuple[Shape, ...]

    @property
    def what(self) -> str:
        return ", or ".join(shape.what for shape in self.shapes)


class MappingShape(FrozenStruct):
    """A mapping with fixed keys and possibly keys named by the user.

    Args:
        named: Shape of the value under a name outside `keys`; such a name matches `pattern` and is not in `reserved`.
        is_single: Whether there must be exactly one key.
    """

    what: str
    keys: tuple[Key, ...] = ()
    named: Shape | None = None
    pattern: str = ""
    reserved: tuple[str, ...] = ()
    is_single: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Return the fixed keys in the recommended order."""
        return tuple(key.name for key in self.keys)

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(key.name for key in self.keys if key.is_required)


class Late(FrozenStruct):
    """A shape made at its first use: that of settings which an installed adapter declares.

    `make` always returns the same object. Raises: UsageError if the declaration cannot be loaded.
    """

    make: Callable[[], Shape]

    @property
    def what(self) -> str:
        return self.make().what


Shape = One | Many | Either | MappingShape | Late


class Key(FrozenStruct):
    """One key: its meaning in full sentences, and the shape of its value, None if it is not supported yet."""

    name: str
    meaning: str
    shape: Shape | None
    is_required: bool = False
    default: str = ""
    examples: tuple[str, ...] = ()


class Required(FrozenStruct):
    """The shape of a required key, for `mapping_shape`."""

    shape: Shape | None


def mapping_shape(declared: type) -> MappingShape:
    """A mapping by a class: its docstring is what people read of it, its attributes are the shapes of its keys.

    The first sentence of the docstring says what it is. Then comes the meaning of each key, and on lines of their own
    its default and examples. A name that is a word of Python has `_` behind it among the attributes. Keys that stand in
    several mappings are given as they are, one or a tuple of them in the place of a shape.

    Raises: ValueError where words and shapes are not about the same keys.

    >>> class Fence:
    ...     '''A fence.
    ...
    ...     from: The first day on which
    ...         it stands.
    ...         Example: 2027-12-31
    ...     height: Its height in metres.
    ...         Default: 2
    ...     '''
    ...
    ...     from_ = Required(ANY)
    ...     height = WHOLE
    >>> fence = mapping_shape(Fence)
    >>> fence.what, fence.required, fence.keys[0].meaning, fence.keys[0].examples, fence.keys[1].default
    ('a fence', ('from',), 'The first day on which it stands.', ('2027-12-31',), '2')
    """
    what, _, text = cleandoc(declared.__doc__ or "").partition("\n\n")
    what = " ".join(what.split()).removesuffix(".")
    words = dict(_KEY_WORDS.findall(text))
    keys: list[Key] = []
    for named, shape in vars(declared).items():
        if named.startswith("__"):
            continue
        if isinstance(shape, Key | tuple):
            keys += [shape] if isinstance(shape, Key) else shape
            continue
        name = named.removesuffix("_")
        if name not in words:
            raise ValueError(f"{what}: no words on {name!r}")
        meaning, *facts = [" ".join(part.split()) for part in _FACT.split(words.pop(name))]
        default, examples = (
            [fact.removeprefix(kind) for fact in facts if fact.startswith(kind)] for kind in ("Default: ", "Example: ")
        )
        if is_required := isinstance(shape, Required):
            shape = shape.shape
        keys.append(Key(name, meaning, shape, is_required, "".join(default), tuple(examples)))
    if words:
        raise ValueError(f"{what}: no shape of {', '.join(words)}")
    # "A fence" and "Quiet hours" continue in the middle of a sentence; CSV keeps its capitals.
    return MappingShape(what[:1].lower() + what[1:] if what[:2].istitle() else what, tuple(keys))


_KEY_WORDS = re.compile(r"^(\S+): (.*(?:\n .*)*)", re.MULTILINE)
_FACT = re.compile(r"\n +(?=Default: |Example: )")
NAME_PATTERN = "^[a-z][a-z0-9_]{0,99}$"
MAYBE = One("a value", kinds=(TEXT, NUMBER, TRUTH), may_be_empty=True)
ANY = One("a text", kinds=(TEXT, NUMBER, TRUTH))
EXPRESSION = One("an expression", kinds=(TEXT, NUMBER, TRUTH))
NAME = One("a name", NAME_PATTERN)
DURATION = One("a duration such as 7d", "^([0-9]+(ms|s|m|h|d|w))+$")
DECIMAL = One("a number", r"^\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?\s*$", kinds=(TEXT, NUMBER))
SCORE = One("a score from 0 to 1", r"^\s*\+?(0?\.[0-9]+|[01]\.?|1\.0*)\s*$", (), (TEXT, NUMBER), (0, 1))
WHOLE = One("a whole number", r"^\s*\+?[0-9]+(\.0*)?([eE]\+?[0-9]{1,3})?\s*$", kinds=(TEXT, NUMBER))
PERCENT = One("a share such as 25%", r"^(\d{1,2}(\.\d{1,4})?|100(\.0{1,4})?|0\d{2}(\.\d{1,4})?)\s*%$")
SWITCH = One("true or false", options=("true", "false"))


def choice(*options: str) -> One:
    """Return the shape of one of some words."""
    return One(" or ".join(options), options=options)


def own_names(what: str, value: Shape, *, reserved: tuple[str, ...] = (), pattern: str = NAME_PATTERN) -> MappingShape:
    """Return the shape of a mapping whose keys are named by the user."""
    return MappingShape(what, named=value, pattern=pattern, reserved=reserved)
