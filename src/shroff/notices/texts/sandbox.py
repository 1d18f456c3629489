"""Sandbox for a project's templates: they see only their values, with limits on size and nesting."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from jinja2 import (
    BaseLoader,
    Environment,
    StrictUndefined,
    TemplateSyntaxError,
    nodes,
    pass_environment,
    pass_eval_context,
)
from jinja2.exceptions import SecurityError
from jinja2.filters import do_format, do_join, do_wordwrap
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

SIZE_MAX = 64 * 1024  # characters of a template
LOOPS_MAX = 2  # nested loops
BETWEEN_MAX = 100  # characters of a separator
_FILTERS = (  # none of these multiplies its input, or makes text HTML
    "capitalize count d default e escape first float int last length lower round sort string title trim upper"
)
_LOADS = re.compile(
    r"<\s*(?:img|link|script|iframe|object|embed|video|audio|source|form|base|svg)\b|url\s*\(|@import|\bon[a-z]+\s*="
    r"|\bbackground\s*=|\bsrc(?:set)?\s*="
    r"|\{%[+-]?\s*autoescape\b",
    re.IGNORECASE,
)
_NOT_RENDERED = re.compile(r"\{#.*?#\}|/\*.*?\*/", re.DOTALL)  # comments, also in styles
_WIDE = re.compile(r"[0-9]{4}|\*|\{[^{}]*\{")  # a width above 999, or a computed one


class _Formatting:
    """The `format` method of a text, the only callable in a template."""

    def __init__(self, text: str, format: Callable[..., str]) -> None:
        self._text = text
        self._format = format

    def __call__(self, *values: Any, **named: Any) -> str:
        return self._format(*_narrow(self._text, values), **named)


class Sandbox(ImmutableSandboxedEnvironment):
    """Environment whose templates can only call `format` of a text. HTML is escaped, and unknown names are errors."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, loader: BaseLoader) -> None:
        super().__init__(
            loader=loader,
            undefined=StrictUndefined,
            autoescape=lambda name: name is not None and name.removesuffix(".j2").endswith(".html"),
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            cache_size=100,
        )
        self.globals.clear()
        self.filters = {name: self.filters[name] for name in _FILTERS.split()}
        self.filters |= {"format": _format, "join": _join, "wordwrap": _wrap}

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Wrap the safe `format` in a class that `is_safe_callable` recognizes."""
        safe_format = super().wrap_str_format(value)
        return None if safe_format is None else _Formatting(value.__self__, safe_format)

    def is_safe_callable(self, obj: Any) -> bool:
        return isinstance(obj, _Formatting)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Multiply small numbers; refuse any other operation."""
        if (
            not all(isinstance(operand, int | float) and abs(operand) < 10**6 for operand in (left, right))
            or operator != "*"
        ):
            raise SecurityError(f"{operator} is allowed for small numbers only, and ** for none")
        return left * right


def _format(text: str, *values: Any, **named: Any) -> str:
    return do_format(text, *_narrow(text, values), **named)


@pass_eval_context
def _join(context: EvalContext, values: Iterable[Any], by: str = "", attribute: str | int | None = None) -> str:
    """Join values. Raises: SecurityError for a long separator, which could multiply the output."""
    if len(by) > BETWEEN_MAX:
        raise SecurityError(f"the separator of a join has at most {BETWEEN_MAX} characters")
    return cast("str", do_join(context, values, by, attribute))  # keeps HTML marked as safe


@pass_environment
def _wrap(environment: Environment, text: str, width: int = 79) -> str:
    return do_wordwrap(environment, text, width)


def _narrow(text: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values if the format limits its widths. Raises: SecurityError."""
    if _WIDE.search(text):
        raise SecurityError("a format has widths of at most three digits")
    return values


def check_own(environment: Sandbox, name: str, text: str) -> None:
    """Check what a project's template may contain.

    Raises: TemplateSyntaxError with its line, if the template is too long, loads or runs something, sets or repeats a
    value that could grow, or nests loops too deeply.
    """
    if len(text) > SIZE_MAX:
        raise TemplateSyntaxError(f"a template has at most {SIZE_MAX:,} characters", 1, name)
    match = _LOADS.search(_NOT_RENDERED.sub(_lines, text)) if ".html." in name else None
    if match is not None:
        message = f"{match[0]!r} is not allowed: opening a mail must load, send and run nothing"
        raise TemplateSyntaxError(message, text.count("\n", 0, match.start()) + 1, name)
    for message, line in _growing(environment.parse(text, name)):
        raise TemplateSyntaxError(message, line, name)


def _lines(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


def _growing(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    for node in tree.find_all((nodes.Macro, nodes.CallBlock, nodes.AssignBlock, nodes.FilterBlock)):
        yield "a template cannot have macros, set blocks or filter blocks", node.lineno
    for node in tree.find_all(nodes.Assign):
        if any(node.node.find_all(nodes.Name)) or isinstance(node.node, nodes.Name):
            yield "'set' takes a literal text or number only", node.lineno
    yield from _nested_nodes(tree, 0)


def _nested_nodes(node: nodes.Node, depth: int) -> Iterator[tuple[str, int]]:
    inside = depth + isinstance(node, nodes.For)
    if inside > LOOPS_MAX or (isinstance(node, nodes.For) and node.recursive):
        yield f"at most {LOOPS_MAX} nested loops are allowed, and no recursive ones", node.lineno
        return
    for iter_child_node in node.iter_child_nodes():
        yield from _nested_nodes(iter_child_node, inside)
