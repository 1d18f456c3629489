"""Session of a command: the opened project, and output of results, hints and progress."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from logging import INFO
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click
from msgspec import Struct

from shroff.errors import UsageError
from shroff.runtime import logs
from shroff.runtime.texts import argument, cut, harmless, help_of, many, one_line, table

if TYPE_CHECKING:
    from types import FrameType

    from shroff.runtime.logs import Told
    from shroff.services.project import Project

__all__ = ["argument", "cut", "harmless", "many", "one_line", "table"]  # of texts, for all commands
Function = TypeVar("Function", bound=Callable[..., Any])


class Session(Struct):
    """One call of the program.

    Answers go to standard output; progress, hints and errors to standard error. With
    `is_json` the answer is one JSON document, errors included, and nothing else stands there.
    """

    folder: Path | None = None
    is_json: bool = False
    shows_traceback: bool = False
    has_written: bool = False
    has_said_for_whom: bool = False
    stopped: str = ""  # what Ctrl-C leaves behind, in words
    mistake: Told | None = None  # an internal error, which ends this call
    _project: Project | None = None

    @property
    def project(self) -> Project:
        """The project. Raises: UsageError where there is none."""
        if self._project is None:
            from shroff.services import project as app

            self._project = app.open() if self.folder is None else app.open_exactly(self.folder)
            context = self._project.context
            context.waiting = self.lasts
            context.waits = self.waits
            context.via = "command"
            logs.keep_errors_in(self._project.context.paths.state)
        return self._project

    def empty_folder(self) -> Path | None:
        """The named or the current folder, where it holds nothing and no project is above it; else None."""
        from shroff import config
        from shroff.runtime.atomic_files import children

        folder = self.folder or Path.cwd()
        if self.folder is None:
            with suppress(UsageError):
                config.find_project(folder)
                return None
        return folder if folder.is_dir() and not children(folder) else None

    def project_or_folder(self) -> Project:
        """The project; where it is lost, its folder or the current one."""
        from shroff.services.project import project_in

        try:
            return self.project
        except UsageError:
            return project_in(self.folder or Path.cwd())

    @property
    def opened(self) -> Project | None:
        """The project, if the command has opened it."""
        return self._project

    def answer(self, document: Mapping[str, object], text: str) -> None:
        """Give the command's answer: as a document, or as text for people."""
        if self.is_json:
            self.line(dump(document))
        elif text:
            self.show(text)

    def show(self, text: str) -> None:
        """Write lines for people to standard output, safe for a terminal (see `harmless`)."""
        self.line(harmless(text))

    def line(self, text: str) -> None:
        """Write a line to standard output, as it is."""
        self.write(text.encode("utf-8", "backslashreplace") + b"\n")

    def write(self, data: bytes) -> None:
        """Write bytes to standard output: to a terminal what steers it is written out, any other file gets them all."""
        self.has_written = True
        if sys.stdout.isatty():
            data = harmless(data.decode("utf-8", "backslashreplace")).encode()
        self._put(sys.stdout.buffer.write, data)

    def flush(self) -> None:
        self._put(sys.stdout.flush)

    def _put(self, write: Callable[..., object], *data: bytes) -> None:
        """Write to standard output. Raises: OSError where it takes no more, and leads nowhere from then on."""
        try:
            write(*data)
        except BrokenPipeError:
            raise
        except OSError as error:
            give_up(sys.stdout)
            raise OSError(error.errno, error.strerror, "standard output") from None

    def say(self, text: str, level: int = INFO) -> None:
        """Write lines for people to standard error, safe for a terminal (see `harmless`)."""
        self.complain(harmless(text), level)

    def complain(self, text: str, level: int = INFO) -> None:
        """Write a line to standard error, as it is; where logs are JSON, as one of them."""
        if logs.is_json():
            logs.say(level, text.strip().removeprefix("shroff: "))
        else:
            self.log(text)

    def log(self, text: str) -> None:
        """Write a line of the log: in one piece, since several threads may have something to say.

        Where standard error has no room, or nobody reads it, the work goes on.
        """
        self.flush()
        with suppress(OSError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def waits(self, words: str) -> None:
        """Keep the message for a wait that Ctrl-C ends."""
        self.stopped = words

    def lasts(self, words: str) -> None:
        """Say what the command waits for, once."""
        if not self.has_said_for_whom:
            self.has_said_for_whom = True
            self.say(f"shroff: {words}")

    def warn(self) -> None:
        """Say what the project wants somebody to know, though the command went well; each once, however often asked."""
        while self._project is not None and self._project.warnings:
            self.say(f"shroff: {self._project.warnings.pop(0)}")

    def next(self, *commands: str) -> None:
        """Name what one may want to do next, as it is typed where this command was."""
        if not self.is_json or sys.stderr.isatty():
            self.say("Next: " + "   or: ".join(one_line(self._of_this_project(words)) for words in commands))

    def _of_this_project(self, command: str) -> str:
        if not command.startswith("shroff "):
            return command
        words = [] if self.folder is None or command.startswith("shroff -C ") else ["-C", argument(self.folder)]
        return " ".join([program_word(), *words, command.removeprefix("shroff ")])


class Examples(click.Command):
    """Shared help of commands and groups: it ends with examples."""

    examples: Sequence[str] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
            formatter.write("".join(f"  {example}\n" for example in self.examples))


class ExampleCommand(Examples):
    """A command whose help ends with examples."""


class ExampleGroup(Examples, click.Group):
    """Commands under one name, whose help ends with examples.

    Without one of them it lists, with the options of that command, or shows its help.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name for param in self.params for name in param.opts}
        leading = next((word for word in args if word not in own), "-")
        bare = leading.startswith("-") and leading not in ctx.help_option_names
        if bare and not self.invoke_without_command and not ctx.resilient_parsing:
            commands = ((name, self.commands.get(name)) for name in ("list", "show"))
            alone = (
                name for name, command in commands if command and not any(param.required for param in command.params)
            )
            listing = next(alone, None)
            args = ["--help"] if listing is None else [listing, *args]
        return super().parse_args(ctx, args)


def command(name: str, *, group: click.Group | None = None) -> Callable[[Callable[..., Any]], ExampleCommand]:
    """Make a function a command: it gets the session first, and has `--json`; its docstring is the help."""

    def decorate(function: Callable[..., Any]) -> ExampleCommand:
        words, examples = help_of(function.__doc__)
        made = click.command(name, cls=ExampleCommand, help=words)(json_option(click.pass_obj(function)))
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

    words = "Print JSON on standard output, and nothing else."
    return click.option("--json", is_flag=True, expose_value=False, callback=keep, help=words)(function)


@contextmanager
def finished_first() -> Iterator[Event]:
    """The first Ctrl-C or SIGTERM sets the event, so that what was begun is finished; the second one ends at once."""
    stop = Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def program_word() -> str:
    """How a shell finds this program again: by its name where that is on the path, else as it was called now."""
    called = sys.argv[0]
    if Path(called).name != "shroff" or "/" not in called or same_file(called, shutil.which("shroff")):
        return "shroff"
    return argument(called)


def same_file(called: str, found: str | None) -> bool:
    return found is not None and Path(called).resolve() == Path(found).resolve()


def give_up(stream: TextIO) -> None:
    """Let a stream lead nowhere, with what waits in it: Python's end says nothing of it then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def dump(document: object) -> str:
    """A document as one line of JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(", ", ": "))
