"""What every command shares: the project that was named, and the way answers, hints and progress reach their reader."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from shroff.app import Project

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(slots=True)
class Session:
    """One call of the program.

    Answers go to standard output; progress, hints and errors to standard error. With
    `is_json` the answer is one JSON document, errors included, and nothing else stands there.
    """

    folder: Path | None = None
    is_json: bool = False
    shows_traceback: bool = False
    has_written: bool = False
    stopped: str = ""  # what Ctrl-C leaves behind, in words
    _project: Project | None = None

    @property
    def project(self) -> Project:
        """The project. Raises: UsageError where there is none."""
        if self._project is None:
            from shroff import app

            self._project = app.open() if self.folder is None else app.open_exactly(self.folder)
        return self._project

    @property
    def opened(self) -> Project | None:
        """The project, if the command came as far as to open it."""
        return self._project

    def answer(self, document: dict[str, Any], text: str) -> None:
        """Give the command's answer: as a document, or as text for people."""
        self.line(dump(document) if self.is_json else text)

    def line(self, text: str) -> None:
        """Write a line to standard output."""
        self.write(text.encode("utf-8", "backslashreplace") + b"\n")

    def write(self, data: bytes) -> None:
        """Write bytes to standard output."""
        self.has_written = True
        sys.stdout.buffer.write(data)

    def flush(self) -> None:
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Write a line for people to standard error."""
        sys.stdout.flush()
        print(text, file=sys.stderr, flush=True)

    def warn(self) -> None:
        """Say what the project wants somebody to know, though the command went well."""
        for words in self._project.warnings if self._project is not None else ():
            self.say(f"shroff: {words}")

    def next(self, *commands: str) -> None:
        """Name what one may want to do next."""
        if not self.is_json or sys.stderr.isatty():
            self.say("Next: " + "   or: ".join(commands))


class Examples(click.Command):
    """What is common to commands and groups: their help ends with examples."""

    examples: Sequence[str] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
            formatter.write("".join(f"  {example}\n" for example in self.examples))


class ExampleCommand(Examples):
    """A command whose help ends with examples."""


class ExampleGroup(Examples, click.Group):
    """Commands under one name, whose help ends with examples."""


def command(
    name: str, *examples: str, group: click.Group | None = None
) -> Callable[[Callable[..., Any]], ExampleCommand]:
    """Make a function a command: it gets the session first, and has `--json` and examples in its help."""

    def decorate(function: Callable[..., Any]) -> ExampleCommand:
        made = click.command(name, cls=ExampleCommand)(json_option(click.pass_obj(function)))
        made.examples = examples
        if group is not None:
            group.add_command(made)
        return made

    return decorate


def json_option(function: Function) -> Function:
    """Add `--json`, which the session keeps."""

    def keep(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            context.obj.is_json = True

    words = "One JSON document on standard output, and nothing else there."
    return click.option("--json", is_flag=True, expose_value=False, callback=keep, help=words)(function)


def dump(document: object) -> str:
    """A document as one line of JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(", ", ": "))


def table(rows: Iterable[Sequence[object]], heads: Sequence[str] = (), indent: str = "  ") -> str:
    """Rows under each other in columns; numbers to the right, all else to the left."""
    body = [[_cell(value) for value in row] for row in rows]
    lines = [list(heads), *body] if heads else body
    if not lines:
        return ""
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    right = [bool(body) and all(_is_number(row[at]) for row in body) for at in range(len(widths))]
    shown = []
    for line in lines:
        cells = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ]
        shown.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(shown)


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").removeprefix("-").isdigit() or text in {"", "-"}


def many(count: int, one: str, more: str = "") -> str:
    """`1 event`, `2 events`, `1,200 entries`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
